package engine

import "github.com/gomlx/gomlx/pkg/core/graph"

// LayerNorm normalises x over its last axis (size d) to mean 0 and variance 1,
// then scales by weight and shifts by bias, both [d]:
//
//	y = (x - mean) / sqrt(variance + eps) · weight + bias
//
// with the biased variance, as torch.nn.LayerNorm. Its gradient is written by
// hand (see Normalize), which saves passes over x in the reverse pass.
func LayerNorm(x, weight, bias *graph.Node, eps float64) *graph.Node {
	return graph.Add(graph.Mul(Normalize(x, eps), alongLastAxis(weight, x)), alongLastAxis(bias, x))
}

// Normalize returns (x - mean) / sqrt(variance + eps) over the last axis.
//
// With h the result, s = 1/sqrt(variance + eps) and v the adjoint of h, the
// adjoint of x is s · (v - mean(v) - h·mean(v·h)) (Ba, Kiros and Hinton, Layer
// Normalization, 2016, differentiated).
func Normalize(x *graph.Node, eps float64) *graph.Node {
	mean := func(y *graph.Node) *graph.Node { return graph.ReduceAndKeep(y, graph.ReduceMean, -1) }
	centred := graph.Sub(x, mean(x))
	scale := graph.Reciprocal(graph.Sqrt(graph.AddScalar(mean(graph.Square(centred)), eps)))
	normal := graph.Mul(centred, scale)
	return CustomGradient(normal, []*graph.Node{x}, func(v *graph.Node) []*graph.Node {
		along := graph.Mul(normal, mean(graph.Mul(v, normal)))
		return []*graph.Node{graph.Mul(scale, graph.Sub(graph.Sub(v, mean(v)), along))}
	})
}

// alongLastAxis gives a vector [d] the rank of x, so that it broadcasts over
// all axes but the last.
func alongLastAxis(vector, x *graph.Node) *graph.Node {
	return graph.ExpandLeftToRank(vector, x.Rank())
}
