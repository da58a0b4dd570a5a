package engine

import (
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
)

// LayerNorm normalises x over its last axis (size d) to mean 0 and variance 1,
// then scales by weight and shifts by bias, both [d]:
//
//	h = (x - mean) · s    s = 1/sqrt(variance + eps)    y = h · weight + bias
//
// with the biased variance, as torch.nn.LayerNorm. With v the adjoint of y and u
// = v · weight, the adjoints are s · (u - mean(u) - h·mean(u·h)) of x, Σ v·h of
// weight and Σ v of bias, sums over all axes but the last (Ba, Kiros and Hinton,
// Layer Normalization, 2016, differentiated).
//
// The result is meant to be an operand of products whose operands are cast to a type (see DotGeneral): it may have been
// through that type already. All is computed in float32, also where x is in bfloat16, as are the result and x's adjoint then.
func LayerNorm(x, weight, bias *graph.Node, eps float64, operands dtypes.DType) *graph.Node {
	if hasKernels(x) {
		return layerNormCall(x, weight, bias, eps, operands, widest)
	}
	return layerNorm(x, weight, bias, eps)
}

// layerNorm is LayerNorm of XLA's operations. The rule saves passes over x, and computes h anew
// instead of keeping it.
func layerNorm(x, weight, bias *graph.Node, eps float64) *graph.Node {
	stored, wide := x.DType(), weight.DType()
	given := x
	x = graph.ConvertDType(x, wide)
	mean := func(y *graph.Node) *graph.Node { return graph.ReduceAndKeep(y, graph.ReduceMean, -1) }
	sum := func(y *graph.Node) *graph.Node { return graph.ReduceSum(y, axisRange(0, x.Rank()-1)...) }
	centre := mean(x)
	scale := graph.Reciprocal(graph.Sqrt(graph.AddScalar(mean(graph.Square(graph.Sub(x, centre))), eps)))
	normal := func(x *graph.Node) *graph.Node { return graph.Mul(graph.Sub(x, centre), scale) }
	y := graph.Add(graph.Mul(normal(x), alongLastAxis(weight, x)), alongLastAxis(bias, x))
	return CustomGradient(graph.ConvertDType(y, stored), []*graph.Node{given, weight, bias}, func(v *graph.Node) []*graph.Node {
		x := graph.ConvertDType(Rematerialize(given, v), wide)
		v = graph.ConvertDType(v, wide)
		h, u := normal(x), graph.Mul(v, alongLastAxis(weight, x))
		dx := graph.Mul(scale, graph.Sub(graph.Sub(u, mean(u)), graph.Mul(h, mean(graph.Mul(u, h)))))
		return []*graph.Node{graph.ConvertDType(dx, stored), sum(graph.Mul(v, h)), sum(v)}
	})
}

// alongLastAxis gives a vector [d] the rank of x, so that it broadcasts over
// all axes but the last.
func alongLastAxis(vector, x *graph.Node) *graph.Node {
	return graph.ExpandLeftToRank(vector, x.Rank())
}

// layerNormCall is LayerNorm by package kernels, with vectors of at most so many lanes.
func layerNormCall(x, weight, bias *graph.Node, eps float64, operands dtypes.DType, lanes int) *graph.Node {
	full, settings := x.Shape(), map[string]int{"lanes": lanes}
	low := operandShape(x, operands)
	epsilon := graph.Scalar(x.Graph(), full.DType, eps)
	y := graph.ConvertDType(call("prenas_layer_norm", low, settings, x, weight, bias, epsilon), full.DType)
	return CustomGradient(y, []*graph.Node{x, weight, bias}, func(v *graph.Node) []*graph.Node {
		results := []shapes.Shape{full, weight.Shape(), bias.Shape()}
		return calls("prenas_layer_norm_adjoint", results, settings, x, weight, epsilon, graph.ConvertDType(v, low.DType))
	})
}

// operandShape is x's as an operand of a product.
func operandShape(x *graph.Node, operands dtypes.DType) shapes.Shape {
	shape := x.Shape().Clone()
	if operands != dtypes.InvalidDType {
		shape.DType = operands
	}
	return shape
}
