package supernet

import (
	"github.com/gomlx/gomlx/pkg/core/graph"

	"prenas/internal/engine"
)

// maskedNormalize is the normalisation of engine.LayerNorm over the features that
// mask keeps, of which there are count; the others must be zero in x, and stay zero:
//
//	mean = Σ x / count    y = mask · (x - mean) / sqrt(Σ mask·(x - mean)² / count + eps)
//
// Its gradient is LayerNorm's with these means. Here y is kept for it: computed anew,
// a step of 16 little models was no smaller and 7 % slower.
func maskedNormalize(x, mask, count *graph.Node, eps float64) *graph.Node {
	mean := func(y *graph.Node) *graph.Node {
		return graph.Div(graph.ReduceAndKeep(y, graph.ReduceSum, -1), count)
	}
	centred := graph.Mul(graph.Sub(x, mean(x)), mask)
	scale := graph.Reciprocal(graph.Sqrt(graph.AddScalar(mean(graph.Square(centred)), eps)))
	normal := graph.Mul(centred, scale)
	return engine.CustomGradient(normal, []*graph.Node{x}, func(v *graph.Node) []*graph.Node {
		v = graph.Mul(v, mask)
		along := graph.Mul(normal, mean(graph.Mul(v, normal)))
		return []*graph.Node{graph.Mul(graph.Mul(scale, mask), graph.Sub(graph.Sub(v, mean(v)), along))}
	})
}
