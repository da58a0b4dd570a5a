package engine

import (
	"math"

	"github.com/gomlx/gomlx/pkg/core/graph"
)

// Gelu is the exact form, x·Φ(x) with Φ(x) = (1 + erf(x/√2))/2, the normal
// distribution's (Hendrycks and Gimpel, Gaussian Error Linear Units, 2016). Its
// derivative, Φ(x) + x·exp(-x²/2)/√(2π), is computed of x alone.
func Gelu(x *graph.Node) *graph.Node {
	cumulative := func(x *graph.Node) *graph.Node {
		return graph.MulScalar(graph.OnePlus(graph.Erf(graph.MulScalar(x, 1/math.Sqrt2))), 0.5)
	}
	return CustomGradient(graph.Mul(x, cumulative(x)), []*graph.Node{x}, func(v *graph.Node) []*graph.Node {
		x := Anew(x, v)
		density := graph.MulScalar(graph.Exp(graph.MulScalar(graph.Square(x), -0.5)), 1/math.Sqrt(2*math.Pi))
		return []*graph.Node{graph.Mul(v, graph.Add(cumulative(x), graph.Mul(x, density)))}
	})
}

// Softmax is exp(x) / Σ exp(x) over the last axis. With p the result and v its
// adjoint, that of x is p · (v - Σ v·p): of what the forward pass had, only p is
// needed again.
func Softmax(x *graph.Node) *graph.Node {
	p := graph.Softmax(x, -1)
	return CustomGradient(p, []*graph.Node{x}, func(v *graph.Node) []*graph.Node {
		along := graph.ReduceAndKeep(graph.Mul(v, p), graph.ReduceSum, -1)
		return []*graph.Node{graph.Mul(p, graph.Sub(v, along))}
	})
}
