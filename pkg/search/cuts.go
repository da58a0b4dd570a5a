package search

import (
	"slices"

	"prenas/pkg/space"
)

// CutsTable is the score "cuts" of trained weights of vision transformers: minus the sum of what
// each cut of an architecture costs by itself. divergence is how far the outputs of an
// architecture are from those of the whole, at least 0. Cuts are those of the largest
// architecture of the space:
//
//	to a smaller embedding dim
//	to a smaller depth, of the blocks that the space keeps
//	of one block to fewer heads, or to a smaller MLP ratio, whatever the embedding dim
//
// It calls divergence once for each and once for the largest, CutsCount in all. That the costs of cuts add up is an
// approximation, which docs/search.md has the measurements of.
func CutsTable(s *space.Space, divergence func(space.Arch) (float64, error)) (*Table, error) {
	g, largest := newViTGrid(s), s.Largest()
	at, failed := divergence(largest)
	worth := func(a space.Arch) float64 { // of an architecture that is cut, against the largest
		if failed != nil || a.Equal(largest) {
			return 0
		}
		var cut float64
		cut, failed = divergence(a)
		return at - cut
	}
	dims, depths := map[int]float64{}, map[int]float64{}
	for _, dim := range s.EmbedDim {
		a := largest
		a.EmbedDim = dim
		dims[dim] = worth(a)
	}
	for _, depth := range s.Depth {
		var a space.Arch
		for _, block := range s.Keeps(depth) {
			i := largest.At(block)
			a.NumHeads, a.MLPRatio = append(a.NumHeads, largest.NumHeads[i]), append(a.MLPRatio, largest.MLPRatio[i])
		}
		a.EmbedDim = largest.EmbedDim
		depths[depth] = worth(a.Keeping(s.Keeps(depth)))
	}
	heads, ratios := make([]map[int]float64, g.layers), make([]map[float64]float64, g.layers)
	for l := range g.layers {
		heads[l], ratios[l] = map[int]float64{}, map[float64]float64{}
		for _, h := range s.NumHeads {
			a := largest
			a.NumHeads = slices.Clone(a.NumHeads)
			a.NumHeads[l] = h
			heads[l][h] = worth(a)
		}
		for _, r := range s.MLPRatio {
			a := largest
			a.MLPRatio = slices.Clone(a.MLPRatio)
			a.MLPRatio[l] = r
			ratios[l][r] = worth(a)
		}
	}
	if failed != nil {
		return nil, failed
	}
	// A depth's worth is that of the least, plus what the blocks add that it has more, which
	// share what the next depth is above the one before.
	sorted := ranked(s.Depth)
	block := make([]float64, g.layers)
	deepest := s.Keeps(g.layers)
	for i := 1; i < len(sorted); i++ {
		before := s.Keeps(sorted[i-1])
		for l, number := range deepest {
			if slices.Contains(s.Keeps(sorted[i]), number) && !slices.Contains(before, number) {
				block[l] = (depths[sorted[i]] - depths[sorted[i-1]]) / float64(sorted[i]-sorted[i-1])
			}
		}
	}
	return ViTParts{
		Trunk: func(e int) float64 { return dims[e] + depths[sorted[0]] },
		Block: func(_, l int) float64 { return block[l] },
		Heads: func(_, l, h int) float64 { return heads[l][h] },
		MLP:   func(_, l int, r float64) float64 { return ratios[l][r] },
	}.Table(s), nil
}

// CutsCount is how many divergences CutsTable asks for.
func CutsCount(s *space.Space) int {
	layers := slices.Max(s.Depth)
	return 1 + len(s.EmbedDim) - 1 + len(s.Depth) - 1 + layers*(len(s.NumHeads)-1+len(s.MLPRatio)-1)
}
