package engine

import "github.com/gomlx/gomlx/pkg/core/graph"

// Rematerialize returns x in a form that XLA does not know to be x. A gradient rule that
// takes x and Rematerialize(x, v), v the adjoint that it is given, computes anew from x
// what the forward pass has computed already, when the backward pass gets there.
//
// Without it XLA finds that both passes compute the same and keeps the first
// result until the second needs it. That costs memory for every layer of a
// network, and often time too: a value that is kept must be written and read,
// while one that is not is computed within the loops that use it.
//
// The form is a factor 1 + 0·v₀, v₀ an element of v: exactly 1, or NaN where v₀
// is not finite.
func Rematerialize(x, v *graph.Node) *graph.Node {
	first := v
	if v.Rank() > 0 {
		at := make([]graph.SliceAxisSpec, v.Rank())
		for i := range at {
			at[i] = graph.AxisElem(0)
		}
		first = graph.Reshape(graph.Slice(v, at...))
	}
	return graph.Mul(x, ones(graph.ConvertDType(first, x.DType())))
}

// ones has x's shape and is 1 + 0·x: 1 as far as anyone but XLA can tell, or NaN
// where x is not finite.
func ones(x *graph.Node) *graph.Node {
	return graph.StopGradient(graph.OnePlus(graph.MulScalar(x, 0)))
}
