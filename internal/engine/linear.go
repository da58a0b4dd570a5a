package engine

import (
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"prenas/internal/kernels"
)

// DotGeneral is graph.DotGeneral of operands that are cast to a type, and its result to the type of lhs;
// dtypes.InvalidDType is that too.
func DotGeneral(lhs *graph.Node, lhsContract, lhsBatch []int, rhs *graph.Node, rhsContract, rhsBatch []int, operands dtypes.DType) *graph.Node {
	full := lhs.DType()
	if operands == dtypes.InvalidDType {
		operands = full
	}
	low := func(x *graph.Node) *graph.Node { return graph.ConvertDType(x, operands) }
	return graph.ConvertDType(graph.DotGeneral(low(lhs), lhsContract, lhsBatch, low(rhs), rhsContract, rhsBatch), full)
}

// Linear is x [..., in] times a weight [out, in], transposed: [..., out]. Operands are cast to a type as
// those of DotGeneral.
func Linear(x, weight *graph.Node, operands dtypes.DType) *graph.Node {
	if operands == dtypes.InvalidDType {
		operands = x.DType()
	}
	if !hasKernels(x) || !kernels.Products(operands == dtypes.BFloat16) || x.Shape().Dim(-1)%2 == 1 || weight.Shape().Dim(0)%2 == 1 {
		return DotGeneral(x, []int{x.Rank() - 1}, nil, weight, []int{1}, nil, operands)
	}
	return linearCall(x, weight, operands)
}

// What a product sums over; as in kernels/call.h.
const (
	overBoth    = iota // the columns of a and the rows of b
	overColumns        // of both
	overRows           // of both
)

// linearCall is Linear by package kernels. The adjoint of x is v · weight, that of the weight vᵀ · x.
func linearCall(x, weight *graph.Node, operands dtypes.DType) *graph.Node {
	cast := func(x *graph.Node) *graph.Node { return graph.ConvertDType(x, operands) }
	full := x.DType()
	product := func(a, b *graph.Node, over int, result dtypes.DType, dims ...int) *graph.Node {
		return graph.ConvertDType(call("prenas_product", shapes.Make(result, dims...), map[string]int{"over": over}, a, b), full)
	}
	in, out := weight.Shape().Dim(1), weight.Shape().Dim(0)
	lead := x.Shape().Dimensions[:x.Rank()-1]
	low, lowWeight := cast(x), cast(weight)
	y := product(low, lowWeight, overColumns, operands, slices.Concat(lead, []int{out})...)
	return CustomGradient(y, []*graph.Node{x, weight}, func(v *graph.Node) []*graph.Node {
		v = cast(v)
		return []*graph.Node{
			product(v, lowWeight, overBoth, operands, slices.Concat(lead, []int{in})...),
			product(v, low, overRows, full, out, in),
		}
	})
}
