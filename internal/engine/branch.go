package engine

import (
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"prenas/internal/kernels"
)

// Norm is what LayerNorm takes beside x.
type Norm struct {
	Weight, Bias *graph.Node // [d]
	Eps          float64
}

// Layer is a linear layer: y = x · weightᵀ + bias.
type Layer struct {
	Weight *graph.Node // [out, in]
	Bias   *graph.Node // [out]; nil: none
}

// HasBranches tells whether AttentionBranch and MLPBranch may be used with x [N, tokens, d], float32: on processors with AMX, with products
// whose operands are cast to bf16. Elsewhere a branch is put together from LayerNorm, Linear, BiasGelu and Attention, its twins.
func HasBranches(x *graph.Node, operands dtypes.DType) bool {
	return hasKernels(x) && operands == dtypes.BFloat16 && kernels.AMX() == "" && x.Rank() == 3
}

// MLPBranch is x + factor · fc2(GELU(fc1(LayerNorm(x)))), factor [N] or nil for ones, by one function of package kernels.
func MLPBranch(x *graph.Node, n Norm, fc1, fc2 Layer, factor *graph.Node) *graph.Node {
	b := branchOf(x, n, factor)
	w1, b1, b2 := packed(fc1.Weight, overColumns), fc1.bias(), fc2.bias()
	y := b.call("prenas_branch", []shapes.Shape{x.Shape()}, bothHalves, x, n.Weight, n.Bias, b.eps, w1, b1, packed(fc2.Weight, overColumns), b2, b.factor)[0]
	return CustomGradient(y, []*graph.Node{x, n.Weight, n.Bias, fc1.Weight, b1, fc2.Weight, b2}, func(v *graph.Node) []*graph.Node {
		results := slices.Concat(shapesOf(x, n.Weight, n.Bias, fc1.Weight, b1), shapesOf(fc2.Weight, b2))
		return b.call("prenas_branch_adjoint", results, bothHalves, v, x, n.Weight, n.Bias, b.eps, packed(fc1.Weight, overBoth), w1, b1, packed(fc2.Weight, overBoth), b.factor)
	})
}

// AttentionBranch is x + factor · proj(Attention(qkv(LayerNorm(x)))) with so many heads, factor [N] or nil for ones. The weight of qkv has queries, keys and
// values of all heads one after the other. False where Attention is not to be had.
func AttentionBranch(x *graph.Node, n Norm, qkv Layer, heads int, relative *Relative, proj Layer, factor *graph.Node) (*graph.Node, bool) {
	b := branchOf(x, n, factor)
	lead, width := x.Shape().Dimensions[:2], qkv.Weight.Shape().Dim(0)
	between := shapes.Make(dtypes.BFloat16, lead[0], lead[1], width)
	if width/3/heads%2 == 1 {
		return nil, false
	}
	b1, b2 := qkv.bias(), proj.bias()
	z := b.call("prenas_branch", []shapes.Shape{between}, firstHalf, x, n.Weight, n.Bias, b.eps, packed(qkv.Weight, overColumns), b1)[0]
	tables, settings := relative.settings(heads)
	o := call("prenas_attention", shapes.Make(dtypes.BFloat16, lead[0], lead[1], width/3), settings, append([]*graph.Node{z}, tables...)...)
	y := b.call("prenas_branch", []shapes.Shape{x.Shape()}, secondHalf, x, o, packed(proj.Weight, overColumns), b2, b.factor)[0]
	inputs := append([]*graph.Node{x, n.Weight, n.Bias, qkv.Weight, b1, proj.Weight, b2}, tables...)
	return CustomGradient(y, inputs, func(v *graph.Node) []*graph.Node {
		second := b.call("prenas_branch_adjoint", shapesOf(proj.Weight, b2, o), secondHalf, v, packed(proj.Weight, overBoth), b.factor, o)
		attention := calls("prenas_attention_adjoint", shapesOf(append([]*graph.Node{z}, tables...)...), settings, append([]*graph.Node{z, second[2]}, tables...)...)
		first := b.call("prenas_branch_adjoint", shapesOf(x, n.Weight, n.Bias, qkv.Weight, b1), firstHalf, v, x, n.Weight, n.Bias, b.eps, packed(qkv.Weight, overBoth), attention[0])
		return slices.Concat(first, second[:2], attention[1:])
	}), true
}

// branch is what the calls of one have in common.
type branch struct {
	factor, eps *graph.Node
	tokens      int
}

func branchOf(x *graph.Node, n Norm, factor *graph.Node) branch {
	if factor == nil {
		factor = graph.Ones(x.Graph(), shapes.Make(x.DType(), x.Shape().Dim(0)))
	}
	return branch{factor: factor, eps: graph.Scalar(x.Graph(), x.DType(), n.Eps), tokens: x.Shape().Dim(1)}
}

// The halves of a branch that a call has; as in kernels/branch.c.
type halves struct{ first, second int }

var firstHalf, secondHalf, bothHalves = halves{1, 0}, halves{0, 1}, halves{1, 1}

func (b branch) call(function string, results []shapes.Shape, h halves, operands ...*graph.Node) []*graph.Node {
	return calls(function, results, map[string]int{"first": h.first, "second": h.second, "tokens": b.tokens}, operands...)
}

func (l Layer) bias() *graph.Node {
	if l.Bias != nil {
		return l.Bias
	}
	return graph.Zeros(l.Weight.Graph(), shapes.Make(l.Weight.DType(), l.Weight.Shape().Dim(0)))
}

// packed is a weight [out, in] as tiles of AMX for a product that sums over its columns, or, over both, over its rows.
func packed(weight *graph.Node, over int) *graph.Node {
	const tile = 32 // rows and columns
	columns, depth := weight.Shape().Dim(0), weight.Shape().Dim(1)
	if over == overBoth {
		columns, depth = depth, columns
	}
	up := func(n int) int { return (n + tile - 1) / tile * tile }
	return once(weight.Graph(), func() *graph.Node {
		return call("prenas_pack", shapes.Make(dtypes.BFloat16, up(columns), up(depth)), map[string]int{"over": over}, weight)
	})
}

func shapesOf(nodes ...*graph.Node) (of []shapes.Shape) {
	for _, node := range nodes {
		of = append(of, node.Shape())
	}
	return of
}
