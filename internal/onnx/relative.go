package onnx

import (
	"slices"

	"prenas/internal/onnx/schema"
)

// relative are the constants of relative positions, shared by all blocks; the comment of
// the type of this name in package supernet has the formulas. With S the grid's side,
// each query token has 2S+1 different embeddings: one for every row of keys, one for
// every column, and one for the class token.
type relative struct {
	tokens, rows, extra int    // rows of both tables together; extra is 2S+1
	place               string // [tokens, extra]: which row, column and class a key is in
	placeT              string // the same, [extra, tokens]
	pick                string // [tokens, rows, extra]: 1 where a table's row is part of an embedding
	pickT               string // the same, [tokens, extra, rows]
}

func (v *vit) newRelative() relative {
	m := v.model
	side, limit := m.ImageSize/m.PatchSize, m.MaxRelativePosition
	r := relative{tokens: m.Tokens(), rows: 2 * (2*limit + 2), extra: 2*side + 1}
	index := func(d int) int { return max(-limit, min(limit, d)) + limit + 1 }
	horizontal := r.rows / 2 // where the second table's rows begin
	class := 2 * side        // the last of the extra features

	place, pick := make([]float32, r.tokens*r.extra), make([]float32, r.tokens*r.rows*r.extra)
	for token := range r.tokens {
		row, column := (token-1)/side, (token-1)%side
		at := func(tableRow, feature int) *float32 { return &pick[(token*r.rows+tableRow)*r.extra+feature] }
		*at(0, class), *at(horizontal, class) = 1, 1
		if token == 0 {
			// Everything is at index 0 from the class token: rows of keys bring
			// the first table's, columns of keys the second's.
			place[class] = 1
			for other := range side {
				*at(0, other), *at(horizontal, side+other) = 1, 1
			}
			continue
		}
		place[token*r.extra+row], place[token*r.extra+side+column] = 1, 1
		for other := range side {
			*at(index(other-row), other), *at(horizontal+index(other-column), side+other) = 1, 1
		}
	}
	defer v.exact()()
	r.place = v.constant("relative.place", place, r.tokens, r.extra)
	r.placeT = v.op("Transpose", []string{r.place}, integers("perm", 1, 0))
	r.pick = v.constant("relative.pick", pick, r.tokens, r.rows, r.extra)
	r.pickT = v.op("Transpose", []string{r.pick}, integers("perm", 0, 2, 1))
	return r
}

// turned are matrices [n, rows, columns], each transposed.
func turned(x []float32, n, rows, columns int) []float32 {
	out := make([]float32, len(x))
	for k := range n {
		for r := range rows {
			for c := range columns {
				out[(k*columns+c)*rows+r] = x[(k*rows+r)*columns+c]
			}
		}
	}
	return out
}

// tables are both tables of keys or values, one after the other: [rows, head_dim].
func (v *vit) tables(which string) []float32 {
	name := "attn.rel_pos_embed_" + which + ".embeddings_table_"
	return slices.Concat(v.weight(name+"v"), v.weight(name+"h"))
}

// relativeScores are the terms of scores [batch, heads, tokens, tokens] by position.
func (v *vit) relativeScores(query string, heads int) string {
	return v.exactly(query, func(query string) string {
		d := v.model.HeadDim
		t := turned(v.tables("k"), 1, v.rel.rows, d)
		each := v.op("MatMul", []string{query, v.constant("attn.relative.keys", t, d, v.rel.rows)})
		return v.op("MatMul", []string{v.perToken(each, "keys", v.rel.pick, heads, v.rel.rows, v.rel.extra), v.rel.placeT})
	})
}

// relativeValues are the terms of the sums of values [batch, heads, tokens, head_dim].
func (v *vit) relativeValues(attention string, heads int) string {
	return v.exactly(attention, func(attention string) string {
		sums := v.op("MatMul", []string{attention, v.rel.place})
		each := v.perToken(sums, "values", v.rel.pickT, heads, v.rel.extra, v.rel.rows)
		return v.op("MatMul", []string{each, v.constant("attn.relative.values", v.tables("v"), v.rel.rows, v.model.HeadDim)})
	})
}

// perToken multiplies x [batch, heads, tokens, from] with a matrix of each token's own
// [tokens, from, to].
func (v *vit) perToken(x, name, matrices string, heads, from, to int) string {
	x = v.op("Transpose", []string{x}, integers("perm", 2, 0, 1, 3))
	x = v.op("Reshape", []string{x, v.sizes("attn.relative."+name+".flat", v.rel.tokens, -1, from)})
	x = v.op("MatMul", []string{x, matrices})
	x = v.op("Reshape", []string{x, v.sizes("attn.relative."+name+".full", v.rel.tokens, -1, heads, to)})
	return v.op("Transpose", []string{x}, integers("perm", 1, 2, 0, 3))
}

// exact makes constants float32 until what it returns is called. Relative positions are in
// float32 in every file: onnxruntime 1.32 crashes on products with pick and place in float16
// when it loads them.
func (v *vit) exact() (done func()) {
	half := v.half
	v.half = false
	return func() { v.half = half }
}

// exactly computes f of x in float32, and gives it back in the graph's type.
func (v *vit) exactly(x string, f func(string) string) string {
	if !v.half {
		return f(x)
	}
	done := v.exact()
	y := f(v.op("Cast", []string{x}, integer("to", int(schema.Tensor_FLOAT))))
	done()
	return v.op("Cast", []string{y}, integer("to", int(schema.Tensor_FLOAT16)))
}
