package engine

import (
	"fmt"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/rng"
)

// goBackend is the pure-Go backend: rules are graphs, so what holds there
// holds on every backend, and these tests need no plug-in.
func goBackend(t *testing.T) backends.Backend {
	t.Helper()
	e, err := openGo()
	if err != nil {
		t.Fatal(err)
	}
	return e.Backend()
}

func randomTensor(name string, dims ...int) *tensors.Tensor {
	r := rng.New(1, name)
	v := make([]float64, shapes.Make(dtypes.Float64, dims...).Size())
	for i := range v {
		v[i] = r.NormFloat64()
	}
	return tensors.FromFlatDataAndDimensions(v, dims...)
}

// checkGradient compares the gradient of a scalar function with central
// differences in float64, for every entry of every input.
func checkGradient(t *testing.T, inputs []*tensors.Tensor, f func(in []*graph.Node) *graph.Node) {
	t.Helper()
	b := goBackend(t)
	value := graph.MustNewExec(b, func(in []*graph.Node) *graph.Node { return f(in) })
	grad := graph.MustNewExec(b, func(in []*graph.Node) []*graph.Node { return Gradient(f(in), in...) })
	args := make([]any, len(inputs))
	for i := range inputs {
		args[i] = inputs[i]
	}
	got, err := grad.Exec(args...)
	if err != nil {
		t.Fatal(err)
	}
	const h = 1e-5
	for i, input := range inputs {
		analytic := tensors.MustCopyFlatData[float64](got[i])
		flat := tensors.MustCopyFlatData[float64](input)
		for k := range flat {
			at := func(delta float64) float64 {
				moved := append([]float64(nil), flat...)
				moved[k] += delta
				with := append([]any(nil), args...)
				with[i] = tensors.FromFlatDataAndDimensions(moved, input.Shape().Dimensions...)
				out, err := value.Exec(with...)
				if err != nil {
					t.Fatal(err)
				}
				return tensors.ToScalar[float64](out[0])
			}
			want := (at(h) - at(-h)) / (2 * h)
			if !(math.Abs(analytic[k]-want) <= 1e-7*(1+math.Abs(want))) {
				t.Errorf("input %d entry %d: gradient %.12g, central difference %.12g", i, k, analytic[k], want)
			}
		}
	}
}

// weigh makes a scalar of y that is sensitive to each of its entries.
func weigh(y *graph.Node) *graph.Node {
	size := y.Shape().Size()
	weights := make([]float64, size)
	for i := range weights {
		weights[i] = math.Sin(float64(i) + 1)
	}
	w := graph.Const(y.Graph(), tensors.FromFlatDataAndDimensions(weights, y.Shape().Dimensions...))
	return graph.ReduceAllSum(graph.Mul(y, w))
}

type product struct {
	lhs, rhs                                   []int
	lhsContract, lhsBatch, rhsContract, rhsBat []int
}

var products = []product{
	{lhs: []int{3, 4}, rhs: []int{4, 5}, lhsContract: []int{1}, rhsContract: []int{0}},
	{lhs: []int{3, 4}, rhs: []int{5, 4}, lhsContract: []int{1}, rhsContract: []int{1}},
	{lhs: []int{2, 3, 4}, rhs: []int{5, 4}, lhsContract: []int{2}, rhsContract: []int{1}},
	{lhs: []int{4, 2, 3}, rhs: []int{5, 4}, lhsContract: []int{0}, rhsContract: []int{1}},
	{lhs: []int{2, 3, 2, 4}, rhs: []int{2, 5, 2, 4}, lhsContract: []int{3}, lhsBatch: []int{0, 2}, rhsContract: []int{3}, rhsBat: []int{0, 2}},
	{lhs: []int{2, 3, 4}, rhs: []int{4, 2, 5}, lhsContract: []int{2}, lhsBatch: []int{0}, rhsContract: []int{0}, rhsBat: []int{1}},
	// A result smaller than the left side, of one row axis and of two.
	{lhs: []int{2, 3, 7}, rhs: []int{2, 7, 2}, lhsContract: []int{2}, lhsBatch: []int{0}, rhsContract: []int{1}, rhsBat: []int{0}},
	{lhs: []int{2, 3, 2, 5}, rhs: []int{2, 3, 5}, lhsContract: []int{3}, lhsBatch: []int{0}, rhsContract: []int{2}, rhsBat: []int{0}},
	// Contracted axes in different orders on the two sides.
	{lhs: []int{2, 3, 4}, rhs: []int{4, 5, 3}, lhsContract: []int{1, 2}, rhsContract: []int{2, 0}},
	{lhs: []int{2, 3, 4}, rhs: []int{3, 4, 2}, lhsContract: []int{2, 1, 0}, rhsContract: []int{1, 0, 2}},
	{lhs: []int{2, 3}, rhs: []int{4}, lhsContract: nil, rhsContract: nil},
	{lhs: []int{3, 2}, rhs: []int{2, 3}, lhsBatch: []int{1, 0}, rhsBat: []int{0, 1}},
}

