package private

import (
	"slices"
	"testing"

	"github.com/gomlx/gomlx/backends/simplego"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// Every field that this package reads or sets is there, and of its type.
func TestFields(t *testing.T) {
	if len(declared) == 0 {
		t.Fatal("no fields")
	}
	for _, check := range declared {
		if err := check(); err != nil {
			t.Error(err)
		}
	}
	if err := (field[graph.Node, int]{"inputNodes"}).check(); err == nil {
		t.Error("a field of another type is not noticed")
	}
	if err := (field[graph.Node, int]{"nothing"}).check(); err == nil {
		t.Error("a field that is not there is not noticed")
	}
}

func newGraph(t *testing.T) *graph.Graph {
	t.Helper()
	backend, err := simplego.New("ops_sequential")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(backend.Finalize)
	return graph.NewGraph(backend, "private")
}

// What a product and a slice were made of is what they were given.
func TestInts(t *testing.T) {
	g := newGraph(t)
	x := graph.Parameter(g, "x", shapes.Make(dtypes.Float64, 2, 3, 4))
	y := graph.Parameter(g, "y", shapes.Make(dtypes.Float64, 4, 5, 2))
	product := graph.DotGeneral(x, []int{2}, []int{0}, y, []int{0}, []int{2})
	part := graph.Slice(x, graph.AxisRange(), graph.AxisRange(1, 3), graph.AxisRange(0, 4).Stride(2))
	for _, c := range []struct {
		node *graph.Node
		name string
		want []int
	}{
		{product, "lhsContractingAxes", []int{2}}, {product, "lhsBatchAxes", []int{0}},
		{product, "rhsContractingAxes", []int{0}}, {product, "rhsBatchAxes", []int{2}},
		{part, "starts", []int{0, 1, 0}}, {part, "limits", []int{2, 3, 4}}, {part, "strides", []int{1, 1, 2}},
	} {
		if got := Ints(c.node, c.name); !slices.Equal(got, c.want) {
			t.Errorf("%s of a %s is %v, want %v", c.name, c.node.Type(), got, c.want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a list that is not there is not noticed")
		}
	}()
	Ints(product, "nothing")
}

// A node with inputs and a rule of its own: what it computes stays, its gradient is the rule's.
func TestRuleOfSeveralInputs(t *testing.T) {
	g := newGraph(t)
	a, b := graph.Parameter(g, "a", shapes.Make(dtypes.Float64)), graph.Parameter(g, "b", shapes.Make(dtypes.Float64))
	y := graph.Identity(graph.Mul(a, b))
	if HasRule(y) {
		t.Error("a new node has a rule of its own")
	}
	SetInputs(y, []*graph.Node{a, b})
	SetRule(y, func(_ *graph.Node, v []*graph.Node, _ shapes.Shape) []*graph.Node {
		return []*graph.Node{graph.MulScalar(v[0], 7), graph.MulScalar(v[0], 11)}
	})
	if !HasRule(y) || !slices.Equal(y.Inputs(), []*graph.Node{a, b}) {
		t.Errorf("rule %v, inputs %v", HasRule(y), y.Inputs())
	}
	g.Compile(append(graph.Gradient(y, a, b), y)...)
	for i, out := range g.Run(tensors.FromScalar(3.0), tensors.FromScalar(5.0)) {
		if got, want := tensors.ToScalar[float64](out), []float64{7, 11, 15}[i]; got != want {
			t.Errorf("output %d is %v, want %v", i, got, want)
		}
	}
}
