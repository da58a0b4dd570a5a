package supernet

import (
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/space"
)

// relative adds 2-D relative positions to attention (Wu et al., Rethinking and
// Improving Relative Position Encoding for Vision Transformer, 2021, as
// AutoFormer and PreNAS use it).
//
// For a query token i and a key token j, both patches of a grid of side S, the
// embedding is R(i,j) = V[index(row_j - row_i)] + H[index(column_j - column_i)]
// with index(d) = clamp(d, -max, max) + max + 1; it is V[0] + H[0] where either
// is the class token. Keys: scores(i,j) += q_i·R(i,j). Values: out_i +=
// Σ_j attention(i,j)·R'(i,j). The readable way gathers R, [tokens, tokens,
// head_dim] (see the tests, where it is the twin of this one).
//
// R has only 2S+1 different values per query: one per key row, one per key
// column, one for the class token. So the terms fold into the two products of
// attention as 2S+1 further features:
//
//	q_i extended: [ q_i | q_i·V[..] per key row | q_i·H[..] per key column | q_i·(V[0]+H[0]) ]
//	k_j extended: [ k_j | which row j is in     | which column j is in     | is j the class  ]
//
// and for values, attention · [ v_j | row of j | column of j | is class ]
// gives the sums of attention per row, per column and on the class token,
// which then weight the tables. No [tokens, tokens, head_dim] tensor exists.
type relative struct {
	side, tokens int
	// place [tokens, 2S+1]: the constant part of the extended keys and values.
	place *graph.Node
	// pick [tokens, 2S+1, 2·rows]: for each query token the table rows (of V,
	// then of H) that make up each of the 2S+1 values.
	pick *graph.Node
}

func newRelative(m space.Model, g *graph.Graph) *relative {
	if !m.RelativePosition {
		return nil
	}
	r := &relative{side: m.ImageSize / m.PatchSize, tokens: m.Tokens()}
	extra := 2*r.side + 1
	index := func(d int) int32 {
		limit := m.MaxRelativePosition
		return int32(max(-limit, min(limit, d)) + limit + 1)
	}
	const none = int32(-1)
	rows, columns := make([]int32, r.tokens), make([]int32, r.tokens) // of key tokens
	vertical, horizontal := make([]int32, r.tokens*extra), make([]int32, r.tokens*extra)
	for token := range r.tokens {
		v, h := vertical[token*extra:][:extra], horizontal[token*extra:][:extra]
		patch, class := token-1, token == 0
		if class {
			rows[token], columns[token] = none, none
		} else {
			rows[token], columns[token] = int32(patch/r.side), int32(patch%r.side)
		}
		for other := range r.side {
			h[other], v[r.side+other] = none, none
			if !class {
				v[other], h[r.side+other] = index(other-patch/r.side), index(other-patch%r.side)
			}
		}
	}
	oneHot := func(index []int32, depth int, dims ...int) *graph.Node {
		return graph.OneHot(graph.Const(g, tensors.FromFlatDataAndDimensions(index, dims...)), depth, dtypes.Float32)
	}
	class := make([]int32, r.tokens) // index 0 for the class token, none for others
	for token := 1; token < r.tokens; token++ {
		class[token] = none
	}
	tableRows := 2*m.MaxRelativePosition + 2
	r.place = graph.Concatenate([]*graph.Node{oneHot(rows, r.side, r.tokens), oneHot(columns, r.side, r.tokens), oneHot(class, 1, r.tokens)}, 1)
	r.pick = graph.Concatenate([]*graph.Node{oneHot(vertical, tableRows, r.tokens, extra), oneHot(horizontal, tableRows, r.tokens, extra)}, 2)
	return r
}

// embeddings [tokens, 2S+1, head_dim] of each query token's values.
func (r *relative) embeddings(vertical, horizontal *graph.Node) *graph.Node {
	tables := graph.Concatenate([]*graph.Node{vertical, horizontal}, 0) // [2·rows, head_dim]
	return graph.DotGeneral(r.pick, []int{2}, nil, tables, []int{0}, nil)
}

// extendKeys returns query and key [N, heads, tokens, head_dim + 2S+1].
func (r *relative) extendKeys(v *vit, query, key, vertical, horizontal *graph.Node) (*graph.Node, *graph.Node) {
	extra := v.dotGeneral(query, []int{3}, []int{2}, r.embeddings(vertical, horizontal), []int{2}, []int{0}) // [tokens, N, heads, 2S+1]
	query = graph.Concatenate([]*graph.Node{query, graph.TransposeAllAxes(extra, 1, 2, 0, 3)}, 3)
	return query, graph.Concatenate([]*graph.Node{key, r.placeOf(key)}, 3)
}

// extendValues returns value [N, heads, tokens, head_dim + 2S+1].
func (r *relative) extendValues(value *graph.Node) *graph.Node {
	return graph.Concatenate([]*graph.Node{value, r.placeOf(value)}, 3)
}

func (r *relative) placeOf(x *graph.Node) *graph.Node {
	d := x.Shape().Dimensions
	extra := 2*r.side + 1
	return graph.BroadcastToDims(graph.Reshape(r.place, 1, 1, r.tokens, extra), d[0], d[1], r.tokens, extra)
}

// collectValues turns out [N, heads, tokens, head_dim + 2S+1] into [N, heads,
// tokens, head_dim]: the extra features, sums of attention, weight the tables.
func (r *relative) collectValues(v *vit, out, vertical, horizontal *graph.Node) *graph.Node {
	headDim := vertical.Shape().Dimensions[1]
	all := graph.AxisRange()
	sums := graph.Slice(out, all, all, all, graph.AxisRangeToEnd(headDim))
	term := v.dotGeneral(sums, []int{3}, []int{2}, r.embeddings(vertical, horizontal), []int{1}, []int{0}) // [tokens, N, heads, head_dim]
	return graph.Add(graph.Slice(out, all, all, all, graph.AxisRangeFromStart(headDim)), graph.TransposeAllAxes(term, 1, 2, 0, 3))
}
