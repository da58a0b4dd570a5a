package supernet

import (
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"

	"prenas/internal/space"
)

// FoldedAttention is the attention of a block between its projections, for the
// test against its twin.
func FoldedAttention(m space.Model, query, key, value *graph.Node, tables [4]*graph.Node) *graph.Node {
	v := &vit{Forward: Forward{Operands: dtypes.Float32}}
	return v.attend(query, key, value, newRelative(m, query.Graph()), tables)
}
