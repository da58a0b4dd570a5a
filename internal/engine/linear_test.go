package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"prenas/internal/kernels"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

func normals(random *rand.Rand, n int) []float32 {
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(random.NormFloat64())
	}
	return values
}

// differ is the largest difference of two lists of values, in units of 1 plus the size of those wanted.
func differ(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	most := 0.0
	for i := range want {
		d := math.Abs(float64(got[i]-want[i])) / (1 + math.Abs(float64(want[i])))
		if !(d <= most) {
			most = d
		}
	}
	return most
}

// linearCall, its twin of XLA's operations, and the adjoints of both: shapes that fill tiles and leave
// some of them empty, few rows and many, large and small depths.
func TestLinearCallIsTheProduct(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	e := engineWithKernels(t)
	for _, precision := range []Precision{Float32, BFloat16} {
		operands := precision.Operands()
		if !kernels.Products(operands == dtypes.BFloat16) {
			t.Logf("%s: not on this processor", precision)
			continue
		}
		for i, c := range [][3]int{ // rows, in, out
			{1, 2, 2}, {1, 64, 1000}, {5, 6, 34}, {13, 10, 48}, {14, 32, 32}, {15, 34, 96}, {197, 240, 960}, {33, 640, 240}, {169, 16, 10}, {2001, 48, 20},
			{600, 1300, 30}, {520, 36, 700}, {1025, 2, 4}, {788, 624, 624}, {17001, 130, 128},
		} {
			t.Run(fmt.Sprint(precision, c), func(t *testing.T) {
				random := rand.New(rand.NewPCG(uint64(i), 7))
				x, w, v := normals(random, c[0]*c[1]), normals(random, c[1]*c[2]), normals(random, c[0]*c[2])
				program := func(linear func(x, weight *graph.Node, operands dtypes.DType) *graph.Node) [][]float32 {
					exec := graph.MustNewExec(e.backend, func(in []*graph.Node) []*graph.Node {
						y := linear(in[0], in[1], operands)
						return append(Gradient(graph.ReduceAllSum(graph.Mul(y, in[2])), in[:2]...), y)
					})
					out, err := exec.Exec(tensors.FromFlatDataAndDimensions(x, c[0], c[1]), tensors.FromFlatDataAndDimensions(w, c[2], c[1]), tensors.FromFlatDataAndDimensions(v, c[0], c[2]))
					if err != nil {
						t.Fatal(err)
					}
					values := make([][]float32, len(out))
					for i := range out {
						values[i] = tensors.MustCopyFlatData[float32](out[i])
					}
					return values
				}
				got := program(linearCall)
				want := program(func(x, weight *graph.Node, operands dtypes.DType) *graph.Node {
					return DotGeneral(x, []int{1}, nil, weight, []int{1}, nil, operands)
				})
				// Sums of as many products of normal values: float32 is off by 1e-7 of each, results of bf16 by 1/256.
				for i, terms := range []int{c[2], c[0], c[1]} {
					tolerance := 2e-6 * math.Sqrt(float64(terms))
					if precision == BFloat16 {
						tolerance += 1.0 / 128
					}
					if d := differ(got[i], want[i]); !(d <= tolerance) {
						t.Errorf("%s is off by %g of %g", []string{"adjoint of x", "adjoint of the weight", "y"}[i], d, tolerance)
					}
				}
			})
		}
	}
}

// Twice the same bits, among other operations and with leading axes.
func TestLinearRepeatsItself(t *testing.T) {
	e := engineWithKernels(t)
	random := rand.New(rand.NewPCG(1, 2))
	x, w := normals(random, 8*65*48), normals(random, 96*48)
	exec := graph.MustNewExec(e.backend, func(in []*graph.Node) []*graph.Node {
		y := graph.Tanh(Linear(graph.Sin(in[0]), in[1], dtypes.BFloat16))
		return append(Gradient(graph.ReduceAllSum(graph.Square(y)), in...), y)
	})
	var first [][]float32
	for range 5 {
		out, err := exec.Exec(tensors.FromFlatDataAndDimensions(x, 8, 65, 48), tensors.FromFlatDataAndDimensions(w, 96, 48))
		if err != nil {
			t.Fatal(err)
		}
		if got := out[2].Shape().Dimensions; len(got) != 3 || got[0] != 8 || got[1] != 65 || got[2] != 96 {
			t.Fatalf("y is %v", got)
		}
		var values [][]float32
		for i := range out {
			values = append(values, tensors.MustCopyFlatData[float32](out[i]))
		}
		if first == nil {
			first = values
		}
		for i := range values {
			if differ(values[i], first[i]) != 0 {
				t.Fatalf("output %d differs from the first run", i)
			}
		}
	}
}
