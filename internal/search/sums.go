package search

import (
	"fmt"
	"math"
	"slices"

	"prenas/internal/space"
)

// grid is a space as the search walks it: embedding dims and depths in the
// file's order, heads and ratios ascending.
type grid struct {
	space  *space.Space
	embed  []int
	depth  []int
	heads  []int
	ratios []float64
}

func newGrid(s *space.Space) grid {
	return grid{
		space: s, embed: s.EmbedDim, depth: s.Depth,
		heads: slices.Sorted(slices.Values(s.NumHeads)), ratios: slices.Sorted(slices.Values(s.MLPRatio)),
	}
}

// layers is the largest depth; no block beyond it is ever used.
func (g grid) layers() int { return slices.Max(g.depth) }

// pick is an architecture as indices into the grid.
type pick struct {
	embed, depth int
	heads, mlp   []int // per layer
}

func (g grid) arch(p pick) space.Arch {
	a := space.Arch{EmbedDim: g.embed[p.embed], NumHeads: make([]int, len(p.heads)), MLPRatio: make([]float64, len(p.mlp))}
	for i := range p.heads {
		a.NumHeads[i], a.MLPRatio[i] = g.heads[p.heads[i]], g.ratios[p.mlp[i]]
	}
	return a
}

// pick of an architecture that the space contains.
func (g grid) pick(a space.Arch) pick {
	p := pick{embed: slices.Index(g.embed, a.EmbedDim), depth: slices.Index(g.depth, a.Depth())}
	for i := range a.NumHeads {
		p.heads = append(p.heads, slices.Index(g.heads, a.NumHeads[i]))
		p.mlp = append(p.mlp, slices.Index(g.ratios, a.MLPRatio[i]))
	}
	return p
}

// Sums holds the sums of saliency over every slice that an architecture of a
// space can have: the prefix sums that make all scores of this package a few
// additions. It is small (a few numbers per weight and choice) and outlives
// the weights it was made from.
type Sums struct {
	grid      grid
	layers    []blockSums
	outer     map[string]*cells // by name: patch embedding, final norm, head
	gradients bool              // gradients were given
	signed    bool              // the signed measures were summed
	embedCuts []int
}

// blockSums are the sums of one block by the name within the block.
type blockSums map[string]*cells

// NewSums sums weights and gradients over the slices of the space. Without
// gradients (nil) only scores of weights can be made from it. signed adds the
// sums of w and w·g with their sign, which only taylor5 and plain_value need.
//
// It refuses tensors that are missing or too small (ErrWeights), NaN and
// infinity (ErrNotFinite), and gradients that are all zero
// (ErrZeroGradients).
func NewSums(s *space.Space, weights, gradients Tensors, signed bool) (*Sums, error) {
	u, err := newSums(s, func(name string, rows, cols []int) (*cells, error) {
		return sumTensor(name, weights, gradients, rows, cols, signed)
	})
	if err != nil {
		return nil, err
	}
	u.gradients, u.signed = gradients != nil, signed
	return u, u.checkGradients()
}

