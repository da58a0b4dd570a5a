package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// rowCase is a matrix of so many rows for a function of package kernels that goes row by row.
type rowCase struct{ rows, size int }

var rowCases = []rowCase{{1, 1}, {3, 5}, {2, 16}, {7, 33}, {197, 240}, {400, 624}, {1000, 130}}

// run is f at x [rows, size] and vectors [size], and their adjoints for the adjoint v of the result. Twice the same bits.
func (c rowCase) run(t *testing.T, e *Engine, x, v []float32, vectors [][]float32, f func(in []*graph.Node) *graph.Node) [][]float32 {
	t.Helper()
	exec := graph.MustNewExec(e.backend, func(in []*graph.Node) []*graph.Node {
		y := f(in[1:])
		return append([]*graph.Node{y}, Gradient(graph.ReduceAllSum(graph.Mul(y, in[0])), in[1:]...)...)
	})
	var values [][]float32
	for turn := range 2 {
		inputs := []any{tensors.FromFlatDataAndDimensions(v, c.rows, c.size), tensors.FromFlatDataAndDimensions(x, c.rows, c.size)}
		for _, vector := range vectors {
			inputs = append(inputs, tensors.FromFlatDataAndDimensions(vector, c.size))
		}
		out, err := exec.Exec(inputs...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range out {
			got := tensors.MustCopyFlatData[float32](out[i])
			if turn == 0 {
				values = append(values, got)
			} else if !slices.EqualFunc(got, values[i], func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
				t.Errorf("output %d is another at the second run", i)
			}
		}
	}
	return values
}

// check compares a call, of vectors of any width that there is and of both types of operands, with its twin.
func (c rowCase) check(t *testing.T, e *Engine, vectors int, call func(in []*graph.Node, operands dtypes.DType, lanes int) *graph.Node,
	twin func(in []*graph.Node) *graph.Node) {
	for _, precision := range []Precision{Float32, BFloat16} {
		random := rand.New(rand.NewPCG(uint64(c.rows), uint64(c.size)))
		// Operands of bf16 are what the functions around would give and take.
		rounded := func(values []float32) []float32 {
			for i, v := range values {
				if precision == BFloat16 {
					values[i] = truncated(v)
				}
			}
			return values
		}
		x, v := rounded(normals(random, c.rows*c.size)), rounded(normals(random, c.rows*c.size))
		var of [][]float32
		for range vectors {
			of = append(of, normals(random, c.size))
		}
		want := c.run(t, e, x, v, of, twin)
		for _, lanes := range []int{4, 8, widest} {
			t.Run(fmt.Sprint(c, precision, lanes), func(t *testing.T) {
				got := c.run(t, e, x, v, of, func(in []*graph.Node) *graph.Node { return call(in, precision.Operands(), lanes) })
				for i := range want {
					tolerance := 4e-6
					if i >= 2 { // sums over rows
						tolerance *= math.Sqrt(float64(c.rows))
					}
					if precision == BFloat16 && i < 2 {
						tolerance += 1.0 / 256
					}
					if d := differ(got[i], want[i]); !(d <= tolerance) {
						t.Errorf("output %d is off by %g of %g", i, d, tolerance)
					}
				}
			})
		}
	}
}

func TestLayerNormCallIsTheTwin(t *testing.T) {
	e := engineWithKernels(t)
	for _, c := range someOf(rowCases, 4) {
		c.check(t, e, 2, func(in []*graph.Node, operands dtypes.DType, lanes int) *graph.Node {
			return layerNormCall(in[0], in[1], in[2], 1e-5, operands, lanes)
		}, func(in []*graph.Node) *graph.Node { return layerNorm(in[0], in[1], in[2], 1e-5) })
	}
}

func TestBiasGeluCallIsTheTwin(t *testing.T) {
	e := engineWithKernels(t)
	for _, c := range someOf(rowCases, 4) {
		c.check(t, e, 1, func(in []*graph.Node, operands dtypes.DType, lanes int) *graph.Node {
			return biasGeluCall(in[0], in[1], operands, lanes)
		}, func(in []*graph.Node) *graph.Node { return Gelu(graph.Add(in[0], alongLastAxis(in[1], in[0]))) })
	}
}

func TestBatchNormCallIsTheTwin(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	e := engineWithKernels(t)
	for i, c := range []rowCase{{2, 1}, {3, 5}, {40, 16}, {301, 24}, {7, 33}, {5000, 12}, {400, 112}} {
		for _, f := range []Activation{Identity, ReLU, HardSwish, ReLU6} {
			t.Run(fmt.Sprint(i, f), func(t *testing.T) {
				c.check(t, e, 2, func(in []*graph.Node, operands dtypes.DType, lanes int) *graph.Node {
					y, _, _ := batchNormCall(in[0], in[1], in[2], 1e-3, f, operands, lanes)
					return y
				}, func(in []*graph.Node) *graph.Node {
					y, _, _ := batchNorm(in[0], in[1], in[2], 1e-3)
					return f.Of(y)
				})
			})
		}
	}
}

// Mean and variance by their formulas in float64, of features that are far from zero, that hardly vary, that are the same everywhere
// and that have one value far from all others.
func TestBatchNormCallHasTheMoments(t *testing.T) {
	e := engineWithKernels(t)
	const rows, size = 3000, 5
	random := rand.New(rand.NewPCG(1, 9))
	x := normals(random, rows*size)
	for i := range rows {
		x[i*size+1] += 1000
		x[i*size+2] = 3 + x[i*size+2]*1e-3
		x[i*size+3] = 0.7
	}
	x[4] = 1e4
	exec := graph.MustNewExec(e.backend, func(x *graph.Node) []*graph.Node {
		ones := graph.Ones(x.Graph(), shapes.Make(dtypes.Float32, size))
		_, mean, variance := BatchNorm(x, ones, ones, 1e-5, HardSwish, dtypes.Float32)
		return []*graph.Node{mean, variance}
	})
	out, err := exec.Exec(tensors.FromFlatDataAndDimensions(x, rows, size))
	if err != nil {
		t.Fatal(err)
	}
	mean, variance := tensors.MustCopyFlatData[float32](out[0]), tensors.MustCopyFlatData[float32](out[1])
	for f := range size {
		sum, squares := 0.0, 0.0
		for i := range rows {
			sum += float64(x[i*size+f])
		}
		for i := range rows {
			squares += math.Pow(float64(x[i*size+f])-sum/rows, 2)
		}
		if d := math.Abs(float64(mean[f]) - sum/rows); !(d <= 1e-6*(1+math.Abs(sum/rows)+math.Sqrt(squares/rows))) {
			t.Errorf("feature %d: mean %g, not %g", f, mean[f], sum/rows)
		}
		if d := math.Abs(float64(variance[f]) - squares/rows); !(d <= 1e-5*squares/rows+1e-12) {
			t.Errorf("feature %d: variance %g, not %g", f, variance[f], squares/rows)
		}
	}
}

// GELU and its derivative at all numbers from -14 to 14, by the C library's erf in float64, and where numbers end.
func TestBiasGeluCallIsTheFormula(t *testing.T) {
	e := engineWithKernels(t)
	var x, v []float32
	for z := -14.0; z <= 14; z += 1.0 / 512 {
		x, v = append(x, float32(z)), append(v, 1)
	}
	x, v = append(x, float32(math.Inf(1)), 1e30, -1e30, float32(math.NaN())), append(v, 0, 1, 1, 1)
	c := rowCase{1, len(x)}
	got := c.run(t, e, x, v, [][]float32{make([]float32, len(x))}, func(in []*graph.Node) *graph.Node {
		return biasGeluCall(in[0], in[1], dtypes.Float32, widest)
	})
	for i, z := range x[:len(x)-4] {
		at := float64(z)
		cumulative := math.Erfc(-at/math.Sqrt2) / 2
		want := []float64{at * cumulative, cumulative + at*math.Exp(-at*at/2)/math.Sqrt(2*math.Pi)}
		for k := range want {
			if d := math.Abs(float64(got[k][i]) - want[k]); !(d <= 2e-7*(1+math.Abs(want[k]))) {
				t.Errorf("at %g: output %d is %g, not %g", z, k, got[k][i], want[k])
			}
		}
	}
	end := got[0][len(x)-4:]
	if !math.IsInf(float64(end[0]), 1) || end[1] != 1e30 || !(math.Abs(float64(end[2])) <= 1e-6) || end[3] == end[3] {
		t.Errorf("of infinity, 1e30, -1e30 and NaN: %v", end)
	}
}

func TestRowCallsRefuseWhatDoesNotFit(t *testing.T) {
	e := engineWithKernels(t)
	for name, f := range map[string]func(x, vector *graph.Node) *graph.Node{
		"a weight of another size": func(x, vector *graph.Node) *graph.Node {
			return layerNormCall(x, graph.Concatenate([]*graph.Node{vector, vector}, 0), vector, 1e-5, dtypes.Float32, widest)
		},
		"a bias of another size": func(x, vector *graph.Node) *graph.Node {
			return biasGeluCall(x, graph.Concatenate([]*graph.Node{vector, vector}, 0), dtypes.Float32, widest)
		},
		"a result of another shape": func(x, vector *graph.Node) *graph.Node {
			return call("prenas_bias_gelu", vector.Shape(), nil, x, vector)
		},
		"a result of another type": func(x, vector *graph.Node) *graph.Node {
			return call("prenas_bias_gelu", operandShape(x, dtypes.BFloat16), nil, x, vector)
		},
		"a variance of another size": func(x, vector *graph.Node) *graph.Node {
			zero := graph.ScalarZero(x.Graph(), dtypes.Float32)
			long := graph.Concatenate([]*graph.Node{vector, vector}, 0)
			return calls("prenas_batch_norm_adjoint", []shapes.Shape{x.Shape(), vector.Shape(), vector.Shape()}, nil, x, x, vector, vector, vector, long, zero)[0]
		},
		"a weight of a norm of another size": func(x, vector *graph.Node) *graph.Node {
			y, _, _ := batchNormCall(x, graph.Concatenate([]*graph.Node{vector, vector}, 0), vector, 1e-5, ReLU, dtypes.Float32, widest)
			return y
		},
		"an operand too many": func(x, vector *graph.Node) *graph.Node {
			return call("prenas_layer_norm", x.Shape(), nil, x, vector, vector, vector, vector)
		},
		"ε of a vector": func(x, vector *graph.Node) *graph.Node {
			return call("prenas_layer_norm", x.Shape(), nil, x, vector, vector, vector)
		},
	} {
		exec := graph.MustNewExec(e.backend, func(in []*graph.Node) *graph.Node { return f(in[0], in[1]) })
		if _, err := exec.Exec(tensors.FromFlatDataAndDimensions(make([]float32, 8), 2, 4), tensors.FromFlatDataAndDimensions(make([]float32, 4), 4)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
