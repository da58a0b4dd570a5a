// Package pytorch holds a page of Python that runs exported models in PyTorch, and the
// test that it gives the same logits.
package pytorch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prenas/internal/classify"
	"prenas/internal/export"
	"prenas/internal/fixture"
	"prenas/internal/fsys"
	"prenas/internal/job"
	"prenas/internal/rng"
	"prenas/internal/space"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
)

// torchEnv names a Python interpreter that has torch, safetensors and pillow. They are
// not downloaded for the test, as PyTorch's wheel has hundreds of megabytes.
const torchEnv = "PRENAS_TORCH_PYTHON"

func python(t *testing.T) string {
	t.Helper()
	name := os.Getenv(torchEnv)
	asked := name != ""
	if !asked {
		name = "python3"
	}
	text, err := exec.Command(name, "-c", "import torch, safetensors, PIL").CombinedOutput()
	switch {
	case err != nil && asked:
		t.Fatalf("%s=%s: %v: %s", torchEnv, name, err, text)
	case err != nil:
		t.Skipf("python3 lacks torch, safetensors or pillow; %s names a Python that has", torchEnv)
	}
	return name
}

// PyTorch gives the logits of our own engine to 1e-5 of the largest, with every option of
// a ViT on, off, and mixed.
func TestLogitsAreEqual(t *testing.T) {
	interpreter := python(t)
	plain := space.Model{ImageSize: 32, PatchSize: 8, Channels: 3, NumClasses: 7, HeadDim: 16}
	full := plain
	full.RelativePosition, full.MaxRelativePosition, full.GlobalPool, full.AbsPos, full.QKVBias = true, 3, true, true, true
	clamped := plain
	clamped.Channels, clamped.RelativePosition, clamped.MaxRelativePosition, clamped.QKVBias = 1, true, 1, true
	arch := space.Arch{EmbedDim: 40, NumHeads: []int{3, 1, 2}, MLPRatio: []float64{1.5, 3, 2.2}}
	for _, m := range []space.Model{plain, full, clamped} {
		compare(t, interpreter, "logits.py", m, arch)
	}
}

// timm's own vision transformer takes the tensors as they are, where it has all that the
// architecture has.
func TestTimmTakesTheTensors(t *testing.T) {
	interpreter := python(t)
	if text, err := exec.Command(interpreter, "-c", "import timm").CombinedOutput(); err != nil {
		t.Skipf("%s has no timm: %v: %s", interpreter, err, text)
	}
	arch := space.Arch{EmbedDim: 48, NumHeads: []int{3, 3}, MLPRatio: []float64{2.5, 2.5}}
	for _, pool := range []bool{false, true} {
		m := space.Model{ImageSize: 32, PatchSize: 8, Channels: 3, NumClasses: 7, HeadDim: 16, AbsPos: true, QKVBias: true, GlobalPool: pool}
		compare(t, interpreter, "timm_logits.py", m, arch)
	}
}

// compare the logits of a script with our own engine's.
func compare(t *testing.T, interpreter, script string, m space.Model, arch space.Arch) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "model.safetensors")
	inputs, want := writeModel(t, m, arch, file)
	images, logits := filepath.Join(dir, "images"), filepath.Join(dir, "logits")
	if err := os.WriteFile(images, tensorfile.FromFloat32(nil, slices.Concat(inputs...)).Data, 0o644); err != nil {
		t.Fatal(err)
	}
	run := exec.Command(interpreter, filepath.Join("testdata", script), file, images, logits)
	if text, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	text, err := os.ReadFile(logits)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, len(text)/4)
	if _, err := binary.Decode(text, binary.LittleEndian, got); err != nil {
		t.Fatal(err)
	}
	d := fixture.Difference(got, slices.Concat(want...))
	t.Logf("%+v: logits differ by %.2g of the largest", m, d)
	if d > 1e-5 {
		t.Errorf("%+v: logits differ by %.2g of the largest", m, d)
	}
}

// The page, run on pictures of any shape, prints what prenas predict prints.
func TestPicturesAreReadAlike(t *testing.T) {
	interpreter := python(t)
	model := filepath.Join("..", "..", "pkg", "prenas", "testdata", "shapes.safetensors")
	dir := t.TempDir()
	script := []string{"prenas_vit.py", model}
	var want strings.Builder
	for i, size := range []image.Point{{16, 16}, {37, 21}, {19, 50}, {300, 199}} {
		img := image.NewNRGBA(image.Rectangle{Max: size})
		for y := range size.Y {
			for x := range size.X {
				img.Set(x, y, color.NRGBA{uint8(9 * x), uint8(7 * y), uint8(255 - 5*x), 255})
			}
		}
		path := filepath.Join(dir, fmt.Sprintf("%d.png", i))
		var file bytes.Buffer
		if err := errors.Join(png.Encode(&file, img), os.WriteFile(path, file.Bytes(), 0o644)); err != nil {
			t.Fatal(err)
		}
		script = append(script, path)
	}
	_, err := job.Predict(context.Background(), job.PredictOptions{
		Model: model, Images: script[2:], Top: 3, Backend: "go", Log: func(string) {},
		Each: func(p job.Prediction) { fmt.Fprintln(&want, p) },
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := exec.Command(interpreter, script...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if string(got) != want.String() {
		t.Errorf("PyTorch prints\n%s\nprenas predict prints\n%s", got, want.String())
	}
}

// writeModel writes a model with random weights, and returns noise and its logits.
func writeModel(t *testing.T, m space.Model, a space.Arch, path string) (inputs, logits [][]float32) {
	t.Helper()
	weights := map[string]tensorfile.Tensor{}
	for _, p := range supernet.ParamsOf(m, a) {
		size := 1
		for _, d := range p.Shape {
			size *= d
		}
		weights[p.Name] = tensorfile.FromFloat32(p.Shape, noise(size, 0.2, p.Name))
	}
	model, err := export.Take(weights, m, a, export.Info{Preprocess: export.Preprocess{
		Size: m.ImageSize, Resize: m.ImageSize, Interpolation: export.Bicubic,
		Mean: slices.Repeat([]float32{0.5}, m.Channels), Std: slices.Repeat([]float32{0.25}, m.Channels),
	}})
	if err == nil {
		err = model.Write(fsys.OS, path)
	}
	if err != nil {
		t.Fatal(err)
	}
	own, err := classify.Open(context.Background(), path, classify.Options{Batch: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	for i := range 8 {
		inputs = append(inputs, noise(m.Channels*m.ImageSize*m.ImageSize, 1, "image", uint64(i)))
	}
	if logits, err = own.Logits(inputs); err != nil {
		t.Fatal(err)
	}
	return inputs, logits
}

func noise(size int, deviation float64, name string, at ...uint64) []float32 {
	r := rng.New(1, name, at...)
	values := make([]float32, size)
	for i := range values {
		values[i] = float32(deviation * r.NormFloat64())
	}
	return values
}