// newSums asks sum for each scored tensor of the space, cut where the choices
// of the space cut it.
func newSums(s *space.Space, sum func(name string, rows, cols []int) (*cells, error)) (*Sums, error) {
	g := newGrid(s)
	u := &Sums{grid: g, outer: map[string]*cells{}}
	u.embedCuts = slices.Sorted(slices.Values(g.embed))
	m := s.Model
	patch := []int{m.Channels * m.PatchSize * m.PatchSize}
	classes := u.embedAnd(m.NumClasses) // the original cuts the head's bias by the embedding dim
	one := []int{1}

	add := func(into map[string]*cells, prefix, name string, rows, cols []int) error {
		c, err := sum(prefix+name, rows, cols)
		into[name] = c
		return err
	}
	for _, w := range []struct {
		name       string
		rows, cols []int
	}{
		{"patch_embed_super.proj.weight", u.embedCuts, patch},
		{"patch_embed_super.proj.bias", u.embedCuts, one},
		{"norm.weight", u.embedCuts, one},
		{"norm.bias", u.embedCuts, one},
		{"head.weight", []int{m.NumClasses}, u.embedCuts},
		{"head.bias", within(classes, m.NumClasses), one},
	} {
		if err := add(u.outer, "", w.name, w.rows, w.cols); err != nil {
			return nil, err
		}
	}

	var inner, qkv, hidden []int
	for _, h := range g.heads {
		inner = append(inner, h*m.HeadDim)
		qkv = append(qkv, 3*h*m.HeadDim)
	}
	for _, e := range g.embed {
		for _, r := range g.ratios {
			hidden = append(hidden, space.Hidden(e, r))
		}
	}
	hidden = ascending(hidden)
	for i := range g.layers() {
		prefix, block := fmt.Sprintf("blocks.%d.", i), blockSums{}
		u.layers = append(u.layers, block)
		// Block scores divide by the sum over all rows of the supernet, beyond
		// the largest choice too: one more cut.
		allQKV := withLast(qkv, 3*s.Supernet.NumHeads*m.HeadDim)
		allHidden := withLast(hidden, space.Hidden(s.Supernet.EmbedDim, s.Supernet.MLPRatio))
		for _, w := range []struct {
			name       string
			rows, cols []int
		}{
			{"attn.qkv.weight", allQKV, u.embedCuts},
			{"attn.qkv.bias", qkv, one},
			{"attn.proj.weight", u.embedCuts, inner},
			{"attn.proj.bias", u.embedCuts, one},
			{"attn_layer_norm.weight", u.embedCuts, one},
			{"attn_layer_norm.bias", u.embedCuts, one},
			{"fc1.weight", allHidden, u.embedCuts},
			{"fc1.bias", hidden, one},
			{"fc2.weight", u.embedCuts, allHidden},
			{"fc2.bias", u.embedCuts, one},
			{"ffn_layer_norm.weight", u.embedCuts, one},
			{"ffn_layer_norm.bias", u.embedCuts, one},
		} {
			if w.name == "attn.qkv.bias" && !m.QKVBias {
				continue
			}
			if err := add(block, prefix, w.name, w.rows, w.cols); err != nil {
				return nil, err
			}
		}
	}
	return u, nil
}

func sumTensor(name string, weights, gradients Tensors, rows, cols []int, signed bool) (*cells, error) {
	w, ok := weights[name]
	if !ok {
		return nil, fmt.Errorf("%w: tensor %s is missing", ErrWeights, name)
	}
	if err := w.fits(name, rows, cols); err != nil {
		return nil, err
	}
	var g Tensor
	if gradients != nil {
		if g, ok = gradients[name]; !ok {
			return nil, fmt.Errorf("%w: there is no gradient of tensor %s", ErrWeights, name)
		}
		if !slices.Equal(g.Shape, w.Shape) || len(g.Data) != len(w.Data) {
			return nil, fmt.Errorf("%w: the gradient of tensor %s has shape %v, the weight %v", ErrWeights, name, g.Shape, w.Shape)
		}
	}
	_, width := w.matrix()
	c := newCells(w.Data, g.Data, width, rows, cols, signed)
	for what, m := range map[string]measure{"weights": absWeight, "gradient": absGradient} {
		if total := c.at(m, rows[len(rows)-1], cols[len(cols)-1]); math.IsNaN(total) || math.IsInf(total, 0) {
			return nil, fmt.Errorf("%s of tensor %s: %w", what, name, ErrNotFinite)
		}
	}
	return c, nil
}

func (u *Sums) checkGradients() error {
	if !u.gradients {
		return nil
	}
	for _, block := range u.layers {
		for _, c := range block {
			if c.at(absGradient, c.rows[len(c.rows)-1], c.cols[len(c.cols)-1]) > 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: check the weights and the inputs they were computed from", ErrZeroGradients)
}

func (u *Sums) embedAnd(extra int) []int { return ascending(append(slices.Clone(u.embedCuts), extra)) }

// within keeps the cuts up to most, which is itself a cut.
func within(cuts []int, most int) []int {
	return slices.DeleteFunc(slices.Clone(cuts), func(c int) bool { return c > most })
}

func ascending(v []int) []int { return slices.Compact(slices.Sorted(slices.Values(v))) }

func withLast(cuts []int, last int) []int { return ascending(append(slices.Clone(cuts), last)) }
