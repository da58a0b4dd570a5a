package search

import (
	"cmp"
	"slices"

	"prenas/internal/space"
)

// Wins is how many runs chose something.
type Wins[T any] struct {
	Choice T   `json:"choice"`
	Wins   int `json:"wins"`
}

// BinStability is how much the winner of one interval depends on the seed. All
// lists are ordered by wins, the most first; equal ones by the choice that the
// earlier run made.
type BinStability struct {
	Key      string            `json:"interval"`
	Runs     int               `json:"runs"` // in which the interval was not empty
	Arch     []Wins[string]    `json:"architectures"`
	EmbedDim []Wins[int]       `json:"embed_dim"`
	Depth    []Wins[int]       `json:"depth"`
	NumHeads [][]Wins[int]     `json:"num_heads"` // per layer
	MLPRatio [][]Wins[float64] `json:"mlp_ratio"` // per layer
}

// Stability counts, over searches that differ in their seed only, how often
// each choice was part of the winner of each interval. Layers are counted over
// the winners that have them.
func Stability(runs []space.Candidates) []BinStability {
	var all []BinStability
	for _, run := range runs {
		for _, bin := range run {
			if len(bin.Candidates) == 0 {
				continue
			}
			i := slices.IndexFunc(all, func(b BinStability) bool { return b.Key == bin.Key })
			if i < 0 {
				i = len(all)
				all = append(all, BinStability{Key: bin.Key})
			}
			all[i].add(bin.Candidates[0].Arch)
		}
	}
	for i := range all {
		all[i].order()
	}
	return all
}

func (b *BinStability) add(a space.Arch) {
	b.Runs++
	b.Arch = count(b.Arch, a.String())
	b.EmbedDim = count(b.EmbedDim, a.EmbedDim)
	b.Depth = count(b.Depth, a.Depth())
	for l := range a.NumHeads {
		if l == len(b.NumHeads) {
			b.NumHeads, b.MLPRatio = append(b.NumHeads, nil), append(b.MLPRatio, nil)
		}
		b.NumHeads[l] = count(b.NumHeads[l], a.NumHeads[l])
		b.MLPRatio[l] = count(b.MLPRatio[l], a.MLPRatio[l])
	}
}

func count[T comparable](wins []Wins[T], choice T) []Wins[T] {
	i := slices.IndexFunc(wins, func(w Wins[T]) bool { return w.Choice == choice })
	if i < 0 {
		return append(wins, Wins[T]{choice, 1})
	}
	wins[i].Wins++
	return wins
}

func (b *BinStability) order() {
	most(b.Arch)
	most(b.EmbedDim)
	most(b.Depth)
	for l := range b.NumHeads {
		most(b.NumHeads[l])
		most(b.MLPRatio[l])
	}
}

func most[T any](wins []Wins[T]) {
	slices.SortStableFunc(wins, func(a, b Wins[T]) int { return cmp.Compare(b.Wins, a.Wins) })
}
