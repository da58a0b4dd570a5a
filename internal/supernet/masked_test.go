package supernet_test

import (
	"fmt"
	"slices"
	"strings"
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

// outcome is what a program computes of one architecture: the logits, and the
// gradient of their weighted sum with respect to every weight.
type outcome struct {
	logits []float32
	grads  [][]float32
}

// stage is what the static and the masked programs are compared on.
type stage struct {
	engine   *engine.Engine
	net      *supernet.Net
	weights  map[string]tensorfile.Tensor
	images   *tensors.Tensor   // [N, C, H, W]
	adjoint  *tensors.Tensor   // [N, classes]: of the logits
	dropPath []float32         // [depth, 2, N], or nil
	dropout  *supernet.Dropout // without its key; nil for none
	corners  bool              // an architecture's own program gets what it reads of the weights
	operands dtypes.DType      // of products
}

// tolerance is relative to the largest entry. The masked program adds zeros, and so adds in
// another order, which in bf16 rounds some values to the next of 8 bits.
func (s stage) tolerance() float64 {
	if s.operands == dtypes.BFloat16 {
		return 3e-2
	}
	return 1e-5
}

func (s stage) samples() int { return s.images.Shape().Dimensions[0] }

// keyed gives the dropout a key.
func (s stage) keyed(g *graph.Graph) *supernet.Dropout {
	if s.dropout == nil {
		return nil
	}
	d := *s.dropout
	d.Key = graph.Const(g, []uint32{11, 12})
	return &d
}

// static runs the program of one architecture.
func (s stage) static(t *testing.T, a space.Arch) outcome {
	t.Helper()
	params := s.net.Params()
	var args []*tensors.Tensor
	for _, p := range params {
		args = append(args, upload(t, s.engine, s.weights[p.Name]))
	}
	args = append(args, s.images, s.adjoint)
	if s.dropPath != nil {
		var factors []float32
		for _, place := range supernet.Places(s.net.Space().Whole(), a) {
			factors = append(factors, s.dropPath[place*2*s.samples():][:2*s.samples()]...)
		}
		args = append(args, tensors.FromFlatDataAndDimensions(factors, a.Depth(), 2, s.samples()))
	}
	out := s.run(t, args, func(in []*graph.Node) []*graph.Node {
		weights, rest := in[:len(params)], in[len(params):]
		f := supernet.Forward{Arch: a, Dropout: s.keyed(in[0].Graph()), Operands: s.operands}
		if s.dropPath != nil {
			f.DropPath = rest[2]
		}
		read := slices.Clone(weights)
		if s.corners {
			for i, dims := range s.net.SliceShapes(a) {
				read[i] = engine.LeadingSlice(weights[i], dims)
			}
		}
		logits := s.net.Logits(read, rest[0], f)
		loss := graph.ReduceAllSum(graph.Mul(logits, rest[1]))
		return append([]*graph.Node{logits}, engine.Gradient(loss, weights...)...)
	})
	return outcome{out[0], out[1:]}
}

// masked runs the architectures together, each over a copy of the weights.
func (s stage) masked(t *testing.T, archs []space.Arch) []outcome {
	t.Helper()
	params := s.net.Params()
	var args []*tensors.Tensor
	for _, p := range params {
		args = append(args, upload(t, s.engine, s.weights[p.Name]))
	}
	var sizes []int32
	var dropPath []float32
	for _, a := range archs {
		sizes = append(sizes, s.net.Sizes(a)...)
		dropPath = append(dropPath, s.dropPath...)
	}
	args = append(args, s.images, s.adjoint, tensors.FromFlatDataAndDimensions(sizes, len(archs), s.net.SizesLen()))
	if s.dropPath != nil {
		args = append(args, tensors.FromFlatDataAndDimensions(dropPath, len(archs), s.net.Space().Supernet.Depth, 2, s.samples()))
	}
	out := s.run(t, args, func(in []*graph.Node) []*graph.Node {
		rest := in[len(params):]
		var weights []*graph.Node
		for _, w := range in[:len(params)] {
			dims := append([]int{len(archs)}, w.Shape().Dimensions...)
			weights = append(weights, graph.BroadcastToDims(graph.InsertAxes(w, 0), dims...))
		}
		f := supernet.Masked{Sizes: rest[2], Dropout: s.keyed(rest[2].Graph()), Operands: s.operands}
		if s.dropPath != nil {
			f.DropPath = rest[3]
		}
		logits := s.net.MaskedLogits(weights, rest[0], f)
		adjoint := graph.BroadcastToShape(graph.InsertAxes(rest[1], 0), logits.Shape())
		loss := graph.ReduceAllSum(graph.Mul(logits, adjoint))
		return append([]*graph.Node{logits, s.net.MaskedUses(rest[2])}, engine.Gradient(loss, weights...)...)
	})
	outcomes := make([]outcome, len(archs))
	for i, a := range archs {
		share := func(all []float32) []float32 { n := len(all) / len(archs); return all[i*n : (i+1)*n] }
		outcomes[i].logits = share(out[0])
		for k, uses := range s.net.Uses(a) {
			if got := share(out[1])[k] == 1; got != uses {
				t.Errorf("%s: %s used %v, want %v", a, params[k].Name, got, uses)
			}
		}
		for _, g := range out[2:] {
			outcomes[i].grads = append(outcomes[i].grads, share(g))
		}
	}
	return outcomes
}

func upload(t *testing.T, e *engine.Engine, x tensorfile.Tensor) *tensors.Tensor {
	t.Helper()
	up, err := e.Upload(x)
	if err != nil {
		t.Fatal(err)
	}
	return up
}

func (s stage) run(t *testing.T, args []*tensors.Tensor, build func(in []*graph.Node) []*graph.Node) [][]float32 {
	t.Helper()
	var inputs []shapes.Shape
	for _, a := range args {
		inputs = append(inputs, a.Shape())
	}
	program, err := s.engine.Compile(t.Name(), inputs, build)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	out, err := program.Run(args)
	if err != nil {
		t.Fatal(err)
	}
	values := make([][]float32, len(out))
	for i, o := range out {
		values[i] = tensors.MustCopyFlatData[float32](o)
	}
	return values
}

// compare holds the masked programs against the static ones: logits and
// gradients are equal to rounding, and a weight, or a part of one, of which the
// static program uses nothing has a gradient of exactly zero. It returns what the masked one has.
func (s stage) compare(t *testing.T, archs []space.Arch) []outcome {
	t.Helper()
	got := s.masked(t, archs)
	for i, a := range archs {
		want := s.static(t, a)
		if d := fixture.Difference(got[i].logits, want.logits); d > s.tolerance() {
			t.Errorf("%s: logits differ by %.2g of the largest", a, d)
		}
		for k, p := range s.net.Params() {
			g, w := got[i].grads[k], want.grads[k]
			if strings.HasSuffix(p.Name, "k_norm.bias") {
				continue // it moves all scores of a query alike: its gradient is rounding alone
			}
			if d := fixture.Difference(g, w); d > s.tolerance() {
				t.Errorf("%s: gradient of %s differs by %.2g of the largest", a, p.Name, d)
			}
			for j := range w {
				if outside(s.net, p, a, j) && g[j] != 0 {
					t.Errorf("%s: gradient of %s, which is outside, is %g at %d", a, p.Name, g[j], j)
					break
				}
			}
		}
	}
	return got
}

// outside tells whether entry j of a weight is outside of what a uses: the slow
// readable twin of the masks, from the names alone.
func outside(n *supernet.Net, p supernet.Param, a space.Arch, j int) bool {
	m := n.Space().Model
	if p.Block >= 0 && a.At(p.Block) < 0 {
		return true
	}
	heads, hidden := 0, 0
	if p.Block >= 0 {
		heads, hidden = a.NumHeads[a.At(p.Block)]*m.HeadDim, space.Hidden(a.EmbedDim, a.MLPRatio[a.At(p.Block)])
	}
	columns := 1
	for _, d := range p.Shape[1:] {
		columns *= d
	}
	row, column := j/columns, j%columns
	name := p.Name[len(prefix(p)):]
	if j2, ok := outsideOfChoices(n.Space(), name, a, heads, hidden, row, column); ok {
		return j2
	}
	switch name {
	case "attn.qkv.weight":
		return row >= 3*heads || column >= a.EmbedDim
	case "attn.qkv.bias":
		return row >= 3*heads
	case "attn.proj.weight":
		return row >= a.EmbedDim || column >= heads
	case "fc1.weight":
		return row >= hidden || column >= a.EmbedDim
	case "fc1.bias":
		return row >= hidden
	case "fc2.weight":
		return row >= a.EmbedDim || column >= hidden
	case "head.weight":
		return column >= a.EmbedDim
	case "head.bias":
		return false
	case "cls_token", "pos_embed":
		return j%p.Shape[2] >= a.EmbedDim
	case "patch_embed_super.proj.weight":
		return row >= a.EmbedDim
	}
	if slices.Contains([]string{"attn.proj.bias", "attn_layer_norm.weight", "attn_layer_norm.bias", "ffn_layer_norm.weight", "ffn_layer_norm.bias",
		"fc2.bias", "norm.weight", "norm.bias", "patch_embed_super.proj.bias"}, name) {
		return row >= a.EmbedDim
	}
	return false // tables of relative positions
}

func prefix(p supernet.Param) string {
	if p.Block < 0 {
		return ""
	}
	return fmt.Sprintf("blocks.%d.", p.Block)
}

// everyArch lists a whole space.
func everyArch(s *space.Space) []space.Arch {
	var list []space.Arch
	var layer func(a space.Arch, depth int)
	layer = func(a space.Arch, depth int) {
		if a.Depth() == depth {
			list = append(list, a)
			return
		}
		for _, h := range s.NumHeads {
			for _, r := range s.MLPRatio {
				layer(space.Arch{EmbedDim: a.EmbedDim, NumHeads: append(slices.Clone(a.NumHeads), h), MLPRatio: append(slices.Clone(a.MLPRatio), r)}, depth)
			}
		}
	}
	for _, e := range s.EmbedDim {
		for _, depth := range s.Depth {
			layer(space.Arch{EmbedDim: e}, depth)
		}
	}
	return list
}

// little is a space of forty architectures.
func little() *space.Space {
	return &space.Space{
		Name:     "whole",
		Supernet: space.Supernet{EmbedDim: 16, Depth: 3, NumHeads: 3, MLPRatio: 3},
		EmbedDim: []int{8, 13}, Depth: []int{1, 2}, NumHeads: []int{1, 3}, MLPRatio: []float64{0.7, 2.5},
		Model: space.Model{
			ImageSize: 8, PatchSize: 4, Channels: 2, NumClasses: 3, HeadDim: 5,
			RelativePosition: true, MaxRelativePosition: 1, GlobalPool: true, AbsPos: true, QKVBias: true,
		},
	}
}

// pureGo compiles nothing, which is most of the time of many small programs.
func pureGo(t *testing.T) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Options{Backend: "go"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func TestMaskedEqualsStaticOnAWholeSpace(t *testing.T) {
	s := little()
	st := newStage(pureGo(t), s, 4, true)
	archs := everyArch(s)
	if int64(len(archs)) != s.Size().Int64() {
		t.Fatalf("%d architectures listed of %s", len(archs), s.Size())
	}
	st.compare(t, archs)
}

// Blocks that are kept are where they are in the supernet: with their weights, their paths and
// what they drop.
func TestMaskedEqualsStaticWithoutBlocks(t *testing.T) {
	s := little()
	s.Layers = []int{2, 0, 1}
	st := newStage(pureGo(t), s, 4, true)
	st.dropout = &supernet.Dropout{Rate: 0.3, Attention: 0.2}
	archs := []space.Arch{s.Smallest(), s.Largest()}
	if archs[0].String() != "e8-h1-r0.7-l2" || archs[1].String() != "e13-h3x2-r2.5x2-l0_2" {
		t.Fatalf("architectures are %v", archs)
	}
	st.compare(t, archs)

	// What is learned for each choice is that of the block's own tables.
	s.Model.ScaleAttn, s.Model.ScaleMLP, s.Model.ScaleEmbed, s.Model.SwitchNorm = true, true, true, true
	newStage(pureGo(t), s, 4, true).compare(t, archs)
}

func TestMaskedDropsWhatStaticDrops(t *testing.T) {
	s := little()
	st := newStage(pureGo(t), s, 4, true)
	st.dropout = &supernet.Dropout{Rate: 0.3, Attention: 0.2}
	st.compare(t, []space.Arch{s.Smallest(), s.Largest()})
}

// The parts of a model that can be left out, and no drop path.
func TestMaskedEqualsStaticOnOtherModels(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	s := load(t, "quickstart")
	s.Model.RelativePosition, s.Model.GlobalPool, s.Model.AbsPos, s.Model.QKVBias = false, false, false, false
	newStage(enginetest.Test(t), s, 2, false).compare(t, []space.Arch{s.Smallest(), s.Largest()})
}

// One model runs what any other network does, functions in C where there are any; several run
// products with an axis of models.
func TestMaskedHasTheOperandsOfStatic(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	s := little()
	s.Supernet.Depth, s.Model.HeadDim, s.EmbedDim = 2, 8, []int{8, 14} // even, as the functions take them
	check := func(e *engine.Engine, archs ...space.Arch) {
		whole := newStage(e, s, 3, true)
		rounded := whole
		rounded.operands = dtypes.BFloat16
		a, b := whole.compare(t, archs), rounded.compare(t, archs)
		if d := fixture.Difference(a[0].logits, b[0].logits); d < 1e-4 {
			t.Errorf("%d models: operands in bfloat16 move the logits by %.2g of the largest", len(archs), d)
		}
	}
	check(enginetest.Test(t), s.Largest())
	check(pureGo(t), s.Largest(), s.Smallest())
}

func TestFixtureMasked(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	f := fixture.Open(t)
	var expected struct {
		Logits struct {
			Configs map[string]fixture.Arch `json:"configs"`
		} `json:"logits"`
	}
	f.JSON("expected.json", &expected)
	var archs []space.Arch
	for _, c := range expected.Logits.Configs {
		archs = append(archs, c.Arch())
	}
	st := newStage(enginetest.Test(t), f.Space, 2, true)
	st.weights = f.Weights
	st.compare(t, archs)
}

// newStage draws weights that are far from initialisation, where no gradient is
// zero by chance (biases) or vanishes (weights of 0.02), and a batch.
func newStage(e *engine.Engine, s *space.Space, samples int, dropPath bool) stage {
	n := supernet.New(s)
	random := func(purpose string, size int, scale float64) []float32 {
		r := rng.New(1, purpose)
		v := make([]float32, size)
		for i := range v {
			v[i] = float32(scale * r.NormFloat64())
		}
		return v
	}
	weights := map[string]tensorfile.Tensor{}
	for _, p := range n.Params() {
		weights[p.Name] = tensorfile.FromFloat32(p.Shape, random(p.Name, shapes.Make(dtypes.Float32, p.Shape...).Size(), 0.2))
	}
	m := s.Model
	images := random("images", samples*m.Channels*m.ImageSize*m.ImageSize, 1)
	st := stage{
		engine: e, net: n, weights: weights,
		images:  tensors.FromFlatDataAndDimensions(images, samples, m.Channels, m.ImageSize, m.ImageSize),
		adjoint: tensors.FromFlatDataAndDimensions(random("adjoint", samples*m.NumClasses, 1), samples, m.NumClasses),
	}
	if dropPath {
		st.dropPath = make([]float32, s.Supernet.Depth*2*samples)
		r := rng.New(1, "drop path")
		for i := range st.dropPath {
			if r.Float64() < 0.8 {
				st.dropPath[i] = 1.25
			}
		}
	}
	return st
}
