package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/kernels"
)

// branchCase is a branch over [samples, tokens, size].
type branchCase struct{ samples, tokens, size, inner int }

var branchCases = []branchCase{
	{1, 1, 1, 1}, {1, 2, 3, 5}, {2, 5, 16, 30}, {1, 17, 33, 70}, {3, 197, 48, 130}, {2, 300, 240, 96}, {1, 33, 624, 700}, {5, 250, 20, 48}, {16, 577, 40, 20},
}

// inputs of a branch: x, v, LayerNorm's weight and bias, two layers' weights and biases, and factors.
func (c branchCase) inputs(random *rand.Rand, out int) [][]float32 {
	scaled := func(n int, by float64) []float32 {
		values := normals(random, n)
		for i := range values {
			values[i] *= float32(by)
		}
		return values
	}
	rows, first, second := c.samples*c.tokens, 1/math.Sqrt(float64(c.size)), 1/math.Sqrt(float64(c.inner))
	factors := make([]float32, c.samples)
	for i := range factors {
		factors[i] = []float32{1.25, 0, 1, 2}[i%4]
	}
	return [][]float32{
		normals(random, rows*c.size), normals(random, rows*c.size), scaled(c.size, 1), scaled(c.size, 0.2),
		scaled(out*c.size, first), scaled(out, 0.2), scaled(c.size*c.inner, second), scaled(c.size, 0.2), factors,
	}
}

func (c branchCase) dims(out int) [][]int {
	x := []int{c.samples, c.tokens, c.size}
	return [][]int{x, x, {c.size}, {c.size}, {out, c.size}, {out}, {c.size, c.inner}, {c.size}, {c.samples}}
}

// run is the branch and its adjoints for v, twice with the same bits.
func (c branchCase) run(t *testing.T, e *Engine, values [][]float32, dims [][]int, branch func(x *graph.Node, n Norm, in, out Layer, factor *graph.Node, more []*graph.Node) *graph.Node) [][]float32 {
	t.Helper()
	exec := graph.MustNewExec(e.backend, func(in []*graph.Node) []*graph.Node {
		y := branch(in[0], Norm{in[2], in[3], 1e-5}, Layer{in[4], in[5]}, Layer{in[6], in[7]}, in[8], in[9:])
		of := append([]*graph.Node{in[0]}, slices.Concat(in[2:8], in[9:])...)
		return append([]*graph.Node{y}, Gradient(graph.ReduceAllSum(graph.Mul(y, in[1])), of...)...)
	})
	var args []any
	for i, v := range values {
		args = append(args, tensors.FromFlatDataAndDimensions(v, dims[i]...))
	}
	var first [][]float32
	for turn := range 2 {
		out, err := exec.Exec(args...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range out {
			got := tensors.MustCopyFlatData[float32](out[i])
			if turn == 0 {
				first = append(first, got)
			} else if !slices.EqualFunc(got, first[i], func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
				t.Errorf("output %d is another at the second run", i)
			}
		}
	}
	return first
}

// off is the root of the mean square of the differences, in units of that of the values wanted.
func off(got, want []float32) float64 {
	var of, all float64
	for i := range want {
		d := float64(got[i]) - float64(want[i])
		of += d * d
		all += float64(want[i]) * float64(want[i])
	}
	return math.Sqrt(of / (all + 1e-12))
}

func checkBranch(t *testing.T, got, want [][]float32) {
	t.Helper()
	for i := range want {
		// A result of bf16 is off by 1/500; some of them follow one another here, and stand in sums.
		if d := off(got[i], want[i]); !(d <= 0.01) {
			t.Errorf("output %d is off by %.3g of what it should be", i, d)
		}
	}
}

func engineWithAMX(t *testing.T) *Engine {
	t.Helper()
	e := engineWithKernels(t)
	if refused := kernels.AMX(); refused != "" {
		t.Skip("AMX: ", refused)
	}
	return e
}

func twinLinear(x *graph.Node, l Layer) *graph.Node {
	return graph.Add(DotGeneral(x, []int{x.Rank() - 1}, nil, l.Weight, []int{1}, nil, dtypes.BFloat16), alongLastAxis(l.Bias, x))
}

func twinResidual(x, y, factor *graph.Node) *graph.Node {
	return graph.Add(x, graph.Mul(y, graph.Reshape(factor, -1, 1, 1)))
}

func TestMLPBranchIsTheTwin(t *testing.T) {
	e := engineWithAMX(t)
	for i, c := range someOf(branchCases, 4) {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			values, dims := c.inputs(rand.New(rand.NewPCG(uint64(i), 3)), c.inner), c.dims(c.inner)
			got := c.run(t, e, values, dims, func(x *graph.Node, n Norm, in, out Layer, factor *graph.Node, _ []*graph.Node) *graph.Node {
				return MLPBranch(x, n, in, out, factor)
			})
			want := c.run(t, e, values, dims, func(x *graph.Node, n Norm, in, out Layer, factor *graph.Node, _ []*graph.Node) *graph.Node {
				return twinResidual(x, twinLinear(Gelu(twinLinear(layerNorm(x, n.Weight, n.Bias, n.Eps), in)), out), factor)
			})
			checkBranch(t, got, want)
		})
	}
}

