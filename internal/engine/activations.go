package engine

import (
	"math"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
)

// Gelu is the exact form, x·Φ(x) with Φ(x) = (1 + erf(x/√2))/2, the normal
// distribution's (Hendrycks and Gimpel, Gaussian Error Linear Units, 2016). Its
// derivative, Φ(x) + x·exp(-x²/2)/√(2π), is computed of x alone.
func Gelu(x *graph.Node) *graph.Node {
	return CustomGradient(graph.Mul(x, cumulative(x)), []*graph.Node{x}, func(v *graph.Node) []*graph.Node {
		return []*graph.Node{graph.Mul(v, geluSlope(Rematerialize(x, v)))}
	})
}

// cumulative is Φ(x).
func cumulative(x *graph.Node) *graph.Node {
	return graph.MulScalar(graph.OnePlus(graph.Erf(graph.MulScalar(x, 1/math.Sqrt2))), 0.5)
}

// geluSlope is Gelu's derivative.
func geluSlope(x *graph.Node) *graph.Node {
	density := graph.MulScalar(graph.Exp(graph.MulScalar(graph.Square(x), -0.5)), 1/math.Sqrt(2*math.Pi))
	return graph.Add(cumulative(x), graph.Mul(x, density))
}

// BiasGelu is Gelu(x + bias), bias [x's last axis], between products: x is the result of one, the result an operand of another, and
// both may have been through the type that these products' operands are cast to (see DotGeneral), as may their adjoints.
func BiasGelu(x, bias *graph.Node, operands dtypes.DType) *graph.Node {
	switch {
	case hasKernels(x):
		return biasGeluCall(x, bias, operands, widest)
	case x.DType() != bias.DType():
		return biasGeluStored(x, bias)
	}
	return Gelu(graph.Add(x, alongLastAxis(bias, x)))
}

// biasGeluStored is BiasGelu of an x in a narrower type than the bias, in which all is computed: what is kept for the backward pass
// is x as it is stored.
func biasGeluStored(x, bias *graph.Node) *graph.Node {
	stored, wide := x.DType(), bias.DType()
	biased := func(x *graph.Node) *graph.Node {
		return graph.Add(graph.ConvertDType(x, wide), alongLastAxis(bias, x))
	}
	z := biased(x)
	y := graph.ConvertDType(graph.Mul(z, cumulative(z)), stored)
	return CustomGradient(y, []*graph.Node{x, bias}, func(v *graph.Node) []*graph.Node {
		dz := graph.Mul(graph.ConvertDType(v, wide), geluSlope(biased(Rematerialize(x, v))))
		return []*graph.Node{graph.ConvertDType(dz, stored), graph.ReduceSum(dz, axisRange(0, x.Rank()-1)...)}
	})
}

// biasGeluCall is BiasGelu by package kernels, with vectors of at most so many lanes.
func biasGeluCall(x, bias *graph.Node, operands dtypes.DType, lanes int) *graph.Node {
	full, low, settings := x.DType(), operandShape(x, operands), map[string]int{"lanes": lanes}
	cast := func(x *graph.Node) *graph.Node { return graph.ConvertDType(x, low.DType) }
	y := graph.ConvertDType(call("prenas_bias_gelu", low, settings, cast(x), bias), full)
	return CustomGradient(y, []*graph.Node{x, bias}, func(v *graph.Node) []*graph.Node {
		adjoints := calls("prenas_bias_gelu_adjoint", []shapes.Shape{low, bias.Shape()}, settings, cast(x), bias, cast(v))
		return []*graph.Node{graph.ConvertDType(adjoints[0], full), adjoints[1]}
	})
}

// Softmax is exp(x) / Σ exp(x) over the last axis. With p the result and v its
// adjoint, that of x is p · (v - Σ v·p): of what the forward pass had, only p is
// needed again.
func Softmax(x *graph.Node) *graph.Node {
	p := graph.Softmax(x, -1)
	return CustomGradient(p, []*graph.Node{x}, func(v *graph.Node) []*graph.Node {
		along := graph.ReduceAndKeep(graph.Mul(v, p), graph.ReduceSum, -1)
		return []*graph.Node{graph.Mul(p, graph.Sub(v, along))}
	})
}

// HardSigmoid is min(max(x + 3, 0), 6) / 6 (Howard et al., MobileNetV3, 2019).
func HardSigmoid(x *graph.Node) *graph.Node {
	g, t := x.Graph(), x.DType()
	return graph.DivScalar(graph.Min(graph.Max(graph.AddScalar(x, 3), graph.Scalar(g, t, 0)), graph.Scalar(g, t, 6)), 6)
}

// Activation is a function that may follow a norm.
type Activation int

// The first are as in kernels/batchnorm.c; see fused.
const (
	Identity  Activation = iota
	ReLU                 // max(x, 0)
	HardSwish            // x · HardSigmoid(x)
	ReLU6                // min(max(x, 0), 6)
	SiLU                 // x · Sigmoid(x)
)

// fused tells whether package kernels computes a batch norm and the activation in one.
func (f Activation) fused() bool { return f <= ReLU6 }

// Of is the function of x.
func (f Activation) Of(x *graph.Node) *graph.Node {
	switch f {
	case ReLU:
		return graph.Max(x, graph.ScalarZero(x.Graph(), x.DType()))
	case HardSwish:
		return graph.Mul(x, HardSigmoid(x))
	case ReLU6:
		return graph.Min(graph.Max(x, graph.ScalarZero(x.Graph(), x.DType())), graph.Scalar(x.Graph(), x.DType(), 6))
	case SiLU:
		return graph.Mul(x, graph.Sigmoid(x))
	}
	return x
}
