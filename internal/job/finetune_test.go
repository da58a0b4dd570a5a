package job

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prenas/internal/export"
	"prenas/internal/fsys"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// uneven has other heads and ratios in each layer, and more features in heads than dims.
var uneven = space.Arch{EmbedDim: 20, NumHeads: []int{1, 4, 2}, MLPRatio: []float64{2, 1.5, 3}}

func exported(t *testing.T) (path string, m *export.Model) {
	t.Helper()
	model := space.Model{
		ImageSize: 16, PatchSize: 4, Channels: 1, NumClasses: 3, HeadDim: 8,
		RelativePosition: true, MaxRelativePosition: 2, GlobalPool: true, AbsPos: true, QKVBias: true,
	}
	m, err := export.Take(supernet.Standalone(model, uneven).Init(3), model, uneven, export.Info{
		Preprocess: export.Preprocess{Size: 16, Resize: 16, Interpolation: export.Bicubic, Mean: []float32{0.5}, Std: []float32{0.25}},
		Classes:    []string{"a", "b", "c"},
	})
	path = filepath.Join(t.TempDir(), "model.safetensors")
	if err == nil {
		err = m.Write(fsys.OS, path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path, m
}

// The model taken out of the space made around it is the model.
func TestModelInItsOwnSpace(t *testing.T) {
	path, want := exported(t)
	start, err := openTrained(path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := start.space.Validate(); err != nil {
		t.Fatal(err)
	}
	if err := start.space.Check(start.arch); err != nil {
		t.Fatal(err)
	}
	if err := supernet.New(start.space).Check(start.weights); err != nil {
		t.Fatal(err)
	}
	got, err := export.Take(start.weights, start.space.Model, start.arch, want.Info)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want.Tensors, got.Tensors); d != "" {
		t.Error(d)
	}
}

// So is a convolutional one, whose units have other depths and blocks other kernels, with
// its statistics, at another resolution too.
func TestConvModelInItsOwnSpace(t *testing.T) {
	a, err := space.ParseArch("i12-d1_2-k3_5_3-x2_3_1.5")
	if err != nil {
		t.Fatal(err)
	}
	model := space.Model{ImageSize: 12, Channels: 1, NumClasses: 3, Conv: space.ConvModel{
		Stem: 8, StemStride: 1, Features: 16, Mix: 8,
		Units: []space.ConvUnit{{Width: 8, Stride: 2, SqueezeExcite: true}, {Width: 16, Stride: 1, HSwish: true}},
	}}
	weights := supernet.Standalone(model, a).Init(3)
	for _, p := range supernet.Stats(model, a) {
		weights[p.Name] = tensorfile.FromFloat32(p.Shape, slices.Repeat([]float32{float32(len(p.Name))}, p.Shape[0]))
	}
	about := export.Info{
		Preprocess: export.Preprocess{Size: 12, Resize: 12, Interpolation: export.Bicubic, Mean: []float32{0.5}, Std: []float32{0.25}},
		Classes:    []string{"a", "b", "c"},
	}
	want, err := export.Take(weights, model, a, about)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := want.Write(fsys.OS, path); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 20} {
		start, err := openTrained(path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if start, err = start.suit(about.Classes, size, 1, nil); err != nil {
			t.Fatal(err)
		}
		if err := start.space.Validate(); err != nil {
			t.Fatal(err)
		}
		if err := start.space.Check(start.arch); err != nil {
			t.Fatal(err)
		}
		if size != 0 && start.arch.String() != "i20-d1_2-k3_5_3-x2_3_1.5" {
			t.Errorf("the architecture is %s", start.arch)
		}
		net := supernet.New(start.space)
		if err := net.Check(start.weights); err != nil {
			t.Fatal(err)
		}
		alone, err := aloneWeights(net, start.weights, start.arch)
		if err != nil {
			t.Fatal(err)
		}
		about.Preprocess.Size, about.Preprocess.Resize = max(size, 12), max(size, 12)
		got, err := export.Take(alone, start.space.Model, start.arch, about)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want.Tensors, got.Tensors); d != "" {
			t.Errorf("size %d: %s", size, d)
		}
	}
}

// What fits other images: which tensors change, with which classes and sizes.
func TestSuiting(t *testing.T) {
	path, _ := exported(t)
	for name, c := range map[string]struct {
		classes []string
		size    int
		changes []string // of the tensors of block 0 and of what is in no block
		logs    int
	}{
		"same images":   {[]string{"a", "b", "c"}, 0, nil, 0},
		"same size":     {[]string{"a", "b", "c"}, 16, nil, 0},
		"other names":   {[]string{"a", "b", "d"}, 0, []string{"head.bias", "head.weight"}, 1},
		"other numbers": {[]string{"a", "b"}, 0, []string{"head.bias", "head.weight"}, 1},
		"larger": {[]string{"a", "b", "c"}, 32, []string{
			"blocks.0.attn.rel_pos_embed_k.embeddings_table_h", "blocks.0.attn.rel_pos_embed_k.embeddings_table_v",
			"blocks.0.attn.rel_pos_embed_v.embeddings_table_h", "blocks.0.attn.rel_pos_embed_v.embeddings_table_v", "pos_embed",
		}, 0},
	} {
		start, err := openTrained(path, uneven.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		start.weights["head.bias"] = tensorfile.FromFloat32([]int{3}, []float32{1, 2, 3})
		logs := 0
		after, err := start.suit(c.classes, c.size, 1, func(string) { logs++ })
		if err != nil {
			t.Fatal(err)
		}
		net := supernet.New(after.space)
		if err := net.Check(after.weights); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var changed []string
		for _, p := range net.Params() {
			if p.Block < 1 && !cmp.Equal(start.weights[p.Name], after.weights[p.Name]) {
				changed = append(changed, p.Name)
			}
		}
		slices.Sort(changed)
		if !slices.Equal(changed, c.changes) || logs != c.logs {
			t.Errorf("%s: %v changed and %d lines were logged, want %v and %d", name, changed, logs, c.changes, c.logs)
		}
	}
}
