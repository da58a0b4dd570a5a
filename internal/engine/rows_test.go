package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// rowCase is a matrix of so many rows for a function of package kernels that goes row by row.
type rowCase struct{ rows, size int }

var rowCases = []rowCase{{1, 1}, {3, 5}, {2, 16}, {7, 33}, {197, 240}, {400, 624}, {1000, 130}}

// values and adjoints of f at x [rows, size] and vectors [size], for the adjoint v of its result.
func (c rowCase) run(t *testing.T, e *Engine, x, v []float32, vectors [][]float32, f func(in []*graph.Node) *graph.Node) [][]float32 {
	t.Helper()
	exec := graph.MustNewExec(e.backend, func(in []*graph.Node) []*graph.Node {
		y := f(in[1:])
		return append([]*graph.Node{y}, Gradient(graph.ReduceAllSum(graph.Mul(y, in[0])), in[1:]...)...)
	})
	inputs := []any{tensors.FromFlatDataAndDimensions(v, c.rows, c.size), tensors.FromFlatDataAndDimensions(x, c.rows, c.size)}
	for _, vector := range vectors {
		inputs = append(inputs, tensors.FromFlatDataAndDimensions(vector, c.size))
	}
	out, err := exec.Exec(inputs...)
	if err != nil {
		t.Fatal(err)
	}
	values := make([][]float32, len(out))
	for i := range out {
		values[i] = tensors.MustCopyFlatData[float32](out[i])
	}
	return values
}

// each of vectors of any width that there is and of both types of operands. Twice the same bits.
func (c rowCase) check(t *testing.T, e *Engine, vectors int, call func(in []*graph.Node, operands dtypes.DType, lanes int) *graph.Node,
	twin func(in []*graph.Node) *graph.Node) {
	for _, precision := range []Precision{Float32, BFloat16} {
		for _, lanes := range []int{4, 8, widest} {
			t.Run(fmt.Sprint(c, precision, lanes), func(t *testing.T) {
				random := rand.New(rand.NewPCG(uint64(c.rows), uint64(c.size)))
				// Operands of bf16 are what the functions around would give and take.
				rounded := func(values []float32) []float32 {
					for i, v := range values {
						if precision == BFloat16 {
							values[i] = math.Float32frombits(math.Float32bits(v) & 0xffff0000)
						}
					}
					return values
				}
				x, v := rounded(normals(random, c.rows*c.size)), rounded(normals(random, c.rows*c.size))
				var of [][]float32
				for range vectors {
					of = append(of, normals(random, c.size))
				}
				made := func(in []*graph.Node) *graph.Node { return call(in, precision.Operands(), lanes) }
				got, want := c.run(t, e, x, v, of, made), c.run(t, e, x, v, of, twin)
				for i, again := range c.run(t, e, x, v, of, made) {
					if differ(again, got[i]) != 0 {
						t.Errorf("output %d is another at the second run", i)
					}
				}
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
	for _, c := range rowCases {
		c.check(t, e, 2, func(in []*graph.Node, operands dtypes.DType, lanes int) *graph.Node {
			return layerNormCall(in[0], in[1], in[2], 1e-5, operands, lanes)
		}, func(in []*graph.Node) *graph.Node { return layerNorm(in[0], in[1], in[2], 1e-5) })
	}
}

func TestBiasGeluCallIsTheTwin(t *testing.T) {
	e := engineWithKernels(t)
	for _, c := range rowCases {
		c.check(t, e, 1, func(in []*graph.Node, operands dtypes.DType, lanes int) *graph.Node {
			return biasGeluCall(in[0], in[1], operands, lanes)
		}, func(in []*graph.Node) *graph.Node { return Gelu(graph.Add(in[0], alongLastAxis(in[1], in[0]))) })
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
	if !math.IsInf(float64(end[0]), 1) || end[1] != 1e30 || math.Abs(float64(end[2])) > 1e-6 || end[3] == end[3] {
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
