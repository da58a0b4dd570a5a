package proxy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"prenas/internal/engine/enginetest"
	"prenas/internal/fixture"
	"prenas/internal/fsys"
	"prenas/internal/proxy"
	"prenas/internal/pytools"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// startOf is noise, in two chunks, and the fixture's weights.
func startOf(f fixture.Fixture, seed uint64) proxy.Start {
	const samples = 10
	batch := proxy.Noise(f.Space.Model, seed)
	shape := slices.Clone(batch.Images.Shape)
	values := f.Floats(batch.Images)[:len(f.Floats(batch.Images))/shape[0]*samples]
	shape[0] = samples
	return proxy.Start{Weights: f.Weights, Seed: seed, Batch: proxy.ScoringBatch{Images: tensorfile.FromFloat32(shape, values)}}
}

var scoredArch = space.Arch{EmbedDim: 48, NumHeads: []int{1, 2}, MLPRatio: []float64{2, 1.5}}

// What NumPy and autograd make of the formulas in float64.
func TestProxiesAreThoseOfTheFormulas(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	f := fixture.Open(t)
	python := pytools.Python(t, pytools.Autograd)
	program, err := os.ReadFile("testdata/proxies.py")
	if err != nil {
		t.Fatal(err)
	}
	start, m, a := startOf(f, 3), f.Space.Model, scoredArch
	images := f.Floats(start.Batch.Images)
	noise, signs := make([]float64, len(images)), make([]float64, start.Batch.Images.Shape[0]*m.Tokens()*a.EmbedDim)
	r := rng.New(start.Seed, "proxy noise")
	for i := range noise {
		noise[i] = r.NormFloat64()
	}
	r = rng.New(start.Seed, "proxy signs")
	for i := range signs {
		signs[i] = float64(2*r.IntN(2) - 1)
	}
	job, err := json.Marshal(map[string]any{
		"weights": filepath.Join(f.Dir, "weights.safetensors"), "chunk": 5, "images": images, "noise": noise, "signs": signs,
		"arch": map[string]any{"embed_dim": a.EmbedDim, "num_heads": a.NumHeads, "mlp_ratio": a.MLPRatio},
		"model": map[string]any{"head_dim": m.HeadDim, "patch_size": m.PatchSize, "image_size": m.ImageSize, "channels": m.Channels,
			"max_relative_position": m.MaxRelativePosition},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{}
	if err := json.Unmarshal(pytools.Run(t, python, string(program), job), &want); err != nil {
		t.Fatal(err)
	}
	want["params"], want["macs"] = float64(m.Params(a)), float64(m.MACs(a))

	names := proxy.Names()
	s, err := proxy.NewScorer(enginetest.Test(t), supernet.New(f.Space), names, []proxy.Start{start})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Of(context.Background(), a)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		t.Logf("%-16s %-14.8g formula %.8g", name, got[0][i], want[name])
		tolerance := 1e-4
		switch name {
		case "az": // its parts are the others
			continue
		case "grasp": // a difference stands for a derivative
			tolerance = 1e-2
		case "naswot", "zico": // float32 moves units across 0, and deviations near it
			tolerance = 1e-3
		}
		if !(math.Abs(got[0][i][0]-want[name]) <= tolerance*math.Abs(want[name])) {
			t.Errorf("%s is %.8g, by its formula %.8g", name, got[0][i][0], want[name])
		}
	}
	if _, known := want["synflow"]; !known {
		t.Error("the formulas lack synflow")
	}
}

func TestScoresOfSeveralStartsAreThoseOfEach(t *testing.T) {
	f, e := fixture.Open(t), enginetest.Test(t)
	names := []string{"az", "naswot", "dss", "zico", "macs"}
	if testing.Short() {
		names = []string{"naswot", "macs"}
	}
	starts := []proxy.Start{startOf(f, 1), startOf(f, 2)}
	of := func(names []string, starts ...proxy.Start) [][]proxy.Parts {
		s, err := proxy.NewScorer(e, supernet.New(f.Space), names, starts)
		if err != nil {
			t.Fatal(err)
		}
		parts, err := s.Of(context.Background(), f.Space.Smallest())
		if err != nil {
			t.Fatal(err)
		}
		return parts
	}
	together := of(names, starts...)
	for i, start := range starts {
		for k, name := range names {
			if alone := of([]string{name}, start)[0][0]; !slices.Equal(alone, together[i][k]) {
				t.Errorf("%s from start %d is %v alone and %v among others", name, i, alone, together[i][k])
			}
		}
	}
}

func TestAZRanks(t *testing.T) {
	// Ranks of four: 1 2.5 2.5 4, and the reverse; a constant is the middle for all.
	all := []proxy.Parts{{1, 9}, {2, 5}, {2, 5}, {3, 1}}
	got := proxy.Scores("az", all)
	for i, want := range []float64{math.Log(1./4) + math.Log(4./4), 2 * math.Log(2.5/4), 2 * math.Log(2.5/4), math.Log(4./4) + math.Log(1./4)} {
		if !(math.Abs(got[i]-want) <= 1e-12) {
			t.Errorf("score %d is %g, want %g", i, got[i], want)
		}
	}
	if one := proxy.Scores("zen", []proxy.Parts{{-3}, {7}}); !slices.Equal(one, []float64{-3, 7}) {
		t.Errorf("scores of one part are %v", one)
	}
}

func TestScorerRefuses(t *testing.T) {
	f, e := fixture.Open(t), enginetest.Test(t)
	net := supernet.New(f.Space)
	if _, err := proxy.NewScorer(e, net, []string{"zenn"}, nil); !errors.Is(err, proxy.ErrName) {
		t.Errorf("an unknown name gives %v", err)
	}
	masked := startOf(f, 1)
	masked.Batch.Masks = map[string]tensorfile.Tensor{"blocks.0.drop_path.attn_mask": tensorfile.FromFloat32([]int{10}, make([]float32, 10))}
	if _, err := proxy.NewScorer(e, net, []string{"zen"}, []proxy.Start{masked}); !errors.Is(err, proxy.ErrInputs) {
		t.Errorf("drop-path masks give %v", err)
	}
	s, err := proxy.NewScorer(e, net, []string{"params"}, []proxy.Start{startOf(f, 1)})
	if err != nil {
		t.Fatal(err)
	}
	wide := f.Space.Largest()
	wide.EmbedDim++
	if _, err := s.Of(context.Background(), wide); !errors.Is(err, space.ErrArch) {
		t.Errorf("an architecture outside of the space gives %v", err)
	}
}

// Convolutional networks: sums over the gradients are those of the search's gradient
// program, and the others are there, or refused by name.
func TestConvolutionalNetworks(t *testing.T) {
	s, err := space.Parse("test", "test", []byte(`
FAMILY: conv
SUPERNET: {DEPTH: 1, KERNEL: 5, EXPAND: 3}
SEARCH_SPACE: {DEPTH: [1], KERNEL: [5], EXPAND: [3]}
MODEL: {IMAGE_SIZE: 16, CHANNELS: 2, NUM_CLASSES: 5, STEM: 8, WIDTH: [8], STRIDE: [2], SQUEEZE_EXCITE: [true], H_SWISH: [true], FEATURES: 24, MIX: 16, MIX_BIAS: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	n, e := supernet.New(s), enginetest.Test(t)
	start := proxy.Start{Weights: n.Init(1), Batch: proxy.Noise(s.Model, 1), Seed: 1}
	names := proxy.Names()
	if testing.Short() {
		names = []string{"snip", "grad_norm"}
	}
	scorer, err := proxy.NewScorer(e, n, names, []proxy.Start{start})
	if err != nil {
		t.Fatal(err)
	}
	got, err := scorer.Of(context.Background(), s.Largest())
	if err != nil {
		t.Fatal(err)
	}
	grads, err := proxy.Gradients(context.Background(), e, n, start.Weights, start.Batch, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{}
	for name, g := range grads {
		norm := 0.0
		w, err := start.Weights[name].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		values, err := g.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			norm += float64(v) * float64(v)
			want["snip"] += math.Abs(float64(w[i]) * float64(v))
		}
		want["grad_norm"] += math.Sqrt(norm)
	}
	for i, name := range names {
		for _, part := range got[0][i] {
			if math.IsNaN(part) || math.IsInf(part, 0) {
				t.Errorf("%s has the part %v", name, part)
			}
		}
		if w, ok := want[name]; ok && !(math.Abs(got[0][i][0]-w) <= 1e-4*w) {
			t.Errorf("%s is %g, want %g", name, got[0][i][0], w)
		}
	}
}

// What NumPy and autograd make of the formulas in float64 for an architecture that is smaller than the supernet: with strides, one
// of an odd side, squeeze-excite, both activation functions and a kernel out of the middle of the shared one.
func TestProxiesOfConvolutionalNetworksAreThoseOfTheFormulas(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	python := pytools.Python(t, pytools.Autograd)
	program, err := os.ReadFile("testdata/proxies_conv.py")
	if err != nil {
		t.Fatal(err)
	}
	s, err := space.Parse("test", "test", []byte(`
FAMILY: conv
SUPERNET: {DEPTH: 2, KERNEL: 5, EXPAND: 3}
SEARCH_SPACE: {DEPTH: [1, 2], KERNEL: [3, 5], EXPAND: [2, 3]}
MODEL: {IMAGE_SIZE: 18, CHANNELS: 2, NUM_CLASSES: 5, STEM: 8, WIDTH: [8, 16], STRIDE: [2, 2], SQUEEZE_EXCITE: [false, true], H_SWISH: [false, true], FEATURES: 24, MIX: 16, MIX_BIAS: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	a, err := space.ParseArch("i18-d1_2-k3x2_5-x2_3x2")
	if err != nil {
		t.Fatal(err)
	}
	n, dir := supernet.New(s), t.TempDir()
	weights := n.Init(1)
	for name, w := range weights { // norms and biases that are not ones and zeros
		values, err := w.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		r := rng.New(2, name)
		for i := range values {
			values[i] += 0.1 * float32(r.NormFloat64())
		}
		weights[name] = tensorfile.FromFloat32(w.Shape, values)
	}
	if err := tensorfile.Write(fsys.OS, filepath.Join(dir, "weights.safetensors"), &tensorfile.File{Tensors: weights}); err != nil {
		t.Fatal(err)
	}
	const samples = 6
	batch := proxy.Noise(s.Model, 1)
	shape := append([]int{samples}, batch.Images.Shape[1:]...)
	values, err := batch.Images.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	images := values[:samples*2*18*18]
	start := proxy.Start{Weights: weights, Batch: proxy.ScoringBatch{Images: tensorfile.FromFloat32(shape, images)}, Seed: 3}
	formulas := func(a space.Arch) map[string]float64 {
		var blocks []map[string]any
		most := 0
		for _, b := range s.Model.ConvBlocks(a) {
			most = max(most, b.OutSide()*b.OutSide()*b.Out)
			blocks = append(blocks, map[string]any{"name": fmt.Sprintf("blocks.%d.%d.", b.Unit+1, b.Layer), "in": b.In, "hidden": b.Hidden, "out": b.Out,
				"expands": b.Expands, "kernel": b.Kernel, "stride": b.Stride, "squeeze": b.Squeeze, "h_swish": b.Activation == space.HardSwish, "residual": b.Residual})
		}
		signs, r := make([]float64, samples*most), rng.New(start.Seed, "proxy signs")
		for i := range signs {
			signs[i] = float64(2*r.IntN(2) - 1)
		}
		job, err := json.Marshal(map[string]any{"weights": filepath.Join(dir, "weights.safetensors"), "blocks": blocks, "stem_stride": s.Model.Conv.StemStride,
			"last": "blocks.3.0.", "images": images, "shape": shape, "signs": signs})
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]float64{}
		if err := json.Unmarshal(pytools.Run(t, python, string(program), job), &values); err != nil {
			t.Fatal(err)
		}
		return values
	}
	want := formulas(a)
	delete(want, "synflow")
	names := slices.Sorted(maps.Keys(want))
	scorer, err := proxy.NewScorer(enginetest.Test(t), n, names, []proxy.Start{start})
	if err != nil {
		t.Fatal(err)
	}
	got, err := scorer.Of(context.Background(), a)
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 6 {
		t.Errorf("the formulas are of %v", names)
	}
	for i, name := range names {
		if !(math.Abs(got[0][i][0]-want[name]) <= 1e-4*math.Abs(want[name])) {
			t.Errorf("%s is %.8g, by its formula %.8g", name, got[0][i][0], want[name])
		}
	}
	// SynFlow adds up over slices: it is the search's, from gradients of the largest architecture.
	absolute, ones, err := proxy.Linear(s.Model, weights)
	if err != nil {
		t.Fatal(err)
	}
	grads, err := proxy.Gradients(context.Background(), enginetest.Test(t), n, absolute, ones, nil)
	if err != nil {
		t.Fatal(err)
	}
	synflow := 0.0
	for name, g := range grads {
		values, err := g.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		w, err := absolute[name].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			synflow += math.Abs(float64(v) * float64(w[i]))
		}
	}
	if want := formulas(s.Largest())["synflow"]; !(math.Abs(synflow-want) <= 1e-4*want) {
		t.Errorf("synflow is %.8g, by its formula %.8g", synflow, want)
	}
}

// With a head of zeros all classes are equally probable, so the gradient of the head's bias is the
// number of images over the classes less how often a label is there.
func TestLabelsMakeTheLossTheCrossEntropy(t *testing.T) {
	f := fixture.Open(t)
	start := startOf(f, 3)
	net, a := supernet.New(f.Space), f.Space.Largest()
	samples, classes := start.Batch.Images.Shape[0], f.Space.Model.NumClasses
	start.Weights = maps.Clone(start.Weights)
	for _, name := range []string{"head.weight", "head.bias"} {
		w := start.Weights[name]
		start.Weights[name] = tensorfile.FromFloat32(w.Shape, make([]float32, len(f.Floats(w))))
	}
	want := slices.Repeat([]float64{float64(samples) / float64(classes)}, classes)
	for i := range samples {
		label := i * i % classes
		start.Batch.Labels = append(start.Batch.Labels, label)
		want[label]--
	}
	grads, err := proxy.Gradients(context.Background(), enginetest.Test(t), net, start.Weights, start.Batch, nil)
	if err != nil {
		t.Fatal(err)
	}
	for class, g := range f.Floats(grads["head.bias"]) {
		if !(math.Abs(float64(g)-want[class]) < 1e-4) {
			t.Errorf("the gradient of class %d is %v, not %v", class, g, want[class])
		}
	}
	// The proxies of the largest architecture have the same gradient.
	norm := 0.0
	for _, g := range grads {
		square := 0.0
		for _, v := range f.Floats(g) {
			square += float64(v) * float64(v)
		}
		norm += math.Sqrt(square)
	}
	plain := start
	plain.Batch.Labels = nil
	scorer, err := proxy.NewScorer(enginetest.Test(t), net, []string{"grad_norm"}, []proxy.Start{plain, start})
	if err != nil {
		t.Fatal(err)
	}
	got, err := scorer.Of(context.Background(), a)
	if err != nil {
		t.Fatal(err)
	}
	if v := got[1][0][0]; !(math.Abs(v-norm) <= 1e-4*norm) {
		t.Errorf("grad_norm is %v, of the gradients %v", v, norm)
	}
	if got[0][0][0] == got[1][0][0] {
		t.Error("the start without labels has the same grad_norm as the one with labels")
	}

	for name, labels := range map[string][]int{"too few": {1}, "no such class": append(slices.Clone(start.Batch.Labels[1:]), classes)} {
		start.Batch.Labels = labels
		if _, err := proxy.Gradients(context.Background(), enginetest.Test(t), net, start.Weights, start.Batch, nil); !errors.Is(err, proxy.ErrInputs) {
			t.Errorf("labels, %s: %v", name, err)
		}
	}
}
