package engine

import (
	"github.com/gomlx/gomlx/pkg/core/graph"
)

// BatchNorm normalises every feature of x [..., c] over the whole batch to mean
// 0 and variance 1, then scales by weight and shifts by bias, both [c]:
//
//	y = (x - mean) / sqrt(variance + eps) · weight + bias
//
// with the biased variance, as torch.nn.BatchNorm2d in training (Ioffe and
// Szegedy, 2015). It also returns mean and variance, [c], through which no
// gradient passes.
//
// With s = weight/sqrt(variance + eps), d = x - mean and v the adjoint of y, the
// adjoint of x is s · (v - mean(v) - d·mean(v·d)/(variance + eps)), that of weight
// the sum of v·d over sqrt(variance + eps), and that of bias the sum of v: two sums
// serve all three.
//
// The sums take d part by part of the batch from x, and everything else that is of
// a feature is computed before it meets the images: so no image of d or of the
// normalised x is written, nor kept for the backward pass.
func BatchNorm(x, weight, bias *graph.Node, eps float64) (y, mean, variance *graph.Node) {
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

// HardSigmoid is min(max(x + 3, 0), 6) / 6 (Howard et al., MobileNetV3, 2019).
func HardSigmoid(x *graph.Node) *graph.Node {
	g, t := x.Graph(), x.DType()
	return graph.DivScalar(graph.Min(graph.Max(graph.AddScalar(x, 3), graph.Scalar(g, t, 0)), graph.Scalar(g, t, 6)), 6)
}

// HardSwish is x · HardSigmoid(x).
func HardSwish(x *graph.Node) *graph.Node { return graph.Mul(x, HardSigmoid(x)) }

// ReLU is max(x, 0).
func ReLU(x *graph.Node) *graph.Node { return graph.Max(x, graph.ScalarZero(x.Graph(), x.DType())) }
