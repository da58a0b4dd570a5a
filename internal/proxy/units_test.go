package proxy

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"prenas/internal/engine"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// trained is a small space with weights far from initialisation, and images.
func trained(t *testing.T, classes int) (*engine.Engine, *supernet.Net, map[string]tensorfile.Tensor, ScoringBatch) {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Options{Backend: "go"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	s := &space.Space{
		Name: "trained", Supernet: space.Supernet{EmbedDim: 6, Depth: 3, NumHeads: 2, MLPRatio: 1.5},
		EmbedDim: []int{4, 6}, Depth: []int{2, 3}, NumHeads: []int{1, 2}, MLPRatio: []float64{1, 1.5},
		Model: space.Model{ImageSize: 4, PatchSize: 2, Channels: 1, NumClasses: classes, HeadDim: 3, GlobalPool: true, AbsPos: true, QKVBias: true},
	}
	random := func(name string, shape ...int) tensorfile.Tensor {
		n := 1
		for _, d := range shape {
			n *= d
		}
		r, values := rng.New(2, name), make([]float32, n)
		for i := range values {
			values[i] = float32(0.5 * r.NormFloat64())
		}
		return tensorfile.FromFloat32(shape, values)
	}
	n, weights := supernet.New(s), map[string]tensorfile.Tensor{}
	for _, p := range n.Params() {
		weights[p.Name] = random(p.Name, p.Shape...)
	}
	return e, n, weights, ScoringBatch{Images: random("images", 3, 1, 4, 4)}
}

// scaled are weights of which those named are multiplied, along an axis only at some indices.
func scaled(t *testing.T, weights map[string]tensorfile.Tensor, by float64, parts ...part) map[string]tensorfile.Tensor {
	t.Helper()
	out := maps.Clone(weights)
	for _, p := range parts {
		w := out[p.name]
		values, err := w.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		values = slices.Clone(values)
		inner := 1
		for _, d := range w.Shape[p.axis+1:] {
			inner *= d
		}
		for i := range values {
			if at := i / inner % w.Shape[p.axis]; at >= p.from && at < p.to {
				values[i] *= float32(by)
			}
		}
		out[p.name] = tensorfile.FromFloat32(w.Shape, values)
	}
	return out
}

type part struct {
	name           string
	axis, from, to int
}

// The worth of a unit is half the mean square of how an image's loss moves when all that the
// unit writes grows: here by central differences of weights.
func TestUnitsAreDerivativesByGates(t *testing.T) {
	for _, featured := range []bool{false, true} {
		classes := 4
		if featured {
			classes = 6
		}
		e, n, weights, batch := trained(t, classes)
		if featured { // a head that is a permutation
			head := make([]float32, 36)
			for i := range 6 {
				head[i*6+(i+2)%6] = 1
			}
			weights["head.weight"], weights["head.bias"] = tensorfile.FromFloat32([]int{6, 6}, head), tensorfile.FromFloat32([]int{6}, make([]float32, 6))
		}
		if Featured(n.Space(), weights) != featured {
			t.Fatalf("featured: %v", !featured)
		}
		const seed = 5
		units, err := Weigh(t.Context(), e, n, weights, batch, seed, nil)
		if err != nil {
			t.Fatal(err)
		}
		whole := n.Space().Whole()
		outputs := func(weights map[string]tensorfile.Tensor) []float64 {
			d, err := NewDivergence(t.Context(), e, n, weights, batch)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			x, err := d.logits(t.Context(), whole)
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		noise := draws(seed, 0, 3, classes, featured)
		at := outputs(weights)
		loss := func(x []float64, image int) float64 {
			row, own := slices.Clone(x[image*classes:][:classes]), noise[image*classes:][:classes]
			if featured {
				sum := 0.0
				for i, v := range row {
					sum += v * float64(own[i])
				}
				return sum
			}
			drawn, most := 0, math.Inf(-1)
			for i, v := range at[image*classes:][:classes] {
				if v += float64(own[i]); v > most {
					drawn, most = i, v
				}
			}
			logSoftmax(row, classes)
			return -row[drawn]
		}
		var embed []part
		for name := range weights {
			axis := map[string]int{"cls_token": 2, "pos_embed": 2, "patch_embed_super.proj.weight": 0, "patch_embed_super.proj.bias": 0}
			if a, ok := axis[name]; ok {
				embed = append(embed, part{name, a, 3, 4})
			}
			if strings.Contains(name, "attn.proj.") || strings.Contains(name, ".fc2.") {
				embed = append(embed, part{name, 0, 3, 4})
			}
		}
		for what, c := range map[string]struct {
			got   float64
			parts []part
		}{
			"hidden unit 4 of block 1": {units.Hidden[1][4], []part{{"blocks.1.fc2.weight", 1, 4, 5}}},
			"head 1 of block 2":        {units.Heads[2][1], []part{{"blocks.2.attn.proj.weight", 1, 3, 6}}},
			"feature 3":                {units.Embed[3], embed},
			"block 1": {units.Blocks[1], []part{
				{"blocks.1.attn.proj.weight", 0, 0, 6}, {"blocks.1.attn.proj.bias", 0, 0, 6}, {"blocks.1.fc2.weight", 0, 0, 6}, {"blocks.1.fc2.bias", 0, 0, 6},
			}},
		} {
			const step = 1.0 / 128
			up, down := outputs(scaled(t, weights, 1+step, c.parts...)), outputs(scaled(t, weights, 1-step, c.parts...))
			want := 0.0
			for image := range 3 {
				slope := (loss(up, image) - loss(down, image)) / (2 * step)
				want += slope * slope / 2 / 3
			}
			if !(math.Abs(c.got-want) <= 2e-2*want) || want == 0 {
				t.Errorf("featured %v, %s: worth %v, by differences %v", featured, what, c.got, want)
			}
		}
	}
}

// The divergence is KL of the softmax of the slice's own logits, and zero of the whole.
func TestDivergenceOfSlices(t *testing.T) {
	e, n, weights, batch := trained(t, 4)
	d, err := NewDivergence(t.Context(), e, n, weights, batch)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	of := func(a space.Arch) float64 {
		v, err := d.Of(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	s := n.Space()
	if v := of(s.Whole()); !(math.Abs(v) <= 1e-6) {
		t.Errorf("of the whole: %v", v)
	}
	a := space.Arch{EmbedDim: 4, NumHeads: []int{2, 1}, MLPRatio: []float64{1, 1.5}}.Keeping([]int{0, 2})
	p, err := d.logits(t.Context(), s.Whole())
	if err != nil {
		t.Fatal(err)
	}
	q, err := d.logits(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	want := 0.0
	for i := range 3 {
		p, q := p[4*i:][:4], q[4*i:][:4]
		sum := func(x []float64) (s float64) {
			for _, v := range x {
				s += math.Exp(v)
			}
			return s
		}
		for k := range p {
			want += math.Exp(p[k]) / sum(p) * math.Log(math.Exp(p[k])/sum(p)*sum(q)/math.Exp(q[k])) / 3
		}
	}
	if got := of(a); !(math.Abs(got-want) <= 1e-6) || want < 1e-3 {
		t.Errorf("divergence %v, want %v", got, want)
	}
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Of(cut, a); err == nil {
		t.Error("it goes on when it is stopped")
	}
}