func (p product) build(lhs, rhs *graph.Node) *graph.Node {
	return graph.DotGeneral(lhs, p.lhsContract, p.lhsBatch, rhs, p.rhsContract, p.rhsBat)
}

func TestDotGeneralGradientByCentralDifferences(t *testing.T) {
	for i, p := range products {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			checkGradient(t, []*tensors.Tensor{randomTensor("l", p.lhs...), randomTensor("r", p.rhs...)}, func(in []*graph.Node) *graph.Node {
				return weigh(p.build(in[0], in[1]))
			})
		})
	}
}

func TestDotGradientByCentralDifferences(t *testing.T) {
	for _, dims := range [][2][]int{{{3}, {3}}, {{2, 3}, {3}}, {{2, 3}, {3, 4}}} {
		checkGradient(t, []*tensors.Tensor{randomTensor("l", dims[0]...), randomTensor("r", dims[1]...)}, func(in []*graph.Node) *graph.Node {
			return weigh(graph.Dot(in[0], in[1]))
		})
	}
}

// The built-in rules are the slow, readable twins of ours: they multiply out.
func TestDotGeneralGradientEqualsMultiplyAndReduce(t *testing.T) {
	b := goBackend(t)
	for i, p := range products {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			l, r := randomTensor("l", p.lhs...), randomTensor("r", p.rhs...)
			out := graph.MustNewExec(b, func(in []*graph.Node) []*graph.Node {
				fast := Gradient(weigh(p.build(in[0], in[1])), in...)
				slow := Gradient(weigh(p.multiplyAndReduce(in[0], in[1])), in...)
				return append(fast, slow...)
			}).MustExec(l, r)
			for side := range 2 {
				fast, slow := tensors.MustCopyFlatData[float64](out[side]), tensors.MustCopyFlatData[float64](out[side+2])
				for k := range fast {
					if !(math.Abs(fast[k]-slow[k]) <= 1e-12) {
						t.Fatalf("side %d entry %d: %g, multiplied out %g", side, k, fast[k], slow[k])
					}
				}
			}
		})
	}
}

// multiplyAndReduce computes the same product without a product: both sides
// are brought to the axes [batch, lhs free, rhs free, contracted].
func (p product) multiplyAndReduce(lhs, rhs *graph.Node) *graph.Node {
	lhsFree := freeAxes(len(p.lhs), p.lhsContract, p.lhsBatch)
	rhsFree := freeAxes(len(p.rhs), p.rhsContract, p.rhsBat)
	align := func(x *graph.Node, batch, free, contract []int, before, after int) *graph.Node {
		var order, dims []int
		for _, list := range [][]int{batch, free, contract} {
			order = append(order, list...)
		}
		y := graph.TransposeAllAxes(x, order...)
		for i := range batch {
			dims = append(dims, y.Shape().Dimensions[i])
		}
		for range before {
			dims = append(dims, 1)
		}
		for i := range free {
			dims = append(dims, y.Shape().Dimensions[len(batch)+i])
		}
		for range after {
			dims = append(dims, 1)
		}
		for i := range contract {
			dims = append(dims, y.Shape().Dimensions[len(batch)+len(free)+i])
		}
		return graph.Reshape(y, dims...)
	}
	l := align(lhs, p.lhsBatch, lhsFree, p.lhsContract, 0, len(rhsFree))
	r := align(rhs, p.rhsBat, rhsFree, p.rhsContract, len(lhsFree), 0)
	y := graph.Mul(l, r)
	if n := len(p.lhsContract); n > 0 {
		y = graph.ReduceSum(y, axisRange(y.Rank()-n, n)...)
	}
	return y
}

