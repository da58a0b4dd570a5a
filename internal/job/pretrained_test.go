package job

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"prenas/internal/classify"
	"prenas/internal/engine"
	"prenas/internal/export"
	"prenas/internal/fixture"
	"prenas/internal/fsys"
	"prenas/internal/importance"
	"prenas/internal/pretrained"
	"prenas/internal/proxy"
	"prenas/internal/rng"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// libraryEnv names a folder that internal/pretrained/testdata/make.py wrote: all models of
// the libraries, beside the few that are kept in testdata.
const libraryEnv = "PRENAS_PRETRAINED"

// Models that timm, transformers and torchvision saved come in with the outputs that those
// libraries compute of the same images: through the file that import writes, on our engine.
func TestImportedModelsHaveTheirLibrarysOutputs(t *testing.T) {
	folders, err := filepath.Glob(filepath.Join("testdata", "pretrained", "*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no models: %v", err)
	}
	if all := os.Getenv(libraryEnv); all != "" {
		if folders, err = filepath.Glob(filepath.Join(all, "*")); err != nil {
			t.Fatal(err)
		}
	}
	e := goEngine(t)
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			m := importedFrom(t, folder)
			out := filepath.Join(t.TempDir(), "model.safetensors")
			if err := m.Write(fsys.OS, out); err != nil {
				t.Fatal(err)
			}
			compareOutputs(t, e, out, folder)
			if os.Getenv(classify.RuntimeEnv) == "" {
				return
			}
			onnx := filepath.Join(t.TempDir(), "model.onnx")
			format, err := ParseFormat("onnx", FormatOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Export(t.Context(), ExportOptions{Run: out, Format: format, Out: onnx, Log: func(string) {}}); err != nil {
				t.Fatal(err)
			}
			compareOutputs(t, e, onnx, folder)
		})
	}
}

// compareOutputs of a model's file with those of the library.
func compareOutputs(t *testing.T, e *engine.Engine, path, folder string) {
	t.Helper()
	got, want := outputsOf(t, e, path, folder)
	if len(got) != len(want) {
		t.Fatalf("%d outputs, the library has %d", len(got), len(want))
	}
	if d := fixture.Difference(got, want); d > 1e-4 {
		t.Errorf("%s: outputs differ from the library's by %.2g of the largest", filepath.Base(path), d)
	}
}

// outputsOf a model's file for the images of a folder, and what the library put out.
func outputsOf(t *testing.T, e *engine.Engine, path, folder string) (got, want []float32) {
	t.Helper()
	io, err := tensorfile.Read(filepath.Join(folder, "io.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	images := io.Tensors["images"]
	pixels, err := images.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	if want, err = io.Tensors["outputs"].Float32s(); err != nil {
		t.Fatal(err)
	}
	m, err := classify.Open(t.Context(), path, classify.Options{Engine: e, Batch: images.Shape[0]})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var inputs [][]float32
	size := len(pixels) / images.Shape[0]
	for i := range images.Shape[0] {
		inputs = append(inputs, pixels[i*size:][:size])
	}
	rows, err := m.Logits(inputs)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(rows...), want
}

// randomWorth of the units of a supernet.
func randomWorth(s *space.Space) proxy.Units {
	r := rng.New(1, "worth")
	draw := func(n int) []float64 {
		values := make([]float64, n)
		for i := range values {
			values[i] = r.Float64()
		}
		return values
	}
	top, u := s.Supernet, proxy.Units{}
	u.Embed, u.Blocks = draw(top.EmbedDim), draw(top.Depth)
	for range top.Depth {
		u.Heads, u.Hidden = append(u.Heads, draw(top.NumHeads)), append(u.Hidden, draw(space.Hidden(top.EmbedDim, top.MLPRatio)))
	}
	return u
}

// randomConvWorth of the hidden features of a convolutional supernet.
func randomConvWorth(s *space.Space) (u proxy.ConvUnits) {
	r := rng.New(1, "worth")
	for _, b := range s.Model.ConvBlocks(s.Whole())[1:] {
		hidden, squeeze := make([]float64, b.Hidden), make([]float64, b.Squeeze)
		for _, values := range [][]float64{hidden, squeeze} {
			for i := range values {
				values[i] = r.Float64()
			}
		}
		u.Hidden, u.Squeeze = append(u.Hidden, hidden), append(u.Squeeze, squeeze)
	}
	return u
}

// A model whose units are sorted has the same outputs, to 1e-5, whatever the order: here a random
// one.
func TestOrderChangesNothing(t *testing.T) {
	folders, err := filepath.Glob(filepath.Join("testdata", "pretrained", "*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no models: %v", err)
	}
	if all := os.Getenv(libraryEnv); all != "" {
		if folders, err = filepath.Glob(filepath.Join(all, "*")); err != nil {
			t.Fatal(err)
		}
	}
	e := goEngine(t)
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			m := importedFrom(t, folder)
			s, err := shrinkableSpace(m.Info.SpaceModel(), m.Info.SpaceArch())
			if err != nil {
				t.Fatal(err)
			}
			weights, err := m.Weights()
			if err != nil {
				t.Fatal(err)
			}
			var sorted map[string]tensorfile.Tensor
			moved := []string{"blocks.0.fc1.weight", "blocks.0.attn.proj.weight", "head.weight"}
			if s.Model.IsConv() {
				sorted, err = importance.OrderConv(s, weights, randomConvWorth(s))
				moved = []string{"blocks.1.0.conv_dw.weight", "blocks.2.0.bn1.running_var", "blocks.2.0.se.conv_reduce.weight", "blocks.2.0.conv_pwl.weight"}
			} else {
				sorted, err = importance.Order(s, weights, randomWorth(s))
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range moved {
				if _, has := weights[name]; !has && strings.Contains(name, ".se.") {
					continue
				}
				if bytes.Equal(sorted[name].Data, weights[name].Data) && (name != "head.weight" || m.Info.Architecture.NumClasses != m.Info.Architecture.EmbedDim) {
					t.Errorf("%s is in the order that it was", name)
				}
			}
			after, err := export.Take(sorted, m.Info.SpaceModel(), m.Info.SpaceArch(), m.Info)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			outputs := func(name string, m *export.Model) []float32 {
				path := filepath.Join(dir, name)
				if err := m.Write(fsys.OS, path); err != nil {
					t.Fatal(err)
				}
				got, _ := outputsOf(t, e, path, folder)
				return got
			}
			if d := fixture.Difference(outputs("sorted.safetensors", after), outputs("model.safetensors", m)); d > 1e-5 {
				t.Errorf("outputs differ by %.2g of the largest", d)
			}
		})
	}
}

