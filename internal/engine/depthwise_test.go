package engine

import (
	"fmt"
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// slowDepthwise is DepthwiseConv as its formula has it.
func slowDepthwise(x []float64, n, h, w, c int, kernel []float64, k, stride int) []float64 {
	oh, ow := (h+stride-1)/stride, (w+stride-1)/stride
	y := make([]float64, n*oh*ow*c)
	for b := range n {
		for i := range oh {
			for j := range ow {
				for f := range c {
					for u := range k {
						for v := range k {
							row, col := stride*i+u-k/2, stride*j+v-k/2
							if row >= 0 && row < h && col >= 0 && col < w {
								y[((b*oh+i)*ow+j)*c+f] += kernel[(u*k+v)*c+f] * x[((b*h+row)*w+col)*c+f]
							}
						}
					}
				}
			}
		}
	}
	return y
}

func TestDepthwiseConv(t *testing.T) {
	for _, c := range []struct{ n, h, w, features, k, stride int }{
		{2, 4, 5, 3, 3, 1}, {1, 5, 4, 2, 3, 2}, {2, 6, 6, 2, 5, 2}, {1, 3, 3, 2, 7, 1}, {4, 4, 4, 1, 5, 1}, {1, 7, 7, 1, 7, 2}, {1, 1, 1, 2, 3, 2}, {2, 2, 3, 2, 1, 1},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			fresh := func() (x, kernel *tensors.Tensor) { // a tensor belongs to one backend
				return randomTensor("x", c.n, c.h, c.w, c.features), randomTensor("k", c.k, c.k, c.features)
			}
			x, kernel := fresh()
			exec := graph.MustNewExec(goBackend(t), func(in []*graph.Node) *graph.Node { return DepthwiseConv(in[0], in[1], c.stride, dtypes.InvalidDType) })
			out, err := exec.Exec(x, kernel)
			if err != nil {
				t.Fatal(err)
			}
			want := slowDepthwise(tensors.MustCopyFlatData[float64](x), c.n, c.h, c.w, c.features, tensors.MustCopyFlatData[float64](kernel), c.k, c.stride)
			for i, got := range tensors.MustCopyFlatData[float64](out[0]) {
				if !(math.Abs(got-want[i]) <= 1e-12) {
					t.Fatalf("value %d is %v, want %v", i, got, want[i])
				}
			}
			x, kernel = fresh()
			checkGradient(t, []*tensors.Tensor{x, kernel}, func(in []*graph.Node) *graph.Node {
				return weigh(DepthwiseConv(in[0], in[1], c.stride, dtypes.InvalidDType))
			})
		})
	}
}

func TestBatchNormGradientByCentralDifferences(t *testing.T) {
	for _, n := range []int{2, 3} {
		fresh := func() []*tensors.Tensor {
			return []*tensors.Tensor{randomTensor("x", n, 2, 3, 2), randomTensor("w", 2), randomTensor("b", 2)}
		}
		checkGradient(t, fresh(), func(in []*graph.Node) *graph.Node {
			y, _, _ := BatchNorm(in[0], in[1], in[2], 1e-3, Identity, dtypes.InvalidDType)
			return weigh(y)
		})
		checkGradient(t, fresh(), func(in []*graph.Node) *graph.Node {
			variance := graph.OnePlus(graph.Square(in[1]))
			return weigh(FixedNorm(in[0], in[1], in[2], in[2], variance, 1e-3))
		})
	}
}

// Given its own batch's mean and variance FixedNorm is BatchNorm.
func TestFixedNormIsBatchNorm(t *testing.T) {
	exec := graph.MustNewExec(goBackend(t), func(in []*graph.Node) []*graph.Node {
		y, mean, variance := BatchNorm(in[0], in[1], in[2], 1e-5, Identity, dtypes.InvalidDType)
		return []*graph.Node{y, FixedNorm(in[0], in[1], in[2], mean, variance, 1e-5), mean, variance}
	})
	out, err := exec.Exec(randomTensor("x", 4, 3, 3, 5), randomTensor("w", 5), randomTensor("b", 5))
	if err != nil {
		t.Fatal(err)
	}
	a, b := tensors.MustCopyFlatData[float64](out[0]), tensors.MustCopyFlatData[float64](out[1])
	for i := range a {
		if !(math.Abs(a[i]-b[i]) <= 1e-12) {
			t.Fatalf("value %d: %v and %v", i, a[i], b[i])
		}
	}
	mean, variance := tensors.MustCopyFlatData[float64](out[2]), tensors.MustCopyFlatData[float64](out[3])
	x := tensors.MustCopyFlatData[float64](randomTensor("x", 4, 3, 3, 5))
	for f := range 5 {
		m, v := 0.0, 0.0
		for i := f; i < len(x); i += 5 {
			m += x[i] / 36
		}
		for i := f; i < len(x); i += 5 {
			v += (x[i] - m) * (x[i] - m) / 36
		}
		if !(math.Abs(mean[f]-m) <= 1e-12) || !(math.Abs(variance[f]-v) <= 1e-12) {
			t.Errorf("feature %d: mean %v and variance %v, want %v and %v", f, mean[f], variance[f], m, v)
		}
	}
}

func TestActivationGradients(t *testing.T) {
	for name, f := range map[string]func(*graph.Node) *graph.Node{"HardSwish": HardSwish.Of, "HardSigmoid": HardSigmoid, "ReLU": ReLU.Of} {
		t.Run(name, func(t *testing.T) {
			x := tensors.FromFlatDataAndDimensions([]float64{-4, -2.9, -1, -0.2, 0.1, 1, 2.8, 3.5, 7}, 9)
			checkGradient(t, []*tensors.Tensor{x}, func(in []*graph.Node) *graph.Node { return weigh(f(in[0])) })
		})
	}
}

func TestFeaturesLastIsATransposition(t *testing.T) {
	kernel := randomTensor("k", 3, 5, 5)
	exec := graph.MustNewExec(goBackend(t), func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{FeaturesLast(in[0]), graph.TransposeAllAxes(in[0], 1, 2, 0)}
	})
	out, err := exec.Exec(kernel)
	if err != nil {
		t.Fatal(err)
	}
	if !out[0].Equal(out[1]) {
		t.Errorf("%v, want %v", out[0], out[1])
	}
}
