package search

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"prenas/internal/rng"
	"prenas/pkg/space"
)

// randomSpace draws a small space of either family, choices in any order.
func randomSpace(t *rapid.T) *space.Space {
	if rapid.Bool().Draw(t, "conv") {
		return randomConvSpace(t)
	}
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
	if rapid.Bool().Draw(t, "layers are ordered") {
		s.Layers = rapid.Permutation([]int{0, 1, 2, 3}).Draw(t, "layers")
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	return s
}

// supernetTensors are weights of the supernet's shapes, with normal values.
func supernetTensors(s *space.Space, seed uint64) Tensors {
	if s.Model.IsConv() {
		return convTensors(s, seed)
	}
	m, top, all := s.Model, s.Supernet, Tensors{}
	dim, inner, hidden := top.EmbedDim, top.NumHeads*m.HeadDim, space.Hidden(top.EmbedDim, top.MLPRatio)
	add := func(name string, shape ...int) { all[name] = normal(seed, name, shape) }
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

func normal(seed uint64, name string, shape []int) Tensor {
	size := 1
	for _, d := range shape {
		size *= d
	}
	r, values := rng.New(seed, name), make([]float32, size)
	for i := range values {
		values[i] = float32(r.NormFloat64())
	}
	return Tensor{Shape: shape, Data: values}
}

// everyPick calls yield for every architecture of the space.
func everyPick(g grid, yield func(pick)) {
	for e := range g.scales {
		for d, layers := range g.stacks {
			p := g.at(e, d)
			p.first, p.second = make([]int, len(layers)), make([]int, len(layers))
			var layer func(i int)
			layer = func(i int) {
				if i == len(layers) {
					copied := p
					copied.first, copied.second = slices.Clone(p.first), slices.Clone(p.second)
					if g.has(copied) {
						yield(copied)
					}
					return
				}
				for p.first[i] = range g.first {
					for p.second[i] = range g.second {
						layer(i + 1)
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
	if s.Model.IsConv() {
		return ConvParts{Trunk: func(int) float64 { return value() }, Block: func(int, space.ConvBlock) float64 { return value() }}.Table(s)
	}
	return ViTParts{
		Trunk: func(int) float64 { return value() }, Block: func(int, int) float64 { return value() },
		Heads: func(int, int, int) float64 { return value() }, MLP: func(int, int, float64) float64 { return value() },
	}.Table(s)
}

func benchSpace(b testing.TB, name string) *space.Space {
	s, err := space.Load(name)
	if err != nil {
		b.Fatal(err)
	}
	return s
}
