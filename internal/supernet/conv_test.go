package supernet_test

import (
	"fmt"
	"path/filepath"
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

// convSpace is the space of testdata/conv/make.py.
func convSpace(t *testing.T) (*space.Space, space.Arch) {
	t.Helper()
	s, err := space.Parse("test", "test", []byte(`
FAMILY: conv
SUPERNET: {DEPTH: 2, KERNEL: 5, EXPAND: 3}
SEARCH_SPACE: {DEPTH: [1, 2], KERNEL: [3, 5], EXPAND: [2, 3]}
MODEL: {IMAGE_SIZE: 16, CHANNELS: 2, NUM_CLASSES: 5, STEM: 8, WIDTH: [8, 16], STRIDE: [2, 2], SQUEEZE_EXCITE: [false, true], H_SWISH: [false, true], FEATURES: 24, MIX: 16, MIX_BIAS: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	a, err := space.ParseArch("i16-d2_1-k3_5_3-x2_3_2")
	if err != nil {
		t.Fatal(err)
	}
	return s, a
}

// compute runs a graph over tensors.
func compute(t *testing.T, inputs []tensorfile.Tensor, build func(in []*graph.Node) []*graph.Node) [][]float32 {
	t.Helper()
	var shape []shapes.Shape
	var args []*tensors.Tensor
	for _, x := range inputs {
		shape = append(shape, shapes.Make(dtypes.Float32, x.Shape...))
		up, err := enginetest.Test(t).Upload(x)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, up)
	}
	program, err := enginetest.Test(t).Compile("test", shape, build)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	out, err := program.Run(args)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]float32
	for _, o := range out {
		host, err := engine.Download(o)
		if err != nil {
			t.Fatal(err)
		}
		values, err := host.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, values)
	}
	return all
}

// Logits, gradients and statistics of an architecture, in training and in
// evaluation, are PyTorch's.
func TestConvEqualsPyTorch(t *testing.T) {
	s, a := convSpace(t)
	file, err := tensorfile.Read(filepath.Join("testdata", "conv", "conv.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	n := supernet.New(s)
	weights, want := map[string]tensorfile.Tensor{}, file.Tensors
	for name, w := range want {
		if name, is := strings.CutPrefix(name, "weight."); is {
			weights[name] = w
		}
	}
	if err := n.Check(weights); err != nil || len(weights) != len(n.Params()) {
		t.Fatalf("%d weights of %d: %v", len(weights), len(n.Params()), err)
	}
	var inputs []tensorfile.Tensor
	for _, p := range n.Params() {
		inputs = append(inputs, weights[p.Name])
	}
	all, stats := len(inputs), supernet.Stats(s.Model, a)
	for _, p := range stats {
		inputs = append(inputs, want["stats."+p.Name])
	}
	inputs = append(inputs, want["input"], want["pull"])
	got := compute(t, inputs, func(in []*graph.Node) []*graph.Node {
		w, fixed, images, pull := in[:all], in[all:all+len(stats)], in[len(in)-2], in[len(in)-1]
		var seen []*graph.Node
		trained := n.Logits(w, images, supernet.Forward{Arch: a, Seen: &seen})
		evaluated := func(p engine.Precision) *graph.Node {
			return n.Logits(w, images, supernet.Forward{Arch: a, Stats: fixed, Operands: p.Operands()})
		}
		out := []*graph.Node{trained, evaluated(engine.Float32), evaluated(engine.BFloat16)}
		out = append(out, engine.Gradient(graph.ReduceAllSum(graph.Mul(trained, pull)), w...)...)
		return append(out, seen...)
	})
	floats := func(name string) []float32 {
		values, err := want[name].Float32s()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return values
	}
	check := func(name string, got []float32, tolerance float64) {
		if d := fixture.Difference(got, floats(name)); d > tolerance {
			t.Errorf("%s differs by %.2g of the largest", name, d)
		}
	}
	check("logits.train", got[0], 1e-4)
	check("logits.eval", got[1], 1e-4)
	check("logits.eval", got[2], 2e-2) // 8 bits
	got = got[3:]
	for i, p := range n.Params() {
		if used := n.Uses(a)[i]; !used {
			if slices.ContainsFunc(got[i], func(v float32) bool { return v != 0 }) {
				t.Errorf("%s is not used and has a gradient", p.Name)
			}
			continue
		}
		// A norm takes out what is added to all of a batch: such biases have no
		// gradient, but for rounding.
		if want := floats("grad." + p.Name); largest(want) < 1e-9 {
			if l := largest(got[i]); l > 1e-5 {
				t.Errorf("grad.%s is %.2g, want none", p.Name, l)
			}
			continue
		}
		check("grad."+p.Name, got[i], 1e-3)
	}
	for i, p := range stats {
		check("seen."+p.Name, got[all+i], 1e-4)
	}
}

func largest(values []float32) float32 {
	var most float32
	for _, v := range values {
		most = max(most, v, -v)
	}
	return most
}

// Images of other resolutions are torch's interpolate(antialias=True).
func TestConvResizesAsPyTorch(t *testing.T) {
	s, a := convSpace(t)
	file, err := tensorfile.Read(filepath.Join("testdata", "conv", "conv.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{5, 11} {
		a.Resolution = size
		got := compute(t, []tensorfile.Tensor{file.Tensors["input"]}, func(in []*graph.Node) []*graph.Node {
			return []*graph.Node{supernet.Resized(supernet.New(s), in[0], a)}
		})
		want, err := file.Tensors[fmt.Sprintf("resized.%d", size)].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		if d := fixture.Difference(got[0], want); d > 1e-5 {
			t.Errorf("%d pixels: differs by %.2g of the largest", size, d)
		}
	}
}

// An architecture's own weights are as many as the space counts.
func TestConvParamsAreThoseCounted(t *testing.T) {
	for _, name := range []string{"conv", "conv-quickstart"} {
		s := load(t, name)
		for i := range 20 {
			a, total := s.Draw(rng.New(1, "archs", uint64(i))), int64(0)
			for _, p := range supernet.ParamsOf(s.Model, a) {
				size := int64(1)
				for _, d := range p.Shape {
					size *= int64(d)
				}
				total += size
			}
			if want := s.Model.Params(a); total != want {
				t.Errorf("%s: %d weights, %d parameters counted", a, total, want)
			}
		}
	}
}

// A fresh supernet's matrices between kernels change nothing.
func TestConvTransformsBeginAsIdentity(t *testing.T) {
	s, a := convSpace(t)
	plain := supernet.New(s)
	with := *s
	with.Model.Conv.Transform = true
	transformed := supernet.New(&with)
	if extra := len(transformed.Params()) - len(plain.Params()); extra != 4 {
		t.Fatalf("%d matrices, want one for each of 4 blocks", extra)
	}
	r := rng.New(3, "images")
	pixels := make([]float32, 2*2*16*16)
	for i := range pixels {
		pixels[i] = float32(r.NormFloat64())
	}
	images := tensorfile.FromFloat32([]int{2, 2, 16, 16}, pixels)
	one, two := forward(t, plain, plain.Init(5), images, a), forward(t, transformed, transformed.Init(5), images, a)
	if d := fixture.Difference(one, two); d > 1e-6 {
		t.Errorf("logits differ by %.2g", d)
	}
}
