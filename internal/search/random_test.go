package search

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"prenas/internal/rng"
	"prenas/internal/space"
)

// randomSpace draws a small space, choices in any order.
func randomSpace(t *rapid.T) *space.Space {
	ints := func(name string, of ...int) []int {
		n := rapid.IntRange(1, len(of)).Draw(t, name+" count")
		return rapid.Permutation(of).Draw(t, name)[:n]
	}
	ratios := rapid.Permutation([]float64{0.6, 1, 1.5, 2}).Draw(t, "ratios")
	s := &space.Space{
		Name: "random", Supernet: space.Supernet{EmbedDim: 12, Depth: 4, NumHeads: 3, MLPRatio: 2},
		EmbedDim: ints("embed", 5, 8, 12), Depth: ints("depth", 1, 2, 3), NumHeads: ints("heads", 1, 2, 3),
		MLPRatio: ratios[:rapid.IntRange(1, 3).Draw(t, "ratio count")],
		Model: space.Model{
			ImageSize: 4, PatchSize: 2, Channels: 2, NumClasses: rapid.SampledFrom([]int{3, 9, 20}).Draw(t, "classes"), HeadDim: 3,
			RelativePosition: rapid.Bool().Draw(t, "relative"), MaxRelativePosition: 2, QKVBias: rapid.Bool().Draw(t, "bias"),
		},
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	return s
}

// supernetTensors are weights of the supernet's shapes, with normal values.
func supernetTensors(s *space.Space, seed uint64) Tensors {
	m, top, all := s.Model, s.Supernet, Tensors{}
	dim, inner, hidden := top.EmbedDim, top.NumHeads*m.HeadDim, space.Hidden(top.EmbedDim, top.MLPRatio)
	add := func(name string, shape ...int) {
		size := 1
		for _, d := range shape {
			size *= d
		}
		r, values := rng.New(seed, name), make([]float32, size)
		for i := range values {
			values[i] = float32(r.NormFloat64())
		}
		all[name] = Tensor{Shape: shape, Data: values}
	}
	add("patch_embed_super.proj.weight", dim, m.Channels, m.PatchSize, m.PatchSize)
	add("patch_embed_super.proj.bias", dim)
	add("norm.weight", dim)
	add("norm.bias", dim)
	add("head.weight", m.NumClasses, dim)
	add("head.bias", m.NumClasses)
	for l := range top.Depth {
		b := fmt.Sprintf("blocks.%d.", l)
		add(b+"attn.qkv.weight", 3*inner, dim)
		if m.QKVBias {
			add(b+"attn.qkv.bias", 3*inner)
		}
		add(b+"attn.proj.weight", dim, inner)
		add(b+"attn.proj.bias", dim)
		add(b+"attn_layer_norm.weight", dim)
		add(b+"attn_layer_norm.bias", dim)
		add(b+"fc1.weight", hidden, dim)
		add(b+"fc1.bias", hidden)
		add(b+"fc2.weight", dim, hidden)
		add(b+"fc2.bias", dim)
		add(b+"ffn_layer_norm.weight", dim)
		add(b+"ffn_layer_norm.bias", dim)
	}
	return all
}

// everyPick calls yield for every architecture of the space.
func everyPick(g grid, yield func(pick)) {
	for e := range g.embed {
		for d, depth := range g.depth {
			p := pick{embed: e, depth: d, heads: make([]int, depth), mlp: make([]int, depth)}
			var layer func(l int)
			layer = func(l int) {
				if l == depth {
					yield(pick{embed: e, depth: d, heads: slices.Clone(p.heads), mlp: slices.Clone(p.mlp)})
					return
				}
				for p.heads[l] = range g.heads {
					for p.mlp[l] = range g.ratios {
						layer(l + 1)
					}
				}
			}
			layer(0)
		}
	}
}

// fakeTable has independent integer values, so that costs differ per layer.
func fakeTable(s *space.Space, seed uint64, most int) *Table {
	r := rng.New(seed, "table")
	value := func() float64 { return float64(r.IntN(most + 1)) }
	return NewTable(s, func(int) float64 { return value() }, func(int, int) float64 { return value() },
		func(int, int, int) float64 { return value() }, func(int, int, float64) float64 { return value() })
}

func benchSpace(b testing.TB, name string) *space.Space {
	s, err := space.Load(name)
	if err != nil {
		b.Fatal(err)
	}
	return s
}
