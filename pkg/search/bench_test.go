package search

import (
	"testing"

	"prenas/pkg/space"
)

var published = []string{"tiny", "small", "base"}

// benchTensors fills the supernet's shapes with cheap values.
func benchTensors(s *space.Space, seed uint32) Tensors {
	if s.Model.IsConv() {
		return convTensors(s, uint64(seed))
	}
	all := supernetTensors(&space.Space{
		Supernet: space.Supernet{EmbedDim: 1, Depth: s.Supernet.Depth, NumHeads: 1, MLPRatio: 1},
		Model:    space.Model{PatchSize: 1, Channels: 1, NumClasses: 1, HeadDim: 1, QKVBias: s.Model.QKVBias},
	}, uint64(seed))
	m, top := s.Model, s.Supernet
	dim, inner, hidden := top.EmbedDim, top.NumHeads*m.HeadDim, space.Hidden(top.EmbedDim, top.MLPRatio)
	shapes := map[string][]int{
		"patch_embed_super.proj.weight": {dim, m.Channels, m.PatchSize, m.PatchSize}, "head.weight": {m.NumClasses, dim}, "head.bias": {m.NumClasses},
		"attn.qkv.weight": {3 * inner, dim}, "attn.qkv.bias": {3 * inner}, "attn.proj.weight": {dim, inner},
		"fc1.weight": {hidden, dim}, "fc1.bias": {hidden}, "fc2.weight": {dim, hidden},
	}
	for name := range all {
		shape := []int{dim}
		for end, sh := range shapes {
			if len(name) >= len(end) && name[len(name)-len(end):] == end {
				shape = sh
			}
		}
		size := 1
		for _, d := range shape {
			size *= d
		}
		values := make([]float32, size)
		for i := range values {
			seed = seed*1664525 + 1013904223
			values[i] = float32(int32(seed)) / (1 << 31)
		}
		all[name] = Tensor{Shape: shape, Data: values}
	}
	return all
}

// BenchmarkSums is the only pass over weights and gradients of a search.
func BenchmarkSums(b *testing.B) {
	for _, name := range published {
		b.Run("space="+name, func(b *testing.B) {
			s := benchSpace(b, name)
			weights, grads := benchTensors(s, 1), benchTensors(s, 2)
			for b.Loop() {
				if _, err := NewSums(s, weights, grads, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchSearch(b *testing.B, o Options) {
	for _, name := range published {
		b.Run("space="+name, func(b *testing.B) {
			s := benchSpace(b, name)
			sums, err := NewSums(s, benchTensors(s, 1), benchTensors(s, 2), false)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, _, err := RunSums(s, sums, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPreferred(b *testing.B)          { benchSearch(b, Options{}) }
func BenchmarkPreferredAllSplits(b *testing.B) { benchSearch(b, Options{AllSplits: true}) }
func BenchmarkExact(b *testing.B)              { benchSearch(b, Options{Method: Exact}) }
func BenchmarkEvolution(b *testing.B)          { benchSearch(b, Options{Method: Evolution}) }

// BenchmarkExactWithLimit has a second budget beside the intervals.
func BenchmarkExactWithLimit(b *testing.B) {
	for _, name := range published {
		s := benchSpace(b, name)
		sums, err := NewSums(s, benchTensors(s, 1), benchTensors(s, 2), false)
		if err != nil {
			b.Fatal(err)
		}
		// Multiply-accumulates are alike in all layers; the latency, in
		// microseconds, is as if measured in each layer on its own.
		for _, cost := range []Cost{MACsCost(s), {Name: "latency", Unit: 1000, Table: fakeTable(s, 1, 1000)}} {
			b.Run("space="+name+"/limit="+cost.Name, func(b *testing.B) {
				least, most := cost.span(newGrid(s))
				o := Options{Method: Exact, Limits: []Limit{{Cost: cost, AtMost: (least + most) / 2 / cost.Unit}}}
				for b.Loop() {
					if _, _, err := RunSums(s, sums, o); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
