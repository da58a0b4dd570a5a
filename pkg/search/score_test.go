package search

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"prenas/pkg/space"
)

// addend is what a weight x and its gradient y add to a score's sum.
func addend(m ScoreMethod, x, y float64) float64 {
	return map[string]float64{
		"l1norm": math.Abs(x), "taylor5": x * y, "taylor6": math.Abs(x * y), "taylor9": math.Abs(y),
		"grad_square": y * y, "taylor_square": x * y * x * y, "synflow": math.Abs(x * y),
	}[m.base]
}

// slowScore is the readable twin of Scores.Of: it walks over the weights that
// an architecture uses, one by one, as the original does.
func slowScore(s *space.Space, m ScoreMethod, weights, grads Tensors, a space.Arch) float64 {
	if m.base == "params" {
		return float64(s.Model.Params(a)) / 1e6
	}
	if m.base == "entropy" {
		sum := 0.0
		for i := range a.NumHeads {
			sum += math.Log(a.MLPRatio[i]*float64(a.EmbedDim)) + math.Log(float64(a.NumHeads[i]*s.Model.HeadDim)) + math.Log(196) + 4*math.Log(float64(a.EmbedDim))
		}
		return sum
	}
	sum, count := 0.0, 0.0
	part := func(name string, rows, cols int) {
		w, g := weights[name], grads[name]
		_, width := w.matrix()
		for i := range rows {
			for j := range cols {
				x, y := float64(w.Data[i*width+j]), float64(g.Data[i*width+j])
				count++
				sum += addend(m, x, y)
			}
		}
	}
	model, e := s.Model, a.EmbedDim
	if model.IsConv() {
		for name, slice := range convSlices(s, a, m.attnMLP) {
			for i, used := range slice {
				if !used {
					continue
				}
				x, y := float64(weights[name].Data[i]), float64(grads[name].Data[i])
				count++
				sum += addend(m, x, y)
			}
		}
		r := float64(a.Resolution) / float64(model.ImageSize)
		sum *= r * r
	} else if !m.attnMLP {
		part("patch_embed_super.proj.weight", e, model.Channels*model.PatchSize*model.PatchSize)
		part("patch_embed_super.proj.bias", e, 1)
		part("norm.weight", e, 1)
		part("norm.bias", e, 1)
		part("head.weight", model.NumClasses, e)
		if m.FullHeadBias {
			part("head.bias", model.NumClasses, 1)
		} else {
			part("head.bias", min(model.NumClasses, e), 1)
		}
	}
	for i := range a.NumHeads {
		b := fmt.Sprintf("blocks.%d.", a.Layer(i))
		inner, hidden := a.NumHeads[i]*model.HeadDim, space.Hidden(e, a.MLPRatio[i])
		part(b+"attn.qkv.weight", 3*inner, e)
		if model.QKVBias {
			part(b+"attn.qkv.bias", 3*inner, 1)
		}
		part(b+"attn.proj.weight", e, inner)
		part(b+"attn.proj.bias", e, 1)
		if !m.attnMLP {
			part(b+"attn_layer_norm.weight", e, 1)
			part(b+"attn_layer_norm.bias", e, 1)
		}
		part(b+"fc1.weight", hidden, e)
		part(b+"fc1.bias", hidden, 1)
		part(b+"fc2.weight", e, hidden)
		part(b+"fc2.bias", e, 1)
		if !m.attnMLP {
			part(b+"ffn_layer_norm.weight", e, 1)
			part(b+"ffn_layer_norm.bias", e, 1)
		}
	}
	switch {
	case m.base == "taylor5" && m.avg:
		sum = math.Abs(sum) / count
	case m.base == "taylor5":
		sum = math.Abs(sum)
	case m.base == "taylor9" && m.avg:
		sum = math.Sqrt(sum / count)
	case m.base == "taylor9":
		sum = math.Sqrt(sum)
	case m.avg:
		sum /= count
	}
	if m.pruned {
		sum = -sum
	}
	return sum
}

func everyScoreMethod() []ScoreMethod {
	all := []ScoreMethod{{base: "entropy"}, {base: "params"}}
	for _, base := range scoreBases {
		for bits := range 16 {
			all = append(all, ScoreMethod{base: base, attnMLP: bits&1 > 0, pruned: bits&2 > 0, avg: bits&4 > 0, FullHeadBias: bits&8 > 0})
		}
	}
	return all
}

func TestScoresEqualTheSlowTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := randomSpace(t)
		seed := rapid.Uint64().Draw(t, "seed")
		weights, grads := supernetTensors(s, seed), supernetTensors(s, seed+1)
		sums, err := NewSums(s, weights, grads, true)
		if err != nil {
			t.Fatal(err)
		}
		method := rapid.SampledFrom(everyScoreMethod()).Draw(t, "method")
		scores, err := NewScores(s, sums, method)
		if s.Model.IsConv() && method.base == "entropy" {
			if !errors.Is(err, ErrMethod) {
				t.Fatalf("%s of a convolutional network: %v", method, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		checked := 0
		everyPick(scores.grid, func(p pick) {
			if checked++; checked > 40 {
				return
			}
			a := scores.grid.arch(p)
			got, want := scores.Of(a), slowScore(s, method, weights, grads, a)
			if !(math.Abs(got-want) <= 1e-9*math.Max(1, math.Abs(want))) {
				t.Fatalf("%v of %v: got %v, want %v", method, a, got, want)
			}
		})
	})
}

// Every architecture of a small space, every method.
func TestScoresEqualTheSlowTwinOnASmallSpace(t *testing.T) {
	s := &space.Space{
		Name: "small", Supernet: space.Supernet{EmbedDim: 8, Depth: 3, NumHeads: 2, MLPRatio: 2},
		EmbedDim: []int{8, 5}, Depth: []int{2, 1}, NumHeads: []int{2, 1}, MLPRatio: []float64{2, 0.9},
		Model: space.Model{ImageSize: 2, PatchSize: 1, Channels: 1, NumClasses: 7, HeadDim: 4, QKVBias: true},
	}
	weights, grads := supernetTensors(s, 1), supernetTensors(s, 2)
	sums, err := NewSums(s, weights, grads, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range everyScoreMethod() {
		scores, err := NewScores(s, sums, method)
		if err != nil {
			t.Fatal(err)
		}
		everyPick(scores.grid, func(p pick) {
			a := scores.grid.arch(p)
			got, want := scores.Of(a), slowScore(s, method, weights, grads, a)
			if !(math.Abs(got-want) <= 1e-9*math.Max(1, math.Abs(want))) {
				t.Errorf("%v of %v: got %v, want %v", method, a, got, want)
			}
		})
	}
}

func TestTablesCountAsTheModelDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := randomSpace(t)
		g, params, macs := newGrid(s), ParamsTable(s), MACsTable(s)
		checked := 0
		everyPick(g, func(p pick) {
			if checked++; checked > 200 {
				return
			}
			a := g.arch(p)
			if got, want := params.total(p), float64(s.Model.Params(a)); got != want {
				t.Fatalf("%v: %v parameters, want %v", a, got, want)
			}
			if got, want := macs.total(p), float64(s.Model.MACs(a)); got != want {
				t.Fatalf("%v: %v multiply-accumulates, want %v", a, got, want)
			}
			if !g.pick(a).same(p) {
				t.Fatalf("%v: picked as %v", p, g.pick(a))
			}
		})
	})
}

func TestScoreMethodNames(t *testing.T) {
	for name, want := range map[string]string{
		"taylor6": "taylor6", "left_super_taylor6": "taylor6", "super_taylor6": "taylor6", "left_super_avg_taylor9": "avg_taylor9",
		"pruned_taylor6": "pruned_taylor6", "pruned_super_avg_l1norm": "pruned_avg_l1norm", "left_attn_mlp_taylor5": "attn_mlp_taylor5",
		"pruned_attn_mlp_avg_taylor5": "pruned_attn_mlp_avg_taylor5", "entropy": "entropy", "params": "params",
	} {
		m, err := ParseScoreMethod(name)
		if err != nil || m.String() != want {
			t.Errorf("%s: got %q, %v", name, m, err)
		}
		again, err := ParseScoreMethod(m.String())
		if err != nil || again != m {
			t.Errorf("%s does not read back: %v, %v", m, again, err)
		}
	}
	for _, name := range []string{"", "taylor", "taylor1", "left_super_taylor8", "taylor6_norm", "super_left_taylor6", "left_entropy", "avg_params", "Taylor6", "taylor6 "} {
		if m, err := ParseScoreMethod(name); !errors.Is(err, ErrMethod) || !strings.Contains(err.Error(), "known are") {
			t.Errorf("%q: got %v, %v", name, m, err)
		}
	}
}

func TestBlockMethodNames(t *testing.T) {
	for _, name := range []string{
		"deeper_is_better", "taylor6", "balance_taylor6_max_dim", "balance_taylor5_norm", "taylor9_doublenorm", "l1norm_max_dim",
		"plain_value", "balance_taylor9_doublenorm_max_dim",
	} {
		m, err := ParseBlockMethod(name)
		if err != nil || m.String() != name {
			t.Errorf("%s: got %q, %v", name, m, err)
		}
	}
	for _, name := range []string{"", "taylor7", "balanced_taylor6", "taylor6_max", "max_dim", "deeper_is_better_max_dim", "taylor6_norm_norm"} {
		if m, err := ParseBlockMethod(name); !errors.Is(err, ErrMethod) || !strings.Contains(err.Error(), deeper) {
			t.Errorf("%q: got %v, %v", name, m, err)
		}
	}
}
