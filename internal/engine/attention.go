package engine

import (
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"prenas/internal/kernels"
)

// Relative are the 2-D relative positions of an attention over a class token and a square of patches.
type Relative struct {
	Side  int // of the square
	Limit int // the largest distance that has a row of its own in the tables
	// Tables of keys, vertical and horizontal, then of values: each [2·Limit + 2, head_dim].
	Tables []*graph.Node
}

// Attention is that of a number of heads over qkv [N, tokens, 3·heads·head_dim], where queries, keys and values of
// all heads lie one after the other: softmax(q·kᵀ/√head_dim)·v, [N, tokens, heads·head_dim], with relative positions where
// they are given. Operands of its products are cast to a type as those of DotGeneral.
//
// There is only package kernels' for it: false where that is not to be had, and for a qkv that it does not take.
func Attention(qkv *graph.Node, heads int, relative *Relative, operands dtypes.DType) (*graph.Node, bool) {
	if operands == dtypes.InvalidDType {
		operands = qkv.DType()
	}
	d := qkv.Shape().Dimensions
	if !hasKernels(qkv) || !kernels.Products(operands == dtypes.BFloat16) || len(d) != 3 || d[2]/3/heads%2 == 1 {
		return nil, false
	}
	tables, settings := relative.settings(heads)
	low := graph.ConvertDType(qkv, operands)
	y := call("prenas_attention", shapes.Make(operands, d[0], d[1], d[2]/3), settings, append([]*graph.Node{low}, tables...)...)
	return CustomGradient(graph.ConvertDType(y, qkv.DType()), append([]*graph.Node{qkv}, tables...), func(v *graph.Node) []*graph.Node {
		results := []shapes.Shape{low.Shape()}
		for _, table := range tables {
			results = append(results, table.Shape())
		}
		adjoints := calls("prenas_attention_adjoint", results, settings, append([]*graph.Node{low, graph.ConvertDType(v, operands)}, tables...)...)
		adjoints[0] = graph.ConvertDType(adjoints[0], qkv.DType())
		return adjoints
	}), true
}

// settings of calls with these relative positions, or nil for none, and the tables that they take.
func (r *Relative) settings(heads int) (tables []*graph.Node, settings map[string]int) {
	settings = map[string]int{"heads": heads}
	if r != nil {
		settings["side"], settings["limit"] = r.Side, r.Limit
		tables = r.Tables
	}
	return tables, settings
}
