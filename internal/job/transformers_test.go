package job

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"prenas/internal/export"
	"prenas/internal/fixture"
	"prenas/internal/fsys"
	"prenas/internal/tensorfile"
)

// A model that a class of transformers can say is written as from_pretrained reads it: read back by the
// names of Hugging Face, and by transformers itself where PRENAS_TORCH_PYTHON has it, it has the outputs
// that it came with. Others are refused with all that the classes lack.
func TestExportForTransformers(t *testing.T) {
	root := filepath.Join("testdata", "pretrained")
	want := map[string]string{
		"torchvision": "ViTForImageClassification", "timm-distilled": "DeiTForImageClassificationWithTeacher", "hf-dinov2": "Dinov2ForImageClassification",
		"timm-registers-noembed": "4 registers where the class token is classified", "timm-siglip-map": "no class token; pooling attention", "conv-little-lite": "it is a convolutional network",
	}
	if all := os.Getenv(libraryEnv); all != "" {
		root, want["hf-dinov2-registers"] = all, "Dinov2WithRegistersForImageClassification"
	}
	format, err := ParseFormat("transformers", FormatOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e := goEngine(t)
	for name, what := range want {
		t.Run(name, func(t *testing.T) {
			folder, dir := filepath.Join(root, name), t.TempDir()
			ours := filepath.Join(dir, "ours.safetensors")
			m := importedFrom(t, folder)
			if err := m.Write(fsys.OS, ours); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(dir, "hf", export.TransformersFile)
			_, err := Export(t.Context(), ExportOptions{Run: ours, Format: format, Out: out, Log: func(string) {}})
			if !strings.HasSuffix(what, "Classification") && !strings.HasSuffix(what, "Teacher") {
				if !errors.Is(err, export.ErrTransformers) || !strings.Contains(err.Error(), what) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var config struct{ Architectures []string }
			text, err := os.ReadFile(filepath.Join(dir, "hf", "config.json"))
			if err == nil {
				err = json.Unmarshal(text, &config)
			}
			if err != nil || len(config.Architectures) != 1 || config.Architectures[0] != what {
				t.Errorf("%v: %s", err, text)
			}
			back := filepath.Join(dir, "back.safetensors")
			r, err := Import(t.Context(), ImportOptions{File: out, Form: FormAuto, Out: back})
			if err != nil {
				t.Fatal(err)
			}
			if notes := strings.Join(r.Notes, " "); r.Form != "Hugging Face" || strings.Contains(notes, "heads") || strings.Contains(notes, "epsilon") || strings.Contains(notes, "normalised") {
				t.Errorf("its config does not say all: %s %q", r.Form, r.Notes)
			}
			compareOutputs(t, e, back, folder)
			compareTransformers(t, filepath.Join(dir, "hf"), folder)
		})
	}
	if _, err := Export(t.Context(), ExportOptions{Run: filepath.Join(t.TempDir(), "x.safetensors"), Format: format, Out: "vit.safetensors"}); err == nil {
		t.Error("a file of another name is written")
	}
}

// compareTransformers compares what from_pretrained reads from dir with the outputs of folder.
func compareTransformers(t *testing.T, dir, folder string) {
	t.Helper()
	python := os.Getenv("PRENAS_TORCH_PYTHON")
	if python == "" || exec.Command(python, "-c", "import transformers").Run() != nil {
		return
	}
	const script = `
import json, sys, transformers, torch
from safetensors.torch import load_file, save_file
dir, io, out = sys.argv[1:]
name = json.load(open(dir + "/config.json"))["architectures"][0]
model, info = getattr(transformers, name).from_pretrained(dir, output_loading_info=True)
assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], info
processor = transformers.AutoImageProcessor.from_pretrained(dir)
with torch.no_grad():
    save_file({"outputs": model.eval()(pixel_values=load_file(io)["images"]).logits.contiguous()}, out)
`
	out := filepath.Join(t.TempDir(), "out.safetensors")
	if text, err := exec.Command(python, "-c", script, dir, filepath.Join(folder, "io.safetensors"), out).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	outputs := func(path string) []float32 {
		file, err := tensorfile.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		values, err := file.Tensors["outputs"].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		return values
	}
	if d := fixture.Difference(outputs(out), outputs(filepath.Join(folder, "io.safetensors"))); d > 1e-4 {
		t.Errorf("transformers' outputs differ by %.2g of the largest", d)
	}
}
