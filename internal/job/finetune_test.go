package job

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prenas/internal/export"
	"prenas/internal/fsys"
	"prenas/internal/space"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
)

// uneven has other heads and ratios in each layer, and more features in heads than dims.
var uneven = space.Arch{EmbedDim: 20, NumHeads: []int{1, 4, 2}, MLPRatio: []float64{2, 1.5, 3}}

func exported(t *testing.T) (path string, m *export.Model) {
	t.Helper()
	model := space.Model{
		ImageSize: 16, PatchSize: 4, Channels: 1, NumClasses: 3, HeadDim: 8,
		RelativePosition: true, MaxRelativePosition: 2, GlobalPool: true, AbsPos: true, QKVBias: true,
	}
	m, err := export.Take(supernet.Alone(model, uneven).Init(3), model, uneven, export.Info{
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
