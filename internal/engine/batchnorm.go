package engine

import (
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
)

// BatchNorm normalises every feature of x [..., c] over the whole batch to mean
// 0 and variance 1, then scales by weight and shifts by bias, both [c], and applies an activation f:
//
//	y = f((x - mean) / sqrt(variance + eps) · weight + bias)
//
// with the biased variance, as torch.nn.BatchNorm2d in training (Ioffe and
// Szegedy, 2015). It also returns mean and variance, [c], through which no
// gradient passes. x, y and their adjoints may have been through the type that operands of products are cast to (see
// DotGeneral); all sums are float32 or finer.
func BatchNorm(x, weight, bias *graph.Node, eps float64, f Activation, operands dtypes.DType) (y, mean, variance *graph.Node) {
	if hasKernels(x) && !f.fused() {
		y, mean, variance = batchNormCall(x, weight, bias, eps, Identity, operands, widest)
		return f.Of(y), mean, variance
	}
	if hasKernels(x) {
		return batchNormCall(x, weight, bias, eps, f, operands, widest)
	}
	y, mean, variance = batchNorm(x, weight, bias, eps)
	return f.Of(y), mean, variance
}

// batchNormCall is BatchNorm by package kernels, with vectors of at most so many lanes.
func batchNormCall(x, weight, bias *graph.Node, eps float64, f Activation, operands dtypes.DType, lanes int) (y, mean, variance *graph.Node) {
	full, low, settings := x.DType(), operandShape(x, operands), map[string]int{"activation": int(f), "lanes": lanes}
	cast := func(x *graph.Node) *graph.Node { return graph.ConvertDType(x, low.DType) }
	epsilon := graph.Scalar(x.Graph(), full, eps)
	out := calls("prenas_batch_norm", []shapes.Shape{low, weight.Shape(), weight.Shape()}, settings, cast(x), weight, bias, epsilon)
	y = CustomGradient(graph.ConvertDType(out[0], full), []*graph.Node{x, weight, bias}, func(v *graph.Node) []*graph.Node {
		adjoints := calls("prenas_batch_norm_adjoint", []shapes.Shape{low, weight.Shape(), bias.Shape()}, settings,
			cast(x), cast(v), weight, bias, out[1], out[2], epsilon)
		adjoints[0] = graph.ConvertDType(adjoints[0], full)
		return adjoints
	})
	return y, graph.StopGradient(out[1]), graph.StopGradient(out[2])
}

// batchNorm is BatchNorm by XLA's operations, without an activation.
//
// With s = weight/sqrt(variance + eps), d = x - mean and v the adjoint of y, the
// adjoint of x is s · (v - mean(v) - d·mean(v·d)/(variance + eps)), that of weight
// the sum of v·d over sqrt(variance + eps), and that of bias the sum of v: two sums
// serve all three.
//
// The sums take d part by part of the batch from x, and everything else that is of
// a feature is computed before it meets the images: so no image of d or of the
// normalised x is written, nor kept for the backward pass.
func batchNorm(x, weight, bias *graph.Node, eps float64) (y, mean, variance *graph.Node) {
	size := float64(x.Shape().Size() / weight.Shape().Size())
	wide := func(vector *graph.Node) *graph.Node { return alongLastAxis(vector, x) }
	itself := func(x *graph.Node) *graph.Node {
		return featureSums(x, func(part func(*graph.Node) *graph.Node) *graph.Node { return part(x) })
	}
	mean = graph.DivScalar(itself(x), size)
	centred := func(x *graph.Node) *graph.Node { return graph.Sub(x, wide(mean)) }
	variance = graph.DivScalar(featureSums(x, func(part func(*graph.Node) *graph.Node) *graph.Node {
		return graph.Square(centred(part(x)))
	}), size)
	deviation := graph.Sqrt(graph.AddScalar(variance, eps))
	scale := graph.Div(weight, deviation)
	y = graph.Add(graph.Mul(centred(x), wide(scale)), wide(bias))
	y = CustomGradient(y, []*graph.Node{x, weight, bias}, func(v *graph.Node) []*graph.Node {
		ofBias := itself(v)
		ofWeight := graph.Div(featureSums(v, func(part func(*graph.Node) *graph.Node) *graph.Node {
			return graph.Mul(part(v), centred(part(x)))
		}), deviation)
		along := graph.Mul(centred(x), wide(graph.Div(graph.DivScalar(ofWeight, size), deviation)))
		rest := graph.Sub(graph.Sub(v, wide(graph.DivScalar(ofBias, size))), along)
		return []*graph.Node{graph.Mul(wide(scale), rest), ofWeight, ofBias}
	})
	return y, graph.StopGradient(mean), graph.StopGradient(variance)
}

// FixedNorm is BatchNorm with a given mean and variance, as in evaluation.
func FixedNorm(x, weight, bias, mean, variance *graph.Node, eps float64) *graph.Node {
	scale := graph.Div(weight, graph.Sqrt(graph.AddScalar(variance, eps)))
	shift := graph.Sub(bias, graph.Mul(mean, scale))
	return graph.Add(graph.Mul(x, alongLastAxis(scale, x)), alongLastAxis(shift, x))
}
