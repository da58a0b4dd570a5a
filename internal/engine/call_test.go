package engine

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// engineWithKernels opens XLA for the CPU with the functions of package kernels.
func engineWithKernels(tb testing.TB) *Engine {
	tb.Helper()
	e, err := Open(context.Background(), Options{Backend: "auto"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(e.Close)
	if !e.Kernels() {
		tb.Skip("no kernels: they need Linux, cgo and XLA's plug-in")
	}
	return e
}

// truncated is a value of bf16, the next to x on the way to zero.
func truncated(x float32) float32 { return math.Float32frombits(math.Float32bits(x) & 0xffff0000) }

type depthwise struct{ n, h, w, features, k, stride int }

// adjoints are those of slowDepthwise for the adjoint v of its result.
func (c depthwise) adjoints(x, kernel, v []float64) (dx, dk []float64) {
	dx, dk = make([]float64, len(x)), make([]float64, len(kernel))
	oh, ow := (c.h+c.stride-1)/c.stride, (c.w+c.stride-1)/c.stride
	for at, value := range v {
		f, j, i, b := at%c.features, at/c.features%ow, at/c.features/ow%oh, at/c.features/ow/oh
		for u := range c.k {
			for t := range c.k {
				row, col := c.stride*i+u-c.k/2, c.stride*j+t-c.k/2
				if row >= 0 && row < c.h && col >= 0 && col < c.w {
					pixel, tap := ((b*c.h+row)*c.w+col)*c.features+f, (u*c.k+t)*c.features+f
					dx[pixel] += value * kernel[tap]
					dk[tap] += value * x[pixel]
				}
			}
		}
	}
	return dx, dk
}

// check compares one way to convolve with the formula, for random values; with bf16 of such.
func (c depthwise) check(t *testing.T, e *Engine, seed uint64, precision Precision, conv func(x, kernel *graph.Node, stride int) *graph.Node) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	values := func(n int) (wide []float64, narrow []float32) {
		for range n {
			value := float32(random.NormFloat64())
			if precision == BFloat16 {
				value = truncated(value)
			}
			wide, narrow = append(wide, float64(value)), append(narrow, value)
		}
		return wide, narrow
	}
	oh, ow := (c.h+c.stride-1)/c.stride, (c.w+c.stride-1)/c.stride
	x, x32 := values(c.n * c.h * c.w * c.features)
	kernel, kernel32 := values(c.k * c.k * c.features)
	v, v32 := values(c.n * oh * ow * c.features)
	exec := graph.MustNewExec(e.backend, func(in []*graph.Node) []*graph.Node {
		y := conv(in[0], in[1], c.stride)
		return append(Gradient(graph.ReduceAllSum(graph.Mul(y, in[2])), in[0], in[1]), y)
	})
	out, err := exec.Exec(
		tensors.FromFlatDataAndDimensions(x32, c.n, c.h, c.w, c.features),
		tensors.FromFlatDataAndDimensions(kernel32, c.k, c.k, c.features),
		tensors.FromFlatDataAndDimensions(v32, c.n, oh, ow, c.features))
	if err != nil {
		t.Fatalf("%+v: %v", c, err)
	}
	dx, dk := c.adjoints(x, kernel, v)
	y := slowDepthwise(x, c.n, c.h, c.w, c.features, kernel, c.k, c.stride)
	for i, want := range [][]float64{dx, dk, y} {
		got := tensors.MustCopyFlatData[float32](out[i])
		// A sum of n products of normal values is some √n large; float32 is off by 1e-7 of what is added.
		terms := []float64{float64(c.k * c.k), float64(c.n * oh * ow), float64(c.k * c.k)}[i]
		rounding := 0.0
		if precision == BFloat16 && i != 1 { // the kernel's is float32
			rounding = 1.0 / 256
		}
		for at := range want {
			if !(math.Abs(float64(got[at])-want[at]) < 2e-6*(1+math.Sqrt(terms))+rounding*math.Abs(want[at])) {
				t.Fatalf("%+v: %s at %d is %v, want %v", c, []string{"adjoint of x", "adjoint of the kernel", "y"}[i], at, got[at], want[at])
			}
		}
	}
}

func callOf(precision Precision, lanes int) func(x, kernel *graph.Node, stride int) *graph.Node {
	return func(x, kernel *graph.Node, stride int) *graph.Node {
		return depthwiseCall(x, kernel, stride, precision.Operands(), lanes)
	}
}

// What GPUs run; XLA has it for a CPU too.
func TestDepthwiseGroupsAreTheFormula(t *testing.T) {
	e := engineWithKernels(t)
	for i, c := range []depthwise{{2, 7, 7, 16, 3, 1}, {2, 9, 6, 5, 3, 2}, {1, 5, 8, 4, 7, 2}, {3, 6, 6, 3, 5, 1}, {1, 1, 1, 2, 3, 2}, {2, 2, 3, 2, 1, 2}, {1, 10, 3, 2, 5, 3}} {
		c.check(t, e, uint64(i), Float32, depthwiseGroups)
	}
}

func TestDepthwiseCallIsTheFormula(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	e := engineWithKernels(t)
	for _, k := range []int{1, 3, 5, 7, 9} {
		for _, stride := range []int{1, 2, 3} {
			for _, size := range [][2]int{{1, 1}, {2, 3}, {7, 7}, {9, 14}, {3, 31}} {
				for i, features := range []int{1, 16, 17, 40} {
					precision := []Precision{Float32, BFloat16}[(i+k/2)%2]
					depthwise{1 + (i+k)%3, size[0], size[1], features, k, stride}.check(t, e, uint64(i), precision, callOf(precision, widest))
				}
			}
		}
	}
}

// What processors with narrower vectors run.
func TestDepthwiseCallWithNarrowVectors(t *testing.T) {
	e := engineWithKernels(t)
	for _, lanes := range []int{4, 8} {
		for _, k := range []int{3, 5, 7} {
			for _, stride := range []int{1, 2} {
				for i, features := range someOf([]int{3, 4, 8, 13}, 2) {
					precision := []Precision{Float32, BFloat16}[(i+k/2)%2]
					depthwise{2, 13, 6 + 3*i, features, k, stride}.check(t, e, uint64(i), precision, callOf(precision, lanes))
				}
			}
		}
	}
}

// A call in a program of XLA's operations, which lays out its values as it likes, reads and
// writes rows.
func TestDepthwiseCallAmongOtherOperations(t *testing.T) {
	e := engineWithKernels(t)
	program := func(conv func(x, kernel *graph.Node, stride int) *graph.Node) *graph.Exec {
		return graph.MustNewExec(e.backend, func(in []*graph.Node) []*graph.Node {
			x, kernel := graph.TransposeAllAxes(in[0], 0, 2, 3, 1), graph.TransposeAllAxes(in[1], 1, 2, 0)
			y := graph.Tanh(conv(graph.Tanh(x), kernel, 2))
			y = conv(y, graph.Sin(kernel), 1)
			return append(Gradient(graph.ReduceAllSum(graph.Square(y)), in...), graph.TransposeAllAxes(y, 3, 1, 2, 0))
		})
	}
	fresh := func() []any {
		random := rand.New(rand.NewPCG(3, 4))
		return []any{tensors.FromFlatDataAndDimensions(normals(random, 2*24*9*10), 2, 24, 9, 10), tensors.FromFlatDataAndDimensions(normals(random, 24*5*5), 24, 5, 5)}
	}
	got, err := program(callOf(Float32, widest)).Exec(fresh()...)
	if err != nil {
		t.Fatal(err)
	}
	want, err := program(depthwiseSum).Exec(fresh()...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		a, b := tensors.MustCopyFlatData[float32](got[i]), tensors.MustCopyFlatData[float32](want[i])
		for at := range b {
			if !(math.Abs(float64(a[at]-b[at])) <= 1e-4*(1+math.Abs(float64(b[at])))) {
				t.Fatalf("output %d at %d is %v, want %v", i, at, a[at], b[at])
			}
		}
	}
}

func TestCallRefusesWhatDoesNotFit(t *testing.T) {
	e := engineWithKernels(t)
	exec := graph.MustNewExec(e.backend, func(in []*graph.Node) *graph.Node {
		return call("prenas_depthwise", in[0].Shape(), map[string]int{"stride": 2, "pad": 1}, in[0], in[0]) // a kernel of 2 x 4 x 4
	})
	_, err := exec.Exec(tensors.FromFlatDataAndDimensions(make([]float32, 32), 1, 2, 4, 4))
	if err == nil {
		t.Fatal("no error")
	}
	t.Log(fmt.Sprint(err))
}
