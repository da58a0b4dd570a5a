package search

import (
	"cmp"
	"slices"

	"prenas/pkg/space"
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
	Key   string         `json:"interval"`
	Runs  int            `json:"runs"` // in which the interval was not empty
	Arch  []Wins[string] `json:"architectures"`
	Depth []Wins[int]    `json:"depth"` // of all units together

	EmbedDim []Wins[int]       `json:"embed_dim,omitempty"`
	NumHeads [][]Wins[int]     `json:"num_heads,omitempty"` // per block of the supernet
	MLPRatio [][]Wins[float64] `json:"mlp_ratio,omitempty"` // per block of the supernet

	Resolution []Wins[int]         `json:"resolution,omitempty"`
	UnitDepth  [][]Wins[int]       `json:"unit_depth,omitempty"`   // per unit
	Kernel     [][][]Wins[int]     `json:"kernel_size,omitempty"`  // per unit and layer
	Expand     [][][]Wins[float64] `json:"expand_ratio,omitempty"` // per unit and layer
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
	b.Depth = count(b.Depth, a.Depth())
	if a.IsConv() {
		b.Resolution = count(b.Resolution, a.Resolution)
		b.countUnits(a.Units)
		return
	}
	b.EmbedDim = count(b.EmbedDim, a.EmbedDim)
	for i := range a.NumHeads {
		l := a.Layer(i)
		b.NumHeads, b.MLPRatio = countAt(b.NumHeads, l, a.NumHeads[i]), countAt(b.MLPRatio, l, a.MLPRatio[i])
	}
}

func (b *BinStability) countUnits(units [][]space.ConvLayer) {
	for u, layers := range units {
		if u == len(b.Kernel) {
			b.Kernel, b.Expand = append(b.Kernel, nil), append(b.Expand, nil)
		}
		b.UnitDepth = countAt(b.UnitDepth, u, len(layers))
		for l, layer := range layers {
			b.Kernel[u], b.Expand[u] = countAt(b.Kernel[u], l, layer.Kernel), countAt(b.Expand[u], l, layer.Expand)
		}
	}
}

func countAt[T comparable](layers [][]Wins[T], l int, choice T) [][]Wins[T] {
	for l >= len(layers) {
		layers = append(layers, nil)
	}
	layers[l] = count(layers[l], choice)
	return layers
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
	for _, list := range [][]Wins[int]{b.EmbedDim, b.Depth, b.Resolution} {
		most(list)
	}
	for _, lists := range append(b.Kernel, b.NumHeads, b.UnitDepth) {
		for _, list := range lists {
			most(list)
		}
	}
	for _, lists := range append(b.Expand, b.MLPRatio) {
		for _, list := range lists {
			most(list)
		}
	}
}

func most[T any](wins []Wins[T]) {
	slices.SortStableFunc(wins, func(a, b Wins[T]) int { return cmp.Compare(b.Wins, a.Wins) })
}