// Attention itself is compared with the formula by its own test, and taken as it is here.
func TestAttentionBranchIsTheTwin(t *testing.T) {
	e := engineWithAMX(t)
	for i, c := range []struct {
		branchCase
		heads, side int
	}{{branchCase{2, 10, 30, 16}, 2, 3}, {branchCase{3, 50, 48, 70}, 5, 0}, {branchCase{1, 197, 240, 256}, 4, 14}, {branchCase{7, 37, 20, 96}, 3, 6}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			random := rand.New(rand.NewPCG(uint64(i), 4))
			values, dims := c.inputs(random, 3*c.inner), c.dims(3*c.inner)
			const limit = 4
			for range 4 * min(1, c.side) {
				shape := []int{2*limit + 2, c.inner / c.heads}
				values, dims = append(values, normals(random, shape[0]*shape[1])), append(dims, shape)
			}
			relative := func(tables []*graph.Node) *Relative {
				if c.side == 0 {
					return nil
				}
				return &Relative{Side: c.side, Limit: limit, Tables: tables}
			}
			got := c.run(t, e, values, dims, func(x *graph.Node, n Norm, in, out Layer, factor *graph.Node, tables []*graph.Node) *graph.Node {
				y, ok := AttentionBranch(x, n, in, c.heads, relative(tables), out, factor)
				if !ok {
					t.Fatal("no AttentionBranch")
				}
				return y
			})
			want := c.run(t, e, values, dims, func(x *graph.Node, n Norm, in, out Layer, factor *graph.Node, tables []*graph.Node) *graph.Node {
				o, _ := Attention(twinLinear(layerNorm(x, n.Weight, n.Bias, n.Eps), in), c.heads, relative(tables), dtypes.BFloat16)
				return twinResidual(x, twinLinear(o, out), factor)
			})
			checkBranch(t, got, want)
		})
	}
}

// Without biases and factors they are zeros and ones.
func TestBranchesWithoutBiasesAndFactors(t *testing.T) {
	e := engineWithAMX(t)
	c := branchCase{2, 9, 24, 32}
	values, dims := c.inputs(rand.New(rand.NewPCG(8, 9)), 3*c.inner), c.dims(3*c.inner)
	clear(values[5])
	values[8] = []float32{1, 1}
	got := c.run(t, e, values, dims, func(x *graph.Node, n Norm, in, out Layer, _ *graph.Node, _ []*graph.Node) *graph.Node {
		y, _ := AttentionBranch(x, n, Layer{Weight: in.Weight}, 2, nil, out, nil)
		return y
	})
	want := c.run(t, e, values, dims, func(x *graph.Node, n Norm, in, out Layer, factor *graph.Node, _ []*graph.Node) *graph.Node {
		y, _ := AttentionBranch(x, n, in, 2, nil, out, factor)
		return y
	})
	for i := range want {
		if i == 5 { // the adjoint of the bias that is not there
			continue
		}
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("output %d differs", i)
		}
	}
}

// What is not finite comes out in its own row, and in sums over rows, and nowhere else.
func TestMLPBranchKeepsWhatIsNotFinite(t *testing.T) {
	e := engineWithAMX(t)
	c := branchCase{4, 10, 20, 24}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		values, dims := c.inputs(rand.New(rand.NewPCG(2, 9)), c.inner), c.dims(c.inner)
		values[0][13*c.size+7] = bad
		values[1][35*c.size+19] = bad
		values[8] = []float32{1, 1, 1, 1}
		got := c.run(t, e, values, dims, func(x *graph.Node, n Norm, in, out Layer, factor *graph.Node, _ []*graph.Node) *graph.Node {
			return MLPBranch(x, n, in, out, factor)
		})
		finite := func(v float32) bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }
		for i, broken := range [][]int{{13}, {13, 35}} { // rows of the result, and of the adjoint of x
			for row := range c.samples * c.tokens {
				whole := !slices.ContainsFunc(got[i][row*c.size:(row+1)*c.size], func(v float32) bool { return !finite(v) })
				if whole == slices.Contains(broken, row) {
					t.Errorf("%v: output %d: row %d is whole: %v", bad, i, row, whole)
				}
			}
		}
		for i := 2; i < len(got); i++ {
			if !slices.ContainsFunc(got[i], func(v float32) bool { return !finite(v) }) {
				t.Errorf("%v: output %d is finite", bad, i)
			}
		}
	}
}