// importedFrom is the model of a folder of make.py.
func importedFrom(t *testing.T, folder string) *export.Model {
	t.Helper()
	weights := filepath.Join(folder, "weights.safetensors")
	if _, err := os.Stat(weights); err != nil {
		weights = filepath.Join(folder, "weights.pth")
	}
	var hints pretrained.Hints
	text, err := os.ReadFile(filepath.Join(folder, "flags.json"))
	if err == nil {
		err = json.Unmarshal(text, &hints)
	}
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "model.safetensors")
	r, err := Import(t.Context(), ImportOptions{File: weights, Form: FormAuto, Hints: hints, Out: out})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s %v, left out %v", r.Form, r.Notes, r.Skipped)
	m, err := export.Read(fsys.OS, out)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// An architecture without some blocks is timm's model of which they were deleted: its outputs are
// those of a file whose other blocks are numbered anew.
func TestWithoutBlocksIsTheModelWithThemDeleted(t *testing.T) {
	e := goEngine(t)
	folder := filepath.Join("testdata", "pretrained", "timm-distilled")
	m := importedFrom(t, folder)
	weights, err := m.Weights()
	if err != nil {
		t.Fatal(err)
	}
	a := m.Info.SpaceArch()
	depth := a.Depth()
	if depth < 2 {
		t.Fatalf("%s has %d blocks", folder, depth)
	}
	a.NumHeads, a.MLPRatio = a.NumHeads[1:], a.MLPRatio[1:]
	var kept []int
	for block := range depth {
		if block != depth-2 {
			kept = append(kept, block)
		}
	}
	without, err := export.Take(weights, m.Info.SpaceModel(), a.Keeping(kept), m.Info)
	if err != nil {
		t.Fatal(err)
	}
	if got := without.Info.CutArch(); !slices.Equal(got.Layers, kept) {
		t.Errorf("the model's name %s keeps blocks %v, not %v", without.Info.Arch, got.Layers, kept)
	}

	file, err := tensorfile.Read(filepath.Join(folder, "weights.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	deleted := map[string]tensorfile.Tensor{}
	for name, w := range file.Tensors {
		block, rest, in := strings.Cut(strings.TrimPrefix(name, "blocks."), ".")
		if number, err := strconv.Atoi(block); in && err == nil && strings.HasPrefix(name, "blocks.") {
			at := slices.Index(kept, number)
			if at < 0 {
				continue
			}
			name = "blocks." + strconv.Itoa(at) + "." + rest
		}
		deleted[name] = w
	}
	dir := t.TempDir()
	if err := tensorfile.Write(fsys.OS, filepath.Join(dir, "weights.safetensors"), &tensorfile.File{Tensors: deleted}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"flags.json", "io.safetensors", "config.json"} {
		if text, err := os.ReadFile(filepath.Join(folder, name)); err == nil {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	outputs := func(name string, m *export.Model) []float32 {
		path := filepath.Join(dir, name)
		if err := m.Write(fsys.OS, path); err != nil {
			t.Fatal(err)
		}
		got, _ := outputsOf(t, e, path, folder)
		return got
	}
	got, whole := outputs("without.safetensors", without), outputs("whole.safetensors", m)
	if d := fixture.Difference(got, outputs("deleted.safetensors", importedFrom(t, dir))); d > 1e-5 {
		t.Errorf("outputs differ by %.2g of the largest", d)
	}
	if fixture.Difference(got, whole) < 1e-3 {
		t.Error("the block does nothing")
	}
}

func goEngine(t *testing.T) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Options{Backend: "go"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}
