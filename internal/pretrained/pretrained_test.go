package pretrained

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"prenas/internal/tensorfile"
)

// little is a ViT of timm with one block of 8 features and patches of 2 pixels, 2 x 2 of them.
func little() map[string]tensorfile.Tensor {
	out := map[string]tensorfile.Tensor{}
	add := func(name string, shape ...int) {
		size := 1
		for _, d := range shape {
			size *= d
		}
		out[name] = tensorfile.FromFloat32(shape, make([]float32, size))
	}
	for name, shape := range map[string][]int{
		"cls_token": {1, 1, 8}, "pos_embed": {1, 5, 8}, "patch_embed.proj.weight": {8, 3, 2, 2}, "patch_embed.proj.bias": {8},
		"blocks.0.norm1.weight": {8}, "blocks.0.norm1.bias": {8}, "blocks.0.norm2.weight": {8}, "blocks.0.norm2.bias": {8},
		"blocks.0.attn.qkv.weight": {24, 8}, "blocks.0.attn.qkv.bias": {24}, "blocks.0.attn.proj.weight": {8, 8}, "blocks.0.attn.proj.bias": {8},
		"blocks.0.mlp.fc1.weight": {16, 8}, "blocks.0.mlp.fc1.bias": {16}, "blocks.0.mlp.fc2.weight": {8, 16}, "blocks.0.mlp.fc2.bias": {8},
		"norm.weight": {8}, "norm.bias": {8}, "head.weight": {3, 8}, "head.bias": {3},
	} {
		add(name, shape...)
	}
	return out
}

func zeros(shape ...int) tensorfile.Tensor {
	size := 1
	for _, d := range shape {
		size *= d
	}
	return tensorfile.FromFloat32(shape, make([]float32, size))
}

