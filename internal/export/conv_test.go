package export_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prenas/internal/export"
	"prenas/internal/fixture"
	"prenas/internal/fsys"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// convSpace is a small space with more keys of its MODEL block.
func convSpace(t *testing.T, options string) *space.Space {
	t.Helper()
	s, err := space.Parse("conv", "conv", []byte(`
FAMILY: conv
SUPERNET: {DEPTH: 2, KERNEL: 5, EXPAND: 3}
SEARCH_SPACE: {DEPTH: [1, 2], KERNEL: [3, 5], EXPAND: [1.5, 2, 3], RESOLUTION: [13, 20]}
MODEL: {IMAGE_SIZE: 20, CHANNELS: 2, NUM_CLASSES: 5, STEM: 8, WIDTH: [8, 16], STRIDE: [2, 1], SQUEEZE_EXCITE: [true, false], H_SWISH: [false, true], FEATURES: 24, MIX: 16, `+options+`}
`))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parseArch(t *testing.T, text string) space.Arch {
	t.Helper()
	a, err := space.ParseArch(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func floats(t *testing.T, x tensorfile.Tensor) []float32 {
	t.Helper()
	values, err := x.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// The names and shapes of timm's mobilenetv3_large_100 are those of the same
// architecture, taken out of once-for-all's space.
func TestTensorsAreTimmsMobileNetV3(t *testing.T) {
	s, err := space.Load("conv")
	if err != nil {
		t.Fatal(err)
	}
	s.Model.Conv.MixBias = true
	a := parseArch(t, "i224-d2_3_4_2_3-k3x2_5x3_3x6_5x3-x4_3x4_6_2.5_2.3x2_6x5")
	model, err := export.Take(random(supernet.New(s), a), s.Model, a, about(s.Model, a))
	if err != nil {
		t.Fatal(err)
	}
	if model.Info.Parameters != 5483032 {
		t.Errorf("%d parameters, timm has 5483032", model.Info.Parameters)
	}
	var got []string
	for name, x := range model.Tensors {
		got = append(got, name+" "+strings.ReplaceAll(strings.Trim(fmt.Sprint(x.Shape), "[]"), " ", "x"))
	}
	slices.Sort(got)
	text, err := os.ReadFile(filepath.Join("testdata", "mobilenetv3_large_100.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Split(strings.TrimSpace(string(text)), "\n"); !slices.Equal(got, want) {
		t.Errorf("tensors\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// timm's own model and this package's, with the same tensors, have the same logits.
func TestLogitsAreTimms(t *testing.T) {
	file, err := tensorfile.Read(filepath.Join("testdata", "timm.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	images, want := file.Tensors["images"], file.Tensors["logits"]
	delete(file.Tensors, "images")
	delete(file.Tensors, "logits")
	s := convSpace(t, "MIX_BIAS: true")
	a := parseArch(t, file.Metadata["arch"])
	model, err := export.Take(file.Tensors, s.Model, a, about(s.Model, a))
	if err != nil {
		t.Fatal(err)
	}
	if len(model.Tensors) != len(file.Tensors) {
		t.Errorf("%d tensors, timm has %d", len(model.Tensors), len(file.Tensors))
	}
	got := tensorfile.Tensor{DType: tensorfile.F32, Shape: want.Shape, Data: logits(t, model.Net(), a, model.Tensors, images)}
	if d := fixture.Difference(floats(t, got), floats(t, want)); d > 1e-5 {
		t.Errorf("logits differ by %.2g of the largest", d)
	}
}

// A kernel is the middle of the supernet's.
func TestKernelsAreTheMiddle(t *testing.T) {
	s := convSpace(t, "")
	a := parseArch(t, "i13-d1x2-k3x2-x1.5x2")
	weights := random(supernet.New(s), a)
	ramp := make([]float32, 24*25) // entry [feature, row, column] is 100·feature + 10·row + column
	for i := range ramp {
		ramp[i] = float32(i/25*100 + i/5%5*10 + i%5)
	}
	weights["blocks.1.0.conv_dw.weight"] = tensorfile.FromFloat32([]int{24, 1, 5, 5}, ramp)
	model, err := export.Take(weights, s.Model, a, about(s.Model, a))
	if err != nil {
		t.Fatal(err)
	}
	kernels := model.Tensors["blocks.1.0.conv_dw.weight"]
	if got, want := floats(t, kernels)[9:18], []float32{111, 112, 113, 121, 122, 123, 131, 132, 133}; !slices.Equal(kernels.Shape, []int{16, 1, 3, 3}) || !slices.Equal(got, want) {
		t.Errorf("kernels %v, the second %v, want %v", kernels.Shape, got, want)
	}
}

// A model of a smaller resolution takes images of its own size, and says of them what the
// supernet says of the images that it makes smaller by itself.
func TestModelTakesItsOwnResolution(t *testing.T) {
	s := convSpace(t, "KERNEL_TRANSFORM: true")
	net, a := supernet.New(s), parseArch(t, "i13-d2_1-k3_5_3-x2x3")
	weights := random(net, a)
	folded, err := net.Fold(weights, a)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range supernet.Stats(s.Model, a) {
		folded[p.Name] = weights[p.Name]
	}
	if _, err := export.Take(weights, s.Model, a, about(s.Model, a)); !errors.Is(err, export.ErrArch) {
		t.Errorf("kernels that are not folded: %v", err)
	}
	model := reread(t, folded, s.Model.Plain(), a)
	if info := model.Info; info.Preprocess.Size != 13 || info.Architecture.ImageSize != 13 {
		t.Fatalf("the model takes %d and %d pixels, want 13", info.Preprocess.Size, info.Architecture.ImageSize)
	}
	large := noise([]int{3, 2, 20, 20}, "images")
	matrix, pixels := supernet.ResizeMatrix(20, 13), floats(t, large)
	small := make([]float32, 3*2*13*13)
	for i := range small {
		plane, row, column, sum := i/169, i/13%13, i%13, 0.0
		for y := range 20 {
			for x := range 20 {
				sum += float64(matrix[row*20+y]) * float64(matrix[column*20+x]) * float64(pixels[plane*400+y*20+x])
			}
		}
		small[i] = float32(sum)
	}
	alone, err := model.Weights()
	if err != nil {
		t.Fatal(err)
	}
	read := func(data []byte) []float32 {
		return floats(t, tensorfile.Tensor{DType: tensorfile.F32, Shape: []int{len(data) / 4}, Data: data})
	}
	got := read(logits(t, model.Net(), a, alone, tensorfile.FromFloat32([]int{3, 2, 13, 13}, small)))
	if d := fixture.Difference(got, read(logits(t, net, a, weights, large))); d > 1e-5 {
		t.Errorf("logits differ by %.2g of the largest", d)
	}
	if d := fixture.Difference(got[:5], got[5:10]); d < 1e-2 {
		t.Errorf("logits of two images differ by only %.2g of the largest", d)
	}
}

// Statistics that are missing, of another architecture, or impossible are refused.
func TestTakeNeedsTheArchitecturesStatistics(t *testing.T) {
	s := convSpace(t, "")
	a := s.Smallest()
	for name, c := range map[string]struct {
		spoil func(map[string]tensorfile.Tensor)
		says  string
	}{
		"missing": {func(w map[string]tensorfile.Tensor) { delete(w, "blocks.1.0.bn1.running_mean") }, `"blocks.1.0.bn1.running_mean"`},
		"others": {func(w map[string]tensorfile.Tensor) {
			w["blocks.1.0.bn1.running_var"] = w["blocks.3.0.bn1.running_var"]
		}, "[24]"},
		"negative": {func(w map[string]tensorfile.Tensor) { w["bn1.running_var"] = noise([]int{8}, "negative") }, `"bn1.running_var"`},
	} {
		weights := random(supernet.New(s), a)
		c.spoil(weights)
		if _, err := export.Take(weights, s.Model, a, about(s.Model, a)); !errors.Is(err, export.ErrArch) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Descriptions that contradict themselves are refused, and so are other tensors.
func TestReadRefusesConv(t *testing.T) {
	s := convSpace(t, "")
	a := s.Draw(rng.New(2, "mixed"))
	for name, c := range map[string]struct {
		spoil func(*export.Model)
		says  string
	}{
		"missing tensor": {func(m *export.Model) { delete(m.Tensors, "blocks.2.0.bn3.running_mean") }, `tensor "blocks.2.0.bn3.running_mean" is missing`},
		"not a number": {func(m *export.Model) {
			m.Tensors["bn1.running_var"] = tensorfile.FromFloat32([]int{8}, slices.Repeat([]float32{float32(math.NaN())}, 8))
		}, "variances"},
		"other architecture": {func(m *export.Model) { m.Info.Arch = s.Largest().String() }, "another"},
		"of another family":  {func(m *export.Model) { m.Info.Arch = "e16-h1-r1" }, "another"},
		"other kind":         {func(m *export.Model) { m.Info.Kind = "vit" }, "another"},
		"keys of both":       {func(m *export.Model) { m.Info.Architecture.ViT = &export.ViT{} }, "another"},
		"other width":        {func(m *export.Model) { m.Info.Architecture.Units[0].Blocks[0].Hidden++ }, "unit 0"},
		"no squeeze":         {func(m *export.Model) { m.Info.Architecture.Units[0].Blocks[0].Squeeze = 0 }, "unit 0"},
		"one unit less":      {func(m *export.Model) { m.Info.Architecture.Units = m.Info.Architecture.Units[1:] }, "another"},
		"no units":           {func(m *export.Model) { m.Info.Architecture.Units = nil }, "another"},
		"no stride":          {func(m *export.Model) { m.Info.Architecture.Units[1].Stride = 0 }, "STRIDE"},
		"other epsilon":      {func(m *export.Model) { m.Info.Architecture.NormEps = 1e-3 }, "norm_eps"},
		"other resolution":   {func(m *export.Model) { m.Info.Architecture.ImageSize = 20 + 13 - m.Info.Architecture.ImageSize }, "another"},
		"other input":        {func(m *export.Model) { m.Info.Preprocess.Size++ }, "preprocess.size"},
		"huge": {func(m *export.Model) {
			m.Info.Architecture.ImageSize, m.Info.Preprocess.Size, m.Info.Preprocess.Resize = 8192, 8192, 8192
			m.Info.Arch = strings.Replace(m.Info.Arch, m.Info.Arch[:3], "i8192", 1)
		}, "8192 pixels"},
	} {
		path := filepath.Join(t.TempDir(), "model.safetensors")
		model, err := export.Take(random(supernet.New(s), a), s.Model, a, about(s.Model, a))
		if err != nil {
			t.Fatal(err)
		}
		c.spoil(model)
		if err := model.Write(fsys.OS, path); err != nil {
			t.Fatal(err)
		}
		if _, err := export.Read(fsys.OS, path); !errors.Is(err, export.ErrModel) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConvCard(t *testing.T) {
	s := convSpace(t, "")
	a := parseArch(t, "i13-d2_1-k3_5_3-x2x3")
	model, err := export.Take(random(supernet.New(s), a), s.Model, a, about(s.Model, a))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	set := fsys.NewSet(fsys.OS)
	defer set.Discard()
	err = export.WriteSiblings(set, path, export.Card{Info: model.Info, File: "model.onnx"})
	if err == nil {
		err = set.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	card, err := os.ReadFile(path + ".md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"[batch, 2, 13, 13]", "stem of 8 features with stride 2",
		"\n| 0 | 8 | 2 | ReLU | 0 | 3 | 16 | 8 |\n| 0 | 8 | 1 | ReLU | 1 | 5 | 16 | 8 |\n| 1 | 16 | 1 | h-swish | 0 | 3 | 16 | no |\n\n## Training",
	} {
		if !strings.Contains(string(card), want) {
			t.Errorf("the card lacks %q:\n%s", want, card)
		}
	}
}
