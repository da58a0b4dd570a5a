package supernet_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/fixture"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// learned is a space whose choices learn all that they can; 8·2.5 and 10·2 are hidden
// layers of the same width.
func learned() *space.Space {
	s := little()
	s.EmbedDim, s.MLPRatio = []int{8, 10}, []float64{2, 2.5}
	s.Model.SwitchNorm, s.Model.ScaleAttn, s.Model.ScaleMLP, s.Model.ScaleEmbed = true, true, true, true
	return s
}

func TestMaskedEqualsStaticWhereChoicesLearn(t *testing.T) {
	s := learned()
	newStage(pureGo(t), s, 3, true).compare(t, everyArch(s))
}

// A folded architecture computes with the plain model what it computes with its factors
// and norms.
func TestFold(t *testing.T) {
	s := learned()
	plain := *s
	plain.Model = s.Model.Plain()
	st := newStage(pureGo(t), s, 3, false)
	for _, a := range everyArch(s) {
		folded, err := st.net.Fold(st.weights, a)
		if err != nil {
			t.Fatal(err)
		}
		other := st
		other.net, other.weights = supernet.New(&plain), folded
		if d := fixture.Difference(other.static(t, a).logits, st.static(t, a).logits); d > 1e-5 {
			t.Errorf("%s: folded and unfolded logits differ by %.2g of the largest", a, d)
		}
	}
	if _, err := st.net.Fold(st.weights, space.Arch{EmbedDim: 9, NumHeads: []int{1}, MLPRatio: []float64{2}}); err == nil {
		t.Error("an architecture that has no norms is folded")
	}
}

// Logits of the original (torch 2.8), with --switch-ln --scale-attn --scale-mlp
// --scale-embed, on weights and images that a formula gives.
func TestChoicesLearnAsInTheOriginal(t *testing.T) {
	text, err := os.ReadFile("testdata/learned.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Architectures []struct {
			EmbedDim int       `json:"embed_dim"`
			NumHeads []int     `json:"num_heads"`
			MLPRatio []float64 `json:"mlp_ratio"`
			Logits   []float32 `json:"logits"`
		} `json:"architectures"`
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	s := learned()
	s.Supernet = space.Supernet{EmbedDim: 128, Depth: 2, NumHeads: 2, MLPRatio: 3}
	s.EmbedDim, s.NumHeads, s.MLPRatio = []int{96, 128}, []int{1, 2}, []float64{2, 3}
	s.Model.HeadDim, s.Model.Channels = 64, 1
	formula := func(size, k int) []float32 {
		v := make([]float32, size)
		for i := range v {
			v[i] = float32(float64((i*i*31+i*7919+k*104729)%1009)/1009 - 0.5)
		}
		return v
	}
	st := newStage(pureGo(t), s, 2, false)
	for k, name := range slices.Sorted(maps.Keys(st.weights)) {
		w := st.weights[name]
		values := formula(len(w.Data)/4, k)
		for i, v := range values {
			if strings.HasSuffix(name, "scalings") || strings.Contains(name, "norm") && strings.HasSuffix(name, "weight") {
				values[i] = 1 + 0.5*v
			} else {
				values[i] = 0.2 * v
			}
		}
		st.weights[name] = tensorfile.FromFloat32(w.Shape, values)
	}
	images := formula(2*64, 99)
	for i := range images {
		images[i] *= 6
	}
	st.images = tensors.FromFlatDataAndDimensions(images, 2, 1, 8, 8)
	for _, w := range want.Architectures {
		a := space.Arch{EmbedDim: w.EmbedDim, NumHeads: w.NumHeads, MLPRatio: w.MLPRatio}
		if d := fixture.Difference(st.static(t, a).logits, w.Logits); d > 1e-5 {
			t.Errorf("%s: logits differ by %.2g of the largest", a, d)
		}
	}
}

func TestChoicesThatLearnAreInferred(t *testing.T) {
	s := learned()
	weights := supernet.New(s).Init(1)
	m, err := supernet.InferModel(s, weights)
	if err != nil {
		t.Fatal(err)
	}
	if m.Plain().IsPlain() != true || m.IsPlain() || !m.SwitchNorm || !m.ScaleAttn || !m.ScaleMLP || !m.ScaleEmbed {
		t.Errorf("the model is %+v", m)
	}
	delete(weights, "norm.lns.1.bias")
	if err := supernet.New(s).Check(weights); err == nil || !strings.Contains(err.Error(), "norm.lns.1.bias") {
		t.Errorf("a missing norm: %v", err)
	}
	for name, w := range map[string]tensorfile.Tensor{"mlp": weights["blocks.0.mlp_scaling.scalings"], "qk": weights["blocks.0.attn.qk_scaling.scalings"]} {
		if values, _ := w.Float32s(); values[0] != 1e-4 {
			t.Errorf("factors of %s begin at %v", name, values[0])
		}
	}
}

// outsideOfChoices is outside, for factors and norms that choices have for themselves;
// ok is false for other weights.
func outsideOfChoices(s *space.Space, name string, a space.Arch, heads, hidden, row, column int) (is, ok bool) {
	layer, number, norm := strings.Cut(name, ".lns.")
	if norm && strings.HasSuffix(layer, "norm") {
		return s.EmbedDim[int(number[0]-'0')] != a.EmbedDim, true
	}
	used, size := 0, 0
	switch name {
	case "embed_scaling.scalings", "embed_scaling1.scalings", "embed_scaling2.scalings":
		used, size = slices.Index(s.EmbedDim, a.EmbedDim), a.EmbedDim
	case "attn.qk_scaling.scalings", "attn.v_scaling.scalings":
		used, size = slices.Index(s.NumHeads, heads/s.Model.HeadDim), heads
	case "mlp_scaling.scalings":
		for k := len(s.EmbedDim)*len(s.MLPRatio) - 1; k >= 0; k-- {
			if space.Hidden(s.EmbedDim[k/len(s.MLPRatio)], s.MLPRatio[k%len(s.MLPRatio)]) == hidden {
				used = k
			}
		}
		size = hidden
	default:
		return false, false
	}
	return row != used || column >= size, true
}
