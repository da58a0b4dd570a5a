package supernet

import (
	"github.com/gomlx/gomlx/pkg/core/graph"

	"prenas/internal/engine"
)

// attend is vit.attend with a leading axis of models: query (scaled), key and
// value [A, N, tokens, heads, head_dim] to [A, N, heads, tokens, head_dim].
// Relative positions are folded into the products as relative says.
func (v *masked) attend(query, key, value *graph.Node, block int) *graph.Node {
	r := v.relative
	var forValues *graph.Node
	if r != nil {
		table := func(i int) *graph.Node { return v.weight(blockName(block, relativeTables[i])) }
		forKeys := r.maskedEmbeddings(table(0), table(1))
		forValues = r.maskedEmbeddings(table(2), table(3))
		extra := v.dotGeneral(query, []int{4}, []int{0, 2}, forKeys, []int{3}, []int{2, 0}) // [A, tokens, N, heads, 2S+1]
		query = graph.Concatenate([]*graph.Node{query, graph.TransposeAllAxes(extra, 0, 2, 1, 3, 4)}, 4)
		place := r.maskedPlaceOf(key)
		key, value = graph.Concatenate([]*graph.Node{key, place}, 4), graph.Concatenate([]*graph.Node{value, place}, 4)
	}
	scores := v.dotGeneral(query, []int{4}, []int{0, 1, 3}, key, []int{4}, []int{0, 1, 3}) // [A, N, heads, tokens, tokens]
	tokens := scores.Shape().Dimensions[4]
	attention := v.drop(engine.Softmax(scores), dropAttention, block, v.space.Supernet.NumHeads, tokens, tokens)
	out := v.dotGeneral(attention, []int{4}, []int{0, 1, 2}, value, []int{2}, []int{0, 1, 3})
	if r == nil {
		return out
	}
	headDim, all := v.space.Model.HeadDim, graph.AxisRange()
	sums := graph.Slice(out, all, all, all, all, graph.AxisRangeToEnd(headDim))
	term := v.dotGeneral(sums, []int{4}, []int{0, 3}, forValues, []int{1}, []int{2, 0}) // [A, tokens, N, heads, head_dim]
	out = graph.Slice(out, all, all, all, all, graph.AxisRangeFromStart(headDim))
	return graph.Add(out, graph.TransposeAllAxes(term, 0, 2, 3, 1, 4))
}

// maskedEmbeddings [tokens, 2S+1, A, head_dim] of tables [A, rows, head_dim].
func (r *relative) maskedEmbeddings(vertical, horizontal *graph.Node) *graph.Node {
	tables := graph.Concatenate([]*graph.Node{vertical, horizontal}, 1)
	return graph.DotGeneral(r.pick, []int{2}, nil, tables, []int{1}, nil)
}

func (r *relative) maskedPlaceOf(x *graph.Node) *graph.Node {
	d := x.Shape().Dimensions
	extra := 2*r.side + 1
	return graph.BroadcastToDims(graph.Reshape(r.place, 1, 1, r.tokens, 1, extra), d[0], d[1], r.tokens, d[3], extra)
}
