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
	"math"
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
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
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
// both families on, off, and mixed.
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
	conv := convModel()
	compare(t, interpreter, "logits.py", conv, parse(t, "i27-d2_1x2-k3_5_3_7-x2_3_1.5_4"))
	conv.Conv.StemStride, conv.Conv.MixBias, conv.Channels = 1, false, 1
	compare(t, interpreter, "logits.py", conv, parse(t, "i20-d1x3-k3_5x2-x2x2_1"))
	lite := convModel()
	lite.Conv.Activation, lite.Conv.Padding, lite.Conv.Mix, lite.Conv.MixBias, lite.Conv.First.Width = space.ReLU6, space.PaddingSame, 0, false, 16
	lite.Conv.Units[2].HSwish = false
	compare(t, interpreter, "logits.py", lite, parse(t, "i28-d2_1x2-k3_5_3_7-x2_3_1.5_4"))
	net := convModel()
	net.Conv.Activation, net.Conv.Squeeze, net.Conv.First = space.SiLU, space.SqueezeEfficientNet, space.ConvFirst{Stride: 2, SqueezeExcite: true}
	net.Conv.Units[2].HSwish = false
	compare(t, interpreter, "logits.py", net, parse(t, "i28-d2_1x2-k3_5_3_7-x2_3_1.5_4"))
	rw := convModel()
	rw.Conv.Squeeze, rw.Conv.First = space.SqueezeRW, space.ConvFirst{SqueezeExcite: true, NoSkip: true}
	compare(t, interpreter, "logits.py", rw, parse(t, "i28-d2_1x2-k3_5_3_7-x2_3_1.5_4"))
}

// convModel is a small convolutional network's.
func convModel() space.Model {
	return space.Model{ImageSize: 32, Channels: 3, NumClasses: 7, Conv: space.ConvModel{
		Stem: 8, StemStride: 2, Features: 32, Mix: 24, MixBias: true,
		Units: []space.ConvUnit{{Width: 16, Stride: 2}, {Width: 16, Stride: 1, SqueezeExcite: true}, {Width: 24, Stride: 2, HSwish: true, SqueezeExcite: true}},
	}}
}

func parse(t *testing.T, text string) space.Arch {
	t.Helper()
	a, err := space.ParseArch(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// timm's own classes take the tensors as they are, where they have all that the
// architecture has; mobilenetv3_large_100 among them.
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
	compare(t, interpreter, "timm_logits.py", convModel(), parse(t, "i27-d2_1x2-k3_5_3_7-x2_3_1.5_4"))
	large := space.DefaultConvModel()
	large.Conv.MixBias = true
	compare(t, interpreter, "timm_logits.py", large, parse(t, "i224-d2_3_4_2_3-k3x2_5x3_3x6_5x3-x4_3x4_6_2.5_2.3x2_6x5"))
}

// compare the logits of a script with our own engine's.
func compare(t *testing.T, interpreter, script string, m space.Model, arch space.Arch) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "model.safetensors")
	inputs, want := writeModel(t, m, arch, file)
	given, logits := filepath.Join(dir, "images"), filepath.Join(dir, "logits")
	if err := os.WriteFile(given, tensorfile.FromFloat32(nil, slices.Concat(inputs...)).Data, 0o644); err != nil {
		t.Fatal(err)
	}
	run := exec.Command(interpreter, filepath.Join("testdata", script), file, given, logits)
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
	t.Logf("%s: logits differ by %.2g of the largest", arch, d)
	if d > 1e-5 {
		t.Errorf("%s of %+v: logits differ by %.2g of the largest", arch, m, d)
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

// images of a comparison.
const images = 4

// writeModel writes a model with random weights, and returns noise and its logits.
func writeModel(t *testing.T, m space.Model, a space.Arch, path string) (inputs, logits [][]float32) {
	t.Helper()
	weights := map[string]tensorfile.Tensor{}
	for _, p := range slices.Concat(supernet.ParamsOf(m, a), supernet.Stats(m, a)) {
		size := 1
		for _, d := range p.Shape {
			size *= d
		}
		middle, deviation := float32(0), 0.2
		switch {
		case strings.HasSuffix(p.Name, ".running_var") || m.IsConv() && len(p.Shape) == 1 && strings.HasSuffix(p.Name, ".weight"):
			middle, deviation = 1, 0.1
		case m.IsConv() && len(p.Shape) > 1: // keeps features about as large as they come, through all layers
			deviation = math.Sqrt(1.5 * float64(p.Shape[0]) / float64(size))
		}
		values := noise(size, deviation, p.Name)
		for i := range values {
			values[i] += middle
		}
		weights[p.Name] = tensorfile.FromFloat32(p.Shape, values)
	}
	side := m.Side(a)
	model, err := export.Take(weights, m, a, export.Info{Preprocess: export.Preprocess{
		Size: side, Resize: side, Interpolation: export.Bicubic,
		Mean: slices.Repeat([]float32{0.5}, m.Channels), Std: slices.Repeat([]float32{0.25}, m.Channels),
	}})
	if err == nil {
		err = model.Write(fsys.OS, path)
	}
	if err != nil {
		t.Fatal(err)
	}
	own, err := classify.Open(context.Background(), path, classify.Options{Batch: images})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	for i := range images {
		inputs = append(inputs, noise(m.Channels*side*side, 1, "image", uint64(i)))
	}
	if logits, err = own.Logits(inputs); err != nil {
		t.Fatal(err)
	}
	if d := fixture.Difference(logits[0], logits[1]); d < 0.02 {
		t.Fatalf("%s: logits of two images differ by %.2g of the largest: a test of them shows nothing", a, d)
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
