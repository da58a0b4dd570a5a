package pretrained

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prenas/internal/tensorfile"
	"prenas/pkg/space"
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
		"two norms": {func(w map[string]tensorfile.Tensor) { w["bn2.weight"] = zeros(40) }, config{}, []string{"norm behind the layer that mixes"}},
		"no norm": {func(w map[string]tensorfile.Tensor) {
			delete(w, "blocks.6.0.conv.weight")
			delete(w, "conv_head.weight")
		}, config{}, []string{"no convolution with a norm before the mean", "no layer between"}},
		"activation": {func(map[string]tensorfile.Tensor) {}, config{convActivation: "gelu"}, []string{"activation gelu"}},
		"two firsts": {func(w map[string]tensorfile.Tensor) { delete(w, "blocks.1.0.conv_pwl.weight") }, config{}, []string{"more than one block that does not expand"}},
		"no squeeze": {func(w map[string]tensorfile.Tensor) {
			for name := range w {
				if strings.Contains(name, ".se.") {
					delete(w, name)
				}
			}
		}, config{}, []string{"strides and activations are not in the file", "MobileNetV3-Small, ", "1 of kernel 3 to 8 features"}},
		"first": {func(w map[string]tensorfile.Tensor) { w["blocks.0.0.se.conv_reduce.weight"] = zeros(8, 8, 1, 1) }, config{}, []string{"those of no network that is known"}},
		"even":  {func(w map[string]tensorfile.Tensor) { w["blocks.1.0.conv_dw.weight"] = zeros(16, 1, 4, 4) }, config{}, []string{"odd side"}},
		"more":  {func(w map[string]tensorfile.Tensor) { w["blocks.1.0.attn.weight"] = zeros(3) }, config{}, []string{"1 more tensor", "attn"}},
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