// What models of ours have not is refused, and every such feature is named; what the file
// does not say is asked for.
func TestReadNamesWhatIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w map[string]tensorfile.Tensor)
		hints  Hints
		want   error
		says   []string
	}{
		"heads": {func(map[string]tensorfile.Tensor) {}, Hints{}, ErrAsk, []string{"head-dim"}},
		"eva02": {func(w map[string]tensorfile.Tensor) {
			w["blocks.0.attn.q_bias"], w["blocks.0.mlp.fc2.weight"] = zeros(8), zeros(8, 8)
		}, Hints{}, ErrFile, []string{"SwiGLU", "rotary", "biases of queries"}},
		"dinov3": {func(w map[string]tensorfile.Tensor) { delete(w, "pos_embed") }, Hints{}, ErrFile, []string{"rotary"}},
		"post": {func(w map[string]tensorfile.Tensor) {
			delete(w, "blocks.0.attn.qkv.bias")
			delete(w, "cls_token")
			w["pos_embed"] = zeros(1, 4, 8)
		}, Hints{HeadDim: 4}, ErrFile, []string{"_rpn_", "config.json"}},
		"clip":     {func(w map[string]tensorfile.Tensor) { w["norm_pre.weight"], w["norm_pre.bias"] = zeros(8), zeros(8) }, Hints{HeadDim: 4}, ErrAsk, []string{"activation"}},
		"oblong":   {func(w map[string]tensorfile.Tensor) { w["patch_embed.proj.weight"] = zeros(8, 3, 4, 1) }, Hints{HeadDim: 4}, ErrFile, []string{"4 x 1"}},
		"linear":   {func(w map[string]tensorfile.Tensor) { w["patch_embed.proj.weight"] = zeros(8, 192) }, Hints{HeadDim: 4}, ErrFile, []string{"192"}},
		"no grid":  {func(w map[string]tensorfile.Tensor) { w["pos_embed"] = zeros(1, 7, 8) }, Hints{HeadDim: 4}, ErrFile, []string{"7 positions"}},
		"two grid": {func(w map[string]tensorfile.Tensor) { w["reg_token"], w["pos_embed"] = zeros(1, 4, 8), zeros(1, 9, 8) }, Hints{HeadDim: 4}, ErrAsk, []string{"image-size"}},
		"entry":    {func(map[string]tensorfile.Tensor) {}, Hints{Entry: "ema"}, ErrFile, []string{"entry ema"}},
		"gap": {func(w map[string]tensorfile.Tensor) {
			for name, t := range w {
				if rest, is := strings.CutPrefix(name, "blocks.0."); is {
					w["blocks.2."+rest] = t
				}
			}
		}, Hints{HeadDim: 4}, ErrFile, []string{"no place for 12 tensors", "of 1 block ", "blocks.2.attn.proj.bias"}},
		"not finite": {func(w map[string]tensorfile.Tensor) {
			w["norm.bias"] = tensorfile.FromFloat32([]int{8}, []float32{0, 0, float32(math.NaN()), 0, 0, 0, 0, 0})
		}, Hints{HeadDim: 4}, ErrFile, []string{"norm.bias", "not finite", "place 2"}},
		"quantised": {func(w map[string]tensorfile.Tensor) {
			w["head.weight"] = tensorfile.Tensor{DType: "I8", Shape: []int{3, 8}, Data: make([]byte, 24)}
		}, Hints{HeadDim: 4}, ErrFile, []string{"head.weight", "integers (I8)"}},
		"no ViT": {func(w map[string]tensorfile.Tensor) { delete(w, "patch_embed.proj.weight") }, Hints{}, ErrFile, []string{"known are"}},
	} {
		w := little()
		c.change(w)
		_, err := read(w, c.hints, config{})
		if !errors.Is(err, c.want) {
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

// What is taken as it usually is is told with its flag.
func TestReadTellsWhatItAssumes(t *testing.T) {
	m, err := read(little(), Hints{HeadDim: 4}, config{})
	if err != nil {
		t.Fatal(err)
	}
	notes := fmt.Sprint(m.Notes)
	for _, flag := range []string{"norm-eps", "activation", "pool", "2 x 2 patches", "image-size"} {
		if !strings.Contains(notes, flag) {
			t.Errorf("%s lacks %q", notes, flag)
		}
	}
	if m.Model.Variant.NormEps != 1e-6 {
		t.Errorf("epsilon %v", m.Model.Variant.NormEps)
	}
}

// DINOv2 has another epsilon than other models of Hugging Face's names.
func TestEpsilonOfDINOv2(t *testing.T) {
	hugging := map[string]tensorfile.Tensor{}
	names := strings.NewReplacer("patch_embed.proj.", "embeddings.patch_embeddings.projection.", "cls_token", "embeddings.cls_token",
		"pos_embed", "embeddings.position_embeddings", "blocks.0.attn.proj.", "encoder.layer.0.attention.output.dense.", "blocks.", "encoder.layer.")
	for name, w := range little() {
		kind, isQKV := strings.CutPrefix(name, "blocks.0.attn.qkv.")
		switch {
		case strings.HasPrefix(name, "head."):
		case isQKV:
			third := w
			third.Shape, third.Data = slices.Clone(w.Shape), w.Data[:len(w.Data)/3]
			third.Shape[0] /= 3
			for _, part := range []string{"query", "key", "value"} {
				hugging["encoder.layer.0.attention.attention."+part+"."+kind] = third
			}
		case strings.HasPrefix(name, "norm."):
			hugging["layer"+name] = w
		default:
			hugging[names.Replace(name)] = w
		}
	}
	for _, c := range []struct {
		scaled bool
		want   float64
	}{{false, 1e-12}, {true, 1e-6}} {
		w := maps.Clone(hugging)
		if c.scaled {
			w["encoder.layer.0.layer_scale1.lambda1"], w["encoder.layer.0.layer_scale2.lambda1"] = zeros(8), zeros(8)
		}
		m, err := read(w, Hints{HeadDim: 4}, config{})
		if err != nil {
			t.Fatal(err)
		}
		if m.Model.Variant.NormEps != c.want {
			t.Errorf("scaled layers %v: epsilon %v, want %v", c.scaled, m.Model.Variant.NormEps, c.want)
		}
	}
}
