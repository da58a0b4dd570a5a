package supernet

import (
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/pkg/space"
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
	side, tokens, limit int
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
	r := &relative{side: m.ImageSize / m.PatchSize, tokens: m.Tokens(), limit: m.MaxRelativePosition}
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

// The functions below take activations [..., N, heads, tokens, features], or with tokens and heads the other way round, and
// tables [..., rows, head_dim], each with an axis of models before (see Masked) or none.

// axisOrder is that of an activation's tokens and heads: the place of the tokens, from the end.
type axisOrder int

const (
	headsBeforeTokens axisOrder = -2
	tokensBeforeHeads axisOrder = -3
)

// with are the positions for engine.Attention; nil for none.
func (r *relative) with(tables []*graph.Node) *engine.Relative {
	if r == nil {
		return nil
	}
	return &engine.Relative{Side: r.side, Limit: r.limit, Tables: tables}
}

// embeddings [tokens, 2S+1, ..., head_dim] of each query token's values.
func (r *relative) embeddings(vertical, horizontal *graph.Node) *graph.Node {
	rows := vertical.Rank() - 2
	tables := graph.Concatenate([]*graph.Node{vertical, horizontal}, rows) // [..., 2·rows, head_dim]
	return graph.DotGeneral(r.pick, []int{2}, nil, tables, []int{rows}, nil)
}

// weigh multiplies the features of each token with an axis of its embeddings; the other
// one of 2S+1 and head_dim are the features of the result.
func (r *relative) weigh(v *vit, order axisOrder, x, embeddings *graph.Node, axis int) *graph.Node {
	rank, models := x.Rank(), x.Rank()-4
	tokens := rank + int(order)
	ofX, ofEmbeddings := axesTo(models), axesTo(models)
	for i := range ofEmbeddings {
		ofEmbeddings[i] += 2
	}
	y := v.dotGeneral(x, []int{rank - 1}, append(ofX, tokens), embeddings, []int{axis}, append(ofEmbeddings, 0)) // [..., tokens, N, heads, features]
	back := slices.Insert(append(axesTo(models), models+1, models+2, models+3), tokens, models)
	return graph.TransposeAllAxes(y, back...)
}

// extendKeys returns query and key with head_dim + 2S+1 features.
func (r *relative) extendKeys(v *vit, order axisOrder, query, key, vertical, horizontal *graph.Node) (*graph.Node, *graph.Node) {
	embeddings := r.embeddings(vertical, horizontal)
	extra := r.weigh(v, order, query, embeddings, embeddings.Rank()-1)
	return graph.Concatenate([]*graph.Node{query, extra}, -1), graph.Concatenate([]*graph.Node{key, r.placeOf(order, key)}, -1)
}

// extendValues returns value with head_dim + 2S+1 features.
func (r *relative) extendValues(order axisOrder, value *graph.Node) *graph.Node {
	return graph.Concatenate([]*graph.Node{value, r.placeOf(order, value)}, -1)
}

func (r *relative) placeOf(order axisOrder, x *graph.Node) *graph.Node {
	d, extra := slices.Clone(x.Shape().Dimensions), 2*r.side+1
	d[len(d)-1] = extra
	along := slices.Repeat([]int{1}, len(d))
	along[len(d)+int(order)], along[len(d)-1] = r.tokens, extra
	return graph.BroadcastToDims(graph.ConvertDType(graph.Reshape(r.place, along...), x.DType()), d...)
}

// collectValues turns an out of head_dim + 2S+1 features, or more that are zero, into one of head_dim: the extra features,
// sums of attention, weight the tables.
func (r *relative) collectValues(v *vit, order axisOrder, out, vertical, horizontal *graph.Node) *graph.Node {
	headDim := vertical.Shape().Dimensions[vertical.Rank()-1]
	features := func(of graph.SliceAxisSpec) *graph.Node { return graph.Slice(out, graph.AxisRange().Spacer(), of) }
	term := r.weigh(v, order, features(graph.AxisRange(headDim, headDim+2*r.side+1)), r.embeddings(vertical, horizontal), 1)
	return graph.Add(features(graph.AxisRangeFromStart(headDim)), term)
}

// axesTo are the first n axes.
func axesTo(n int) []int {
	axes := make([]int, n)
	for i := range axes {
		axes[i] = i
	}
	return axes
}
