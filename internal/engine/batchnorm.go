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
// With h the normalised x, s = weight/sqrt(variance + eps) and v the adjoint of
// y, the adjoint of x is s · (v - mean(v) - h·mean(v·h)), that of weight the sum
// of v·h, and that of bias the sum of v: two sums serve all three.
func BatchNorm(x, weight, bias *graph.Node, eps float64) (y, mean, variance *graph.Node) {
	size := float64(x.Shape().Size() / weight.Shape().Size())
	wide := func(vector *graph.Node) *graph.Node { return alongLastAxis(vector, x) }
	sums := func(of ...*graph.Node) *graph.Node {
		return featureSums(of[0], func(part func(*graph.Node) *graph.Node) *graph.Node {
			product := part(of[0])
			for _, other := range of[1:] {
				product = graph.Mul(product, part(other))
			}
			return product
		})
	}
	mean = graph.DivScalar(sums(x), size)
	centred := graph.Sub(x, wide(mean))
	variance = graph.DivScalar(sums(centred, centred), size)
	deviation := graph.Sqrt(graph.AddScalar(variance, eps))
	normal := graph.Div(centred, wide(deviation))
	y = graph.Add(graph.Mul(normal, wide(weight)), wide(bias))
	y = CustomGradient(y, []*graph.Node{x, weight, bias}, func(v *graph.Node) []*graph.Node {
		ofWeight, ofBias := sums(v, normal), sums(v)
		along := graph.Mul(normal, wide(graph.DivScalar(ofWeight, size)))
		rest := graph.Sub(graph.Sub(v, wide(graph.DivScalar(ofBias, size))), along)
		return []*graph.Node{graph.Mul(wide(graph.Div(weight, deviation)), rest), ofWeight, ofBias}
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
