package job

import (
	"bytes"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"prenas/internal/engine"
	"prenas/internal/export"
	"prenas/internal/fixture"
	"prenas/internal/fsys"
	"prenas/internal/pretrained"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// vitSpace has the model of a plain ViT: the class token, no relative positions.
func vitSpace(t *testing.T) *space.Space {
	t.Helper()
	s, err := space.Parse("vit", "vit.yaml", []byte(`
SUPERNET: {EMBED_DIM: 16, DEPTH: 3, NUM_HEADS: 4, MLP_RATIO: 2}
SEARCH_SPACE: {EMBED_DIM: [16], DEPTH: [3], NUM_HEADS: [4], MLP_RATIO: [2]}
MODEL: {IMAGE_SIZE: 4, PATCH_SIZE: 2, CHANNELS: 1, NUM_CLASSES: 3, HEAD_DIM: 4, RELATIVE_POSITION: false, GLOBAL_POOL: false}
`))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// foreign writes a file of weights and names it.
func foreign(t *testing.T, tensors map[string]tensorfile.Tensor) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "foreign.safetensors")
	if err := tensorfile.Write(fsys.OS, path, &tensorfile.File{Tensors: tensors}); err != nil {
		t.Fatal(err)
	}
	return path
}

// timmWeights are a supernet's weights under timm's names, and the supernet's.
func timmWeights(t *testing.T) (timm, ours map[string]tensorfile.Tensor) {
	t.Helper()
	s := vitSpace(t)
	ours = supernet.New(s).Init(1)
	m, err := export.Take(ours, s.Model, s.Largest(), export.Info{
		Preprocess: export.Preprocess{Size: 4, Resize: 4, Interpolation: export.Bicubic, Mean: []float32{0.5}, Std: []float32{0.25}},
		Classes:    []string{"a", "b", "c"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m.Tensors, ours
}

func TestImportOfTimm(t *testing.T) {
	timm, ours := timmWeights(t)
	for name, x := range maps.Clone(timm) { // as a model of several devices names them
		delete(timm, name)
		timm["module."+name] = x
	}
	out := filepath.Join(t.TempDir(), "vit.safetensors")
	r, err := Import(t.Context(), ImportOptions{File: foreign(t, timm), Form: FormAuto, Hints: pretrained.Hints{HeadDim: 4}, Out: out})
	if err != nil {
		t.Fatal(err)
	}
	if r.Form != FormTimm {
		t.Errorf("%+v", r)
	}
	got, _, err := readWeights(out, vitSpace(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range ours {
		if !bytes.Equal(got[name].Data, want.Data) {
			t.Errorf("%s differs", name)
		}
	}
	s, err := space.Load(r.Space)
	if err != nil {
		t.Fatal(err)
	}
	if want := vitSpace(t); s.Supernet != want.Supernet || s.Model.GlobalPool || s.Model.RelativePosition || s.Model.ImageSize != 4 || s.Model.NumClasses != 3 {
		t.Errorf("the space is %+v", s)
	}
	if low, high := s.Interval.Min*1e6, s.Interval.Max*1e6; float64(s.Model.Params(s.Smallest())) < low || float64(s.Model.Params(s.Largest())) >= high {
		t.Errorf("interval %+v leaves out sizes of the space", s.Interval)
	}
}

// AutoFormer adds the bias to the features sorted into q, k and v; here the
// rows of its weights and bias are interleaved alike.
func TestImportOfAutoFormer(t *testing.T) {
	_, weights := timmWeights(t)
	const width = 16
	bias := make([]float32, 3*width)
	for i := range bias {
		bias[i] = float32(i)
	}
	weights["blocks.0.attn.qkv.bias"] = tensorfile.FromFloat32([]int{3 * width}, bias)
	file, out := foreign(t, weights), filepath.Join(t.TempDir(), "x.safetensors")
	for form, want := range map[string]func(row int) float32{
		FormPreNAS:     func(row int) float32 { return float32(row) },
		FormAutoFormer: func(row int) float32 { return float32(row%3*width + row/3) },
	} {
		if _, err := Import(t.Context(), ImportOptions{File: file, Form: form, Hints: pretrained.Hints{HeadDim: 4}, Out: out}); err != nil {
			t.Fatal(err)
		}
		got, _, err := readWeights(out, vitSpace(t))
		if err != nil {
			t.Fatal(err)
		}
		values, err := got["blocks.0.attn.qkv.bias"].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		for row, v := range values {
			if v != want(row) {
				t.Fatalf("%s: row %d is %v, want %v", form, row, v, want(row))
			}
		}
	}
}

// A supernet whose norms are those of each embedding dim comes in as the network of the largest, whose
// logits are those of that slice; the supernet's own width has no norms.
func TestImportOfSwitchedNorms(t *testing.T) {
	s, err := space.Parse("switched", "switched.yaml", []byte(`
SUPERNET: {EMBED_DIM: 20, DEPTH: 2, NUM_HEADS: 3, MLP_RATIO: 2}
SEARCH_SPACE: {EMBED_DIM: [12, 16], DEPTH: [1, 2], NUM_HEADS: [2, 3], MLP_RATIO: [1, 2]}
MODEL: {IMAGE_SIZE: 4, PATCH_SIZE: 2, CHANNELS: 1, NUM_CLASSES: 3, HEAD_DIM: 4, MAX_RELATIVE_POSITION: 2, SWITCH_LN: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	net, random := supernet.New(s), rng.New(5, "switched")
	weights := map[string]tensorfile.Tensor{}
	for _, p := range net.Params() {
		values := make([]float32, 1)
		for _, d := range p.Shape {
			values = slices.Repeat(values, d)
		}
		for i := range values {
			values[i] = float32(0.3 * random.NormFloat64())
		}
		weights[p.Name] = tensorfile.FromFloat32(p.Shape, values)
	}
	out := filepath.Join(t.TempDir(), "x.safetensors")
	r, err := Import(t.Context(), ImportOptions{File: foreign(t, weights), Form: FormAuto, Out: out})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(r.Notes, " "), "[12 16]): the model is that of 16") || r.Largest != "e16-h3x2-r2x2" {
		t.Errorf("%+v", r)
	}
	got, err := export.Read(fsys.OS, out)
	if err != nil {
		t.Fatal(err)
	}
	e := goEngine(t)
	pixels := make([]float32, 3*4*4)
	for i := range pixels {
		pixels[i] = float32(random.NormFloat64())
	}
	images, err := e.Upload(tensorfile.FromFloat32([]int{3, 1, 4, 4}, pixels))
	if err != nil {
		t.Fatal(err)
	}
	logits := func(n *supernet.Net, a space.Arch, weights map[string]tensorfile.Tensor) []float32 {
		t.Helper()
		args, err := n.Upload(e, weights)
		if err != nil {
			t.Fatal(err)
		}
		shape := shapes.Make(dtypes.Float32, 3, 1, 4, 4)
		program, err := e.Compile("logits", append(n.Bind().Shapes(), shape), func(in []*graph.Node) []*graph.Node {
			return []*graph.Node{n.Logits(in[:len(in)-1], in[len(in)-1], supernet.Forward{Arch: a})}
		})
		if err != nil {
			t.Fatal(err)
		}
		defer program.Close()
		result, err := program.Run(append(args, images))
		if err != nil {
			t.Fatal(err)
		}
		host, err := engine.Download(result[0])
		if err != nil {
			t.Fatal(err)
		}
		values, err := host.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		return values
	}
	alone, err := got.Weights()
	if err != nil {
		t.Fatal(err)
	}
	whole := s.Largest()
	if d := fixture.Difference(logits(got.Net(), got.Info.SpaceArch(), alone), logits(net, whole, weights)); d > 1e-5 {
		t.Errorf("logits differ by %.2g of the largest", d)
	}
	weights["embed_scaling.scalings"] = weights["norm.lns.0.weight"]
	if _, err := Import(t.Context(), ImportOptions{File: foreign(t, weights), Form: FormAuto, Out: out}); !errors.Is(err, ErrImport) || !strings.Contains(err.Error(), "SCALE_EMBED") {
		t.Errorf("factors of choices: %v", err)
	}
}

func TestImportNamesWhatDoesNotFit(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(map[string]tensorfile.Tensor)
		says  string
	}{
		"missing": {func(w map[string]tensorfile.Tensor) { delete(w, "blocks.1.mlp.fc2.weight") }, `"blocks.1.mlp.fc2.weight" is missing`},
		"norm":    {func(w map[string]tensorfile.Tensor) { delete(w, "blocks.1.norm1.bias") }, `norms without a bias`},
		"features": {func(w map[string]tensorfile.Tensor) {
			w["blocks.0.mlp.w12.weight"], w["rope.freqs"], w["blocks.0.novel"] = w["cls_token"], w["cls_token"], w["cls_token"]
		}, `SwiGLU MLPs; rotary positions; what 1 more tensor is for ("blocks.0.novel")`},
		"no ViT": {func(w map[string]tensorfile.Tensor) {
			delete(w, "patch_embed.proj.weight")
			delete(w, "patch_embed.proj.bias")
		}, "this is no model that is known"},
		"wrong shape": {func(w map[string]tensorfile.Tensor) { w["norm.bias"] = w["head.bias"] }, `"norm.bias" has shape [3]`},
	} {
		timm, _ := timmWeights(t)
		c.spoil(timm)
		file := foreign(t, timm)
		_, err := Import(t.Context(), ImportOptions{File: file, Form: FormAuto, Hints: pretrained.Hints{HeadDim: 4}, Out: filepath.Join(t.TempDir(), "x.safetensors")})
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Import(t.Context(), ImportOptions{File: "x", Form: "keras", Out: "x"}); !errors.Is(err, ErrForm) {
		t.Errorf("unknown form: %v", err)
	}
}