func TestSliceGradientWithoutPad(t *testing.T) {
	checkGradient(t, []*tensors.Tensor{randomTensor("x", 4, 5)}, func(in []*graph.Node) *graph.Node {
		return weigh(graph.Slice(in[0], graph.AxisRange(1, 3), graph.AxisRange(0, 4)))
	})
}

func TestLayerNormGradientByCentralDifferences(t *testing.T) {
	checkGradient(t, []*tensors.Tensor{randomTensor("x", 2, 3, 5), randomTensor("w", 5), randomTensor("b", 5)}, func(in []*graph.Node) *graph.Node {
		return weigh(LayerNorm(in[0], in[1], in[2], 1e-5, dtypes.InvalidDType))
	})
}

// A composite with a rule of its own, used twice, beside other ways to its
// inputs: x·y by CustomGradient, and x once more by itself.
func TestCustomGradientAddsUp(t *testing.T) {
	checkGradient(t, []*tensors.Tensor{randomTensor("x", 3), randomTensor("y", 3)}, func(in []*graph.Node) *graph.Node {
		times := func(a, b *graph.Node) *graph.Node {
			return CustomGradient(graph.Mul(a, b), []*graph.Node{a, b}, func(v *graph.Node) []*graph.Node {
				return []*graph.Node{graph.Mul(v, b), graph.Mul(v, a)}
			})
		}
		return weigh(graph.Add(times(times(in[0], in[1]), in[1]), in[0]))
	})
}

// The rule replaces the reverse pass behind the value, it is not added to it.
func TestCustomGradientReplaces(t *testing.T) {
	out := graph.MustNewExec(goBackend(t), func(x *graph.Node) *graph.Node {
		y := CustomGradient(graph.Square(x), []*graph.Node{x}, func(v *graph.Node) []*graph.Node {
			return []*graph.Node{graph.MulScalar(v, 7)}
		})
		return Gradient(y, x)[0]
	}).MustExec(3.0)
	if got := tensors.ToScalar[float64](out[0]); got != 7 {
		t.Fatalf("gradient %g, the rule says 7", got)
	}
}

// GoMLX's table of rules is every user's of the process: it has GoMLX's own.
func TestRulesAreOfOurGraphsOnly(t *testing.T) {
	for kind := range rules {
		rule := runtime.FuncForPC(reflect.ValueOf(graph.VJPRegistration[kind]).Pointer()).Name()
		if !strings.HasPrefix(rule, "github.com/gomlx/gomlx/pkg/core/graph.") {
			t.Errorf("the rule of %s is %s for the whole process", kind, rule)
		}
	}
	g := graph.NewGraph(goBackend(t), "rules")
	x := graph.Parameter(g, "x", shapes.Make(dtypes.Float64, 2, 3))
	y := graph.ReduceAllSum(graph.DotGeneral(x, []int{1}, nil, x, []int{1}, nil))
	count := func(kind graph.NodeType) (n int) {
		for _, node := range g.Nodes() {
			if node.Type() == kind {
				n++
			}
		}
		return n
	}
	graph.Gradient(y, x)
	if n := count(graph.NodeTypeDotGeneral); n != 1 {
		t.Errorf("graph.Gradient makes %d products: it has our rule", n-1)
	}
	Gradient(y, x)
	if n := count(graph.NodeTypeDotGeneral); n != 3 {
		t.Errorf("Gradient makes %d products, want 2: it does not have our rule", n-1)
	}
}

// A function of the three parts of x and of another input, used beside x itself.
func TestSplitGradientByCentralDifferences(t *testing.T) {
	checkGradient(t, []*tensors.Tensor{randomTensor("x", 2, 6), randomTensor("w", 2, 2)}, func(in []*graph.Node) *graph.Node {
		y := Split(in[0], 3, in[1:], func(parts []*graph.Node) *graph.Node {
			return graph.Mul(graph.Add(parts[0], in[1]), graph.Mul(parts[1], graph.Sin(parts[2])))
		})
		return graph.Add(weigh(y), weigh(in[0]))
	})
}
