package supernet_test

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/engine/enginetest"
	"prenas/internal/fixture"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

func TestFixtureModelIsInferred(t *testing.T) {
	f := fixture.Open(t)
	want := f.Space.Model
	f.Space.Model = space.DefaultModel()
	got, err := supernet.InferModel(f.Space, f.Weights)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("inferred %+v, the fixture has %+v", got, want)
	}
}

func load(t *testing.T, name string) *space.Space {
	t.Helper()
	s, err := space.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestInitIsDrawnFromTheSeed(t *testing.T) {
	n := supernet.New(load(t, "quickstart"))
	a, b, c := n.Init(1), n.Init(1), n.Init(2)
	if err := n.Check(a); err != nil {
		t.Fatal(err)
	}
	const name = "blocks.1.fc1.weight"
	if !slices.Equal(a[name].Data, b[name].Data) || slices.Equal(a[name].Data, c[name].Data) {
		t.Error("the same seed must give the same weights, another seed others")
	}
	values, err := a[name].Float32s()
	if err != nil {
		t.Fatal(err)
	}
	var square float64
	for _, v := range values {
		square += float64(v) * float64(v)
	}
	if deviation := math.Sqrt(square / float64(len(values))); !(math.Abs(deviation-0.02) <= 0.001) {
		t.Errorf("deviation %.4f, want 0.02", deviation)
	}
}

func TestCheckNamesTheTensor(t *testing.T) {
	n := supernet.New(load(t, "quickstart"))
	w := n.Init(1)
	delete(w, "norm.bias")
	if err := n.Check(w); !errors.Is(err, supernet.ErrWeights) {
		t.Errorf("missing tensor: %v", err)
	}
	w = n.Init(1)
	w["norm.bias"] = tensorfile.FromFloat32([]int{1}, []float32{0})
	if err := n.Check(w); !errors.Is(err, supernet.ErrWeights) {
		t.Errorf("wrong shape: %v", err)
	}
}

func TestUsesStopsAtTheDepth(t *testing.T) {
	s := load(t, "quickstart")
	n := supernet.New(s)
	used := n.Uses(s.Smallest())
	for i, p := range n.Params() {
		if want := p.Block < s.Smallest().Depth(); used[i] != want {
			t.Errorf("%s: used %v, want %v", p.Name, used[i], want)
		}
	}
}

// The twin of relative positions: gather the whole [tokens, tokens, head_dim]
// embedding and add its products, as the original does.
// An architecture computes the same of the corners of the weights as of all of them.
func TestCornersAreWhatIsRead(t *testing.T) {
	transformed, middle := convSpace(t)
	transformed.Model.Conv.Transform = true
	for name, s := range map[string]*space.Space{"vit": little(), "choices learn": learned(), "conv": transformed} {
		st := newStage(pureGo(t), s, 4, false)
		archs := []space.Arch{s.Smallest(), s.Largest()}
		if s == transformed {
			archs = append(archs, middle)
		}
		for _, a := range archs {
			whole := st.static(t, a)
			of := st
			of.corners = true
			corners := of.static(t, a)
			if !slices.Equal(whole.logits, corners.logits) {
				t.Errorf("%s, %s: other logits", name, a)
			}
			for i, p := range st.net.Params() {
				if !slices.Equal(whole.grads[i], corners.grads[i]) {
					t.Errorf("%s, %s: %s has another gradient", name, a, p.Name)
				}
			}
		}
		if slices.EqualFunc(st.net.SliceShapes(s.Smallest()), st.net.Params(), func(dims []int, p supernet.Param) bool { return slices.Equal(dims, p.Shape) }) {
			t.Errorf("%s: no weight is cut", name)
		}
	}
}

func TestRelativePositionsEqualGathering(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	const samples, heads, headDim = 2, 3, 5
	for _, c := range []struct{ side, max int }{{1, 2}, {2, 1}, {3, 4}, {4, 2}} {
		tokens, rows := c.side*c.side+1, 2*c.max+2
		random := func(name string, dims ...int) *tensors.Tensor {
			r := rng.New(1, name)
			v := make([]float32, shapes.Make(dtypes.Float32, dims...).Size())
			for i := range v {
				v[i] = float32(r.NormFloat64())
			}
			return tensors.FromFlatDataAndDimensions(v, dims...)
		}
		args := []*tensors.Tensor{
			random("q", samples, heads, tokens, headDim), random("k", samples, heads, tokens, headDim), random("v", samples, heads, tokens, headDim),
			random("kv", rows, headDim), random("kh", rows, headDim), random("vv", rows, headDim), random("vh", rows, headDim),
		}
		var inputs []shapes.Shape
		for _, a := range args {
			inputs = append(inputs, a.Shape())
		}
		program, err := enginetest.Test(t).Compile("relative", inputs, func(in []*graph.Node) []*graph.Node {
			m := space.Model{ImageSize: c.side, PatchSize: 1, HeadDim: headDim, RelativePosition: true, MaxRelativePosition: c.max}
			folded := supernet.FoldedAttention(m, in[0], in[1], in[2], in[3:7])
			fused := supernet.FusedAttention(m, in[0], in[1], in[2], in[3:7])
			out := []*graph.Node{gatheredAttention(c.side, c.max, in), folded, fused}
			for _, y := range slices.Clone(out) {
				out = append(out, engine.Gradient(graph.ReduceAllSum(graph.Mul(y, graph.Sin(y))), in...)...)
			}
			return out
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := program.Run(args)
		if err != nil {
			t.Fatal(err)
		}
		program.Close()
		values := func(i int) []float32 { return tensors.MustCopyFlatData[float32](out[i]) }
		for way, name := range []string{"folded", "fused"} {
			if d := fixture.Difference(values(way+1), values(0)); d > 2e-6 {
				t.Errorf("side %d max %d: %s and gathered differ by %.2g", c.side, c.max, name, d)
			}
			for i := range args {
				if d := fixture.Difference(values(3+(way+1)*len(args)+i), values(3+i)); d > 1e-4 {
					t.Errorf("side %d max %d: the adjoints of input %d, %s and gathered, differ by %.2g", c.side, c.max, i, name, d)
				}
			}
		}
	}
}

// gatheredAttention takes q, k, v [N, heads, tokens, head_dim] and four tables
// and returns softmax(q·k + q·R)·(v + R') as [N, heads, tokens, head_dim].
func gatheredAttention(side, limit int, in []*graph.Node) *graph.Node {
	tokens := side*side + 1
	index := func(a, b int) int32 {
		return int32(max(-limit, min(limit, b-a)) + limit + 1)
	}
	vertical, horizontal := make([]int32, tokens*tokens), make([]int32, tokens*tokens)
	for i := 1; i < tokens; i++ {
		for j := 1; j < tokens; j++ {
			vertical[i*tokens+j] = index((i-1)/side, (j-1)/side)
			horizontal[i*tokens+j] = index((i-1)%side, (j-1)%side)
		}
	}
	embedding := func(v, h *graph.Node) *graph.Node { // [tokens, tokens, head_dim]
		gather := func(table *graph.Node, index []int32) *graph.Node {
			return graph.Gather(table, graph.Const(table.Graph(), tensors.FromFlatDataAndDimensions(index, tokens, tokens, 1)))
		}
		return graph.Add(gather(v, vertical), gather(h, horizontal))
	}
	q, k, v := in[0], in[1], in[2]
	scores := graph.Einsum("nhid,nhjd->nhij", q, k)
	position := graph.Einsum("nhid,ijd->inhj", q, embedding(in[3], in[4]))
	attention := graph.Softmax(graph.Add(scores, graph.TransposeAllAxes(position, 1, 2, 0, 3)), -1)
	out := graph.Einsum("nhij,nhjd->nhid", attention, v)
	term := graph.Einsum("nhij,ijd->inhd", attention, embedding(in[5], in[6]))
	return graph.Add(out, graph.TransposeAllAxes(term, 1, 2, 0, 3))
}