// What no tensor shows is that of a known network, whose name is told; flags and a config beside the file change it.
func TestSkeletonsAreToldAndChanged(t *testing.T) {
	lite := func() map[string]tensorfile.Tensor {
		file, err := tensorfile.Read(filepath.Join("..", "job", "testdata", "pretrained", "conv-little-lite", "weights.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return file.Tensors
	}
	for name, c := range map[string]struct {
		hints                     Hints
		config                    config
		padding, activation, note string
	}{
		"plain":  {Hints{}, config{}, "", space.ReLU6, "strides and activations of EfficientNet-lite, with padding on all sides alike (activation, padding)"},
		"config": {Hints{}, config{arch: "tf_efficientnet_lite0", same: true}, space.PaddingSame, space.ReLU6, "batch norms of epsilon 0.001"},
		"flags":  {Hints{Padding: space.PaddingSame, Activation: space.HardSwish}, config{}, space.PaddingSame, space.HardSwish, "strides of EfficientNet-lite (activation"},
		"over":   {Hints{Padding: PaddingSymmetric}, config{arch: "tf_efficientnet_lite0", same: true, convActivation: space.SiLU}, "", space.SiLU, "strides of EfficientNet-lite (activation"},
	} {
		m, err := read(lite(), c.hints, c.config)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		has := m.Model.Conv
		if m.Family != "EfficientNet-lite of timm" || has.Padding != c.padding || has.Activation != c.activation || !strings.Contains(strings.Join(m.Notes, " "), c.note) {
			t.Errorf("%s: %s, padding %q, activation %q: %q", name, m.Family, has.Padding, has.Activation, m.Notes)
		}
	}
}

// Blocks that are numbered through, of half the width, where two units have the same: torchvision's
// mobilenet_v3_small at width_mult 0.5.
func TestUnitsOfOneWidthAreSplitAsPublished(t *testing.T) {
	w := map[string]tensorfile.Tensor{
		"features.0.0.weight": zeros(16, 3, 3, 3), "features.12.0.weight": zeros(288, 48, 1, 1), "classifier.0.weight": zeros(512, 288), "classifier.0.bias": zeros(512),
		"classifier.3.weight": zeros(5, 512), "classifier.3.bias": zeros(5),
	}
	norm := func(name string, size int) {
		for _, part := range []string{".weight", ".bias", ".running_mean", ".running_var"} {
			w[name+part] = zeros(size)
		}
	}
	norm("features.0.1", 16)
	norm("features.12.1", 288)
	in := 16
	for i, b := range []struct{ hidden, out, kernel, squeeze int }{
		{16, 8, 3, 8}, {40, 16, 3, 0}, {56, 16, 3, 0}, {64, 24, 5, 16}, {144, 24, 5, 40}, {144, 24, 5, 40}, {72, 24, 5, 24}, {72, 24, 5, 24}, {144, 48, 5, 40}, {288, 48, 5, 72}, {288, 48, 5, 72},
	} {
		part := 0
		next := func() string { part++; return fmt.Sprintf("features.%d.block.%d", i+1, part-1) }
		if i > 0 {
			name := next()
			w[name+".0.weight"] = zeros(b.hidden, in, 1, 1)
			norm(name+".1", b.hidden)
		}
		name := next()
		w[name+".0.weight"] = zeros(b.hidden, 1, b.kernel, b.kernel)
		norm(name+".1", b.hidden)
		if b.squeeze > 0 {
			name = next()
			w[name+".fc1.weight"], w[name+".fc1.bias"] = zeros(b.squeeze, b.hidden, 1, 1), zeros(b.squeeze)
			w[name+".fc2.weight"], w[name+".fc2.bias"] = zeros(b.hidden, b.squeeze, 1, 1), zeros(b.hidden)
		}
		name = next()
		w[name+".0.weight"] = zeros(b.out, b.hidden, 1, 1)
		norm(name+".1", b.out)
		in = b.out
	}
	m, err := read(w, Hints{ImageSize: 32}, config{})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Arch.String(); m.Family != "MobileNetV3-Small of torchvision" || !strings.HasPrefix(got, "i32-d2_3_2_3-k3x2_5x8-") {
		t.Errorf("%s is %s", m.Family, got)
	}
}

// Names of other codes are timm's after the renames: MobileNetV2 and EfficientNet of torchvision, whose parts
// are told by those beside them, and efficientnet-pytorch's.
func TestConvolutionalNames(t *testing.T) {
	depthwise := zeros(8, 1, 3, 3)
	check := func(renamed map[string]tensorfile.Tensor, want []string) {
		t.Helper()
		if got := slices.Sorted(maps.Keys(renamed)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("names are %q, not %q", got, want)
		}
	}
	check(torchvisionNames(map[string]tensorfile.Tensor{
		"features.0.0.weight": zeros(8, 3, 3, 3), "features.0.1.bias": zeros(8),
		"features.1.conv.0.0.weight": depthwise, "features.1.conv.0.1.weight": zeros(8), "features.1.conv.1.weight": zeros(8, 8, 1, 1), "features.1.conv.2.running_var": zeros(8),
		"features.2.conv.0.0.weight": zeros(16, 8, 1, 1), "features.2.conv.0.1.bias": zeros(16), "features.2.conv.1.0.weight": zeros(16, 1, 3, 3), "features.2.conv.1.1.weight": zeros(16),
		"features.2.conv.2.weight": zeros(8, 16, 1, 1), "features.2.conv.3.running_mean": zeros(8),
		"features.18.0.weight": zeros(40, 8, 1, 1), "features.18.1.weight": zeros(40), "classifier.1.weight": zeros(5, 40),
	}), []string{"conv_stem.weight", "bn1.bias", "blocks.1.0.conv_dw.weight", "blocks.1.0.bn1.weight", "blocks.1.0.conv_pw.weight", "blocks.1.0.bn2.running_var",
		"blocks.2.0.conv_pw.weight", "blocks.2.0.bn1.bias", "blocks.2.0.conv_dw.weight", "blocks.2.0.bn2.weight", "blocks.2.0.conv_pwl.weight", "blocks.2.0.bn3.running_mean",
		"conv_head.weight", "bn2.weight", "classifier.weight"})
	check(torchvisionNames(map[string]tensorfile.Tensor{
		"features.1.0.block.0.0.weight": depthwise, "features.1.0.block.1.fc1.weight": zeros(2, 8, 1, 1), "features.1.0.block.2.0.weight": zeros(8, 8, 1, 1), "features.1.0.block.2.1.bias": zeros(8),
		"features.2.1.block.0.0.weight": zeros(16, 8, 1, 1), "features.2.1.block.1.0.weight": zeros(16, 1, 3, 3), "features.2.1.block.2.fc2.bias": zeros(16),
		"features.2.1.block.2.fc1.weight": zeros(2, 16, 1, 1), "features.2.1.block.3.0.weight": zeros(8, 16, 1, 1), "features.2.1.block.3.1.weight": zeros(8),
	}), []string{"blocks.1.0.conv_dw.weight", "blocks.1.0.se.conv_reduce.weight", "blocks.1.0.conv_pw.weight", "blocks.1.0.bn2.bias",
		"blocks.2.1.conv_pw.weight", "blocks.2.1.conv_dw.weight", "blocks.2.1.se.conv_expand.bias", "blocks.2.1.se.conv_reduce.weight", "blocks.2.1.conv_pwl.weight", "blocks.2.1.bn3.weight"})
	r := root{family: &convFamilies[slices.IndexFunc(convFamilies, func(f family) bool { return f.name == "efficientnet-pytorch" })]}
	own, _, err := r.plain(map[string]tensorfile.Tensor{
		"_conv_stem.weight": zeros(8, 3, 3, 3), "_bn0.weight": zeros(8), "_blocks.0._depthwise_conv.weight": depthwise, "_blocks.0._bn1.weight": zeros(8), "_blocks.0._bn2.weight": zeros(8),
		"_blocks.0._project_conv.weight": zeros(8, 8, 1, 1), "_blocks.1._expand_conv.weight": zeros(16, 8, 1, 1), "_blocks.1._bn0.bias": zeros(16), "_blocks.1._se_reduce.bias": zeros(2),
		"_blocks.1._bn2.bias": zeros(8), "_conv_head.weight": zeros(40, 8, 1, 1), "_bn1.weight": zeros(40), "_fc.bias": zeros(5),
	})
	if err != nil {
		t.Fatal(err)
	}
	check(own, []string{"conv_stem.weight", "bn1.weight", "blocks.0.0.conv_dw.weight", "blocks.0.0.bn1.weight", "blocks.0.0.bn2.weight", "blocks.0.0.conv_pw.weight",
		"blocks.1.0.conv_pw.weight", "blocks.1.0.bn1.bias", "blocks.1.0.se.conv_reduce.bias", "blocks.1.0.bn3.bias", "conv_head.weight", "bn2.weight", "classifier.bias"})
}
