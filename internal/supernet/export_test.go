package supernet

import (
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"

	"prenas/pkg/space"
)

// FoldedAttention is the attention of a block between its projections, for the
// test against its twin.
func FoldedAttention(m space.Model, query, key, value *graph.Node, tables []*graph.Node) *graph.Node {
	v := &vit{builder{Net: &Net{space: &space.Space{Model: m}}, Forward: Forward{Operands: dtypes.Float32}}}
	return v.attend(query, key, value, 0, newRelative(m, query.Graph()), tables)
}

// FusedAttention is FoldedAttention as fused kernels have it, with XLA's operations in their place.
func FusedAttention(m space.Model, query, key, value *graph.Node, tables []*graph.Node) *graph.Node {
	v := &vit{builder{Net: &Net{space: &space.Space{Model: m}}, Forward: Forward{Operands: dtypes.Float32}}}
	d := query.Shape().Dimensions
	var flat []*graph.Node
	swapped := func(x *graph.Node) *graph.Node { return graph.TransposeAllAxes(x, 0, 2, 1, 3) }
	for _, x := range []*graph.Node{query, key, value} {
		flat = append(flat, graph.Reshape(swapped(x), d[0], d[2], d[1]*d[3]))
	}
	out := v.fusedAttention(graph.Concatenate(flat, -1), tables, d[1], newRelative(m, query.Graph()), func(q, k, v *graph.Node, _ float64) *graph.Node {
		weights := graph.Softmax(graph.Einsum("nihd,njhd->nhij", q, k), -1)
		return graph.Einsum("nhij,njhd->nihd", weights, v)
	})
	return swapped(graph.Reshape(out, d[0], d[2], d[1], d[3]))
}

// DropSites is how many sites of dropout a block has numbers for.
const DropSites = uint32(dropSites)

// Drop is dropout at one site.
func Drop(x *graph.Node, d Dropout, site, block int, whole []int, rate float32) *graph.Node {
	return d.drop(x, dropSite(site), block, whole, graph.Scalar(x.Graph(), x.DType(), rate))
}

// Resized are images at an architecture's resolution.
func Resized(n *Net, images *graph.Node, a space.Arch) *graph.Node {
	return (&conv{builder: builder{Net: n, Forward: Forward{Arch: a}}}).resized(images)
}
