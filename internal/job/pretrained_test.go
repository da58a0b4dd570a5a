package job

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"prenas/internal/classify"
	"prenas/internal/engine"
	"prenas/internal/export"
	"prenas/internal/fixture"
	"prenas/internal/fsys"
	"prenas/internal/importance"
	"prenas/internal/pretrained"
	"prenas/internal/rng"
	"prenas/internal/tensorfile"
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
	e, err := engine.Open(t.Context(), engine.Options{Backend: "go"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
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
	io, err := tensorfile.Read(filepath.Join(folder, "io.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	images, outputs := io.Tensors["images"], io.Tensors["outputs"]
	pixels, err := images.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	want, err := outputs.Float32s()
	if err != nil {
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
	var got []float32
	for _, row := range rows {
		got = append(got, row...)
	}
	if len(got) != len(want) {
		t.Fatalf("%d outputs, the library has %d", len(got), len(want))
	}
	if d := fixture.Difference(got, want); d > 1e-4 {
		t.Errorf("%s: outputs differ from the library's by %.2g of the largest", filepath.Base(path), d)
	}
}

// A model whose units are sorted has the same outputs, whatever the order: here that of
// gradients drawn at random.
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
	e, err := engine.Open(t.Context(), engine.Options{Backend: "go"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			m := importedFrom(t, folder)
			s, err := shrinkable(m.Info.SpaceModel(), m.Info.SpaceArch())
			if err != nil {
				t.Fatal(err)
			}
			weights, err := m.Weights()
			if err != nil {
				t.Fatal(err)
			}
			gradients := map[string]tensorfile.Tensor{}
			for name, w := range weights {
				r, values := rng.New(1, name), make([]float32, len(w.Data)/4)
				for i := range values {
					values[i] = float32(r.NormFloat64())
				}
				gradients[name] = tensorfile.FromFloat32(w.Shape, values)
			}
			sorted, err := importance.Order(s, weights, gradients)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"blocks.0.fc1.weight", "blocks.0.attn.proj.weight", "head.weight"} {
				if bytes.Equal(sorted[name].Data, weights[name].Data) && (name != "head.weight" || m.Info.Architecture.NumClasses != m.Info.Architecture.EmbedDim) {
					t.Errorf("%s is in the order that it was", name)
				}
			}
			after, err := export.Take(sorted, m.Info.SpaceModel(), m.Info.SpaceArch(), m.Info)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "sorted.safetensors")
			if err := after.Write(fsys.OS, path); err != nil {
				t.Fatal(err)
			}
			compareOutputs(t, e, path, folder)
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
