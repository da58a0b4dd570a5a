package pretrained

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"prenas/internal/tensorfile"
)

// littleConv is a MobileNetV3 that timm saved.
func littleConv(t *testing.T) map[string]tensorfile.Tensor {
	t.Helper()
	file, err := tensorfile.Read(filepath.Join("..", "job", "testdata", "pretrained", "conv-little-timm", "weights.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return file.Tensors
}

// Strides and activations are in no tensor, so only what is known to have MobileNetV3-Large's
// is taken, and they are told; what else a network has is refused by name, all of it.
func TestConvolutionalNamesWhatIsMissing(t *testing.T) {
	m, err := read(littleConv(t), Hints{ImageSize: 32}, config{})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Arch.String(); got != "i32-d1_2_1_2_1-k3_5x2_3x3_5-x2_3x2_2x4" {
		t.Errorf("architecture %s", got)
	}
	if notes := strings.Join(m.Notes, " "); !strings.Contains(notes, "strides and activations") || !strings.Contains(notes, "norm-eps") {
		t.Errorf("notes: %s", notes)
	}
	for name, c := range map[string]struct {
		change func(w map[string]tensorfile.Tensor)
		config config
		says   []string
	}{
		"EfficientNet's head": {func(w map[string]tensorfile.Tensor) {
			w["bn2.weight"] = zeros(40)
			w["blocks.0.0.conv_pw.weight"] = zeros(16, 8, 1, 1)
		}, config{}, []string{"EfficientNet's head", "another width than the stem (16, 8)"}},
		"TensorFlow": {func(map[string]tensorfile.Tensor) {}, config{arch: "tf_mobilenetv3_large_100"}, []string{"padding on one side"}},
		"no squeeze": {func(w map[string]tensorfile.Tensor) {
			for name := range w {
				if strings.Contains(name, ".se.") {
					delete(w, name)
				}
			}
		}, config{}, []string{"strides and activations of its 3 units are not in the file"}},
		"first": {func(w map[string]tensorfile.Tensor) { w["blocks.0.0.se.conv_reduce.weight"] = zeros(8, 8, 1, 1) }, config{}, []string{"squeeze-excite in the first block"}},
		"even":  {func(w map[string]tensorfile.Tensor) { w["blocks.1.0.conv_dw.weight"] = zeros(16, 1, 4, 4) }, config{}, []string{"odd side"}},
		"more":  {func(w map[string]tensorfile.Tensor) { w["blocks.1.0.attn.weight"] = zeros(3) }, config{}, []string{"1 more tensors", "attn"}},
		"gap": {func(w map[string]tensorfile.Tensor) {
			for name, t := range w {
				if rest, is := strings.CutPrefix(name, "blocks.2.1."); is {
					delete(w, name)
					w["blocks.2.5."+rest] = t
				}
			}
		}, config{}, []string{"block 2.5 comes after 2.0"}},
		"eps": {func(w map[string]tensorfile.Tensor) { w["bn1.running_var"] = zeros(7) }, config{}, []string{"bn1.running_var"}},
	} {
		w := littleConv(t)
		c.change(w)
		_, err := read(w, Hints{}, c.config)
		if !errors.Is(err, ErrFile) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, text := range c.says {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v lacks %q", name, err, text)
			}
		}
	}
}

// A batch norm of a smaller epsilon than ours whose variance would be less than nothing is refused.
func TestEpsilonWithoutARoot(t *testing.T) {
	w := littleConv(t)
	w["bn1.running_var"] = zeros(8)
	if _, err := read(w, Hints{NormEps: 1e-6}, config{}); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), "bn1.running_var") {
		t.Errorf("%v", err)
	}
	if _, err := read(w, Hints{NormEps: 1e-3}, config{}); err != nil {
		t.Errorf("%v", err)
	}
}

// EfficientNet-lite as the package efficientnet-pytorch names it is known, and refused by what is missing.
func TestEfficientNetIsRefusedByItsFeatures(t *testing.T) {
	w := map[string]tensorfile.Tensor{"_conv_stem.weight": zeros(32, 3, 3, 3), "_conv_head.weight": zeros(1280, 24, 1, 1), "_fc.weight": zeros(10, 1280)}
	for name, shape := range map[string][]int{
		"0._depthwise_conv": {32, 1, 3, 3}, "0._project_conv": {16, 32, 1, 1},
		"1._expand_conv": {96, 16, 1, 1}, "1._depthwise_conv": {96, 1, 3, 3}, "1._project_conv": {24, 96, 1, 1},
	} {
		w["_blocks."+name+".weight"] = zeros(shape...)
	}
	for _, norm := range []string{"_bn0", "_blocks.0._bn1", "_blocks.0._bn2", "_blocks.1._bn0", "_blocks.1._bn1", "_blocks.1._bn2", "_bn1"} {
		w[norm+".weight"] = zeros(8)
	}
	_, err := read(w, Hints{}, config{})
	if !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), "EfficientNet's head") || !strings.Contains(err.Error(), "another width than the stem (16, 32)") || strings.Contains(err.Error(), "more tensors") {
		t.Errorf("%v", err)
	}
}
