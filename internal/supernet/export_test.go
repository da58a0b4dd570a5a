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
