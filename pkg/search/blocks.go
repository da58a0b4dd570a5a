package search

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"prenas/pkg/space"
)

// BlockMethod ranks the layers of a network by how much a larger choice of
// heads, or of the MLP's ratio (of the kernel, or of the expansion), is worth there. It is read from its name:
//
//	deeper_is_better     later layers first, whatever the weights
//	[balance_]BASE[_norm|_doublenorm][_max_dim]
//
//	BASE       plain_value |Σw|   l1norm Σ|w|   taylor5 |Σw·g|   taylor6 Σ|w·g|   taylor9 Σ|g|
//	balance    each factor, w and g, divided by its own sum over the matrix
//	norm       divided by the base's sum over the matrix; doublenorm, twice
//	max_dim    ranked by the scores at the largest embedding dim, so that the
//	           ranking is one for all dims
//
// The sum over the matrix is over the largest choice of embedding dim and over
// all rows (hidden units) of the supernet, in the manner of the base: balance
// with taylor5 divides by |Σw| and |Σg|, with taylor6 by Σ|w| and Σ|g|.
//
// balance with taylor5 is ill-conditioned for the MLP: the gradients of fc2
// sum to zero up to rounding, because the norm that follows takes out the
// mean, so its scores are rounding noise there. It is kept because the
// original has it.
type BlockMethod struct {
	base    string
	balance bool
	norms   int
	maxDim  bool
}

const deeper = "deeper_is_better"

// ParseBlockMethod reads the name of a block score.
func ParseBlockMethod(name string) (BlockMethod, error) {
	if name == deeper {
		return BlockMethod{base: deeper}, nil
	}
	var m BlockMethod
	rest, balance := strings.CutPrefix(name, "balance_")
	rest, m.maxDim = strings.CutSuffix(rest, "_max_dim")
	m.balance = balance
	if r, ok := strings.CutSuffix(rest, "_doublenorm"); ok {
		rest, m.norms = r, 2
	} else if r, ok := strings.CutSuffix(rest, "_norm"); ok {
		rest, m.norms = r, 1
	}
	switch rest {
	case "plain_value", "l1norm", "taylor5", "taylor6", "taylor9":
		m.base = rest
		return m, nil
	}
	return m, fmt.Errorf("%w of scoring blocks %q; known are %s, and l1norm, plain_value, taylor5, taylor6 and taylor9, each optionally with balance_ before it and _norm or _doublenorm, and _max_dim, after it",
		ErrMethod, name, deeper)
}

// String is the method's name.
func (m BlockMethod) String() string {
	name := m.base
	if m.balance {
		name = "balance_" + name
	}
	name += []string{"", "_norm", "_doublenorm"}[m.norms]
	if m.maxDim {
		name += "_max_dim"
	}
	return name
}

// NeedsGradients reports whether the block score is made from gradients.
func (m BlockMethod) NeedsGradients() bool { return strings.HasPrefix(m.base, "taylor") }

func (m BlockMethod) needsMoments() bool { return m.base == "taylor5" || m.base == "plain_value" }

func (m BlockMethod) needsWeights() bool { return m.base != deeper }

// BlockScores are the scores of the first or of the second choices of a layer:
// scores[e][j][l] is what choice j (ascending) adds over choice j-1 in layer l
// at scale e. scores[e][0] is nil: the smallest choice adds nothing.
type BlockScores struct {
	grid   grid
	method BlockMethod
	scores [][][]float64
}

// NewBlockScores makes the block scores of the first choices, heads or kernels,
// or else of the second, MLP ratios or expansions. sums may be nil for
// deeper_is_better.
func NewBlockScores(s *space.Space, sums *Sums, method BlockMethod, first bool) (*BlockScores, error) {
	switch {
	case method.base == "":
		return nil, fmt.Errorf("%w of scoring blocks: none given", ErrMethod)
	case method.needsWeights() && sums == nil:
		return nil, fmt.Errorf("%w: block score %s needs weights", ErrWeights, method)
	case method.NeedsGradients() && !sums.gradients:
		return nil, fmt.Errorf("%w: block score %s needs gradients", ErrWeights, method)
	case method.needsMoments() && !sums.moments:
		return nil, fmt.Errorf("%w: block score %s needs sums with their sign", ErrWeights, method)
	}
	g := newGrid(s)
	b := &BlockScores{grid: g, method: method}
	choices := g.second
	if first {
		choices = g.first
	}
	for e := range g.scales {
		byChoice := make([][]float64, choices)
		for j := 1; j < choices; j++ {
			for l := range g.layers {
				v := float64(l)
				if method.base != deeper {
					v = g.block(sums, method, first, e, j, l)
				}
				if math.IsNaN(v) || math.IsInf(v, 0) {
					return nil, fmt.Errorf("block score %s of layer %d at %d: %w (it divides by a sum that is zero)", method, l, g.scales[e], ErrNotFinite)
				}
				byChoice[j] = append(byChoice[j], v)
			}
		}
		b.scores = append(b.scores, byChoice)
	}
	return b, nil
}

// of makes a block's score from its sums over the slice and over the matrix.
func (m BlockMethod) of(slice, whole func(measure) float64) float64 {
	var product measure
	var factors []measure
	switch m.base {
	case "plain_value":
		product, factors = signedWeight, []measure{signedWeight}
	case "l1norm":
		product, factors = absWeight, []measure{absWeight}
	case "taylor5":
		product, factors = signedProduct, []measure{signedWeight, signedGradient}
	case "taylor6":
		product, factors = absProduct, []measure{absWeight, absGradient}
	case "taylor9":
		product, factors = absGradient, []measure{absGradient}
	}
	score := math.Abs(slice(product))
	if m.balance {
		for _, f := range factors {
			score /= math.Abs(whole(f))
		}
	}
	for range m.norms {
		score /= math.Abs(whole(product))
	}
	return score
}

// ranking lists the places of some layers, from 0, by the score of choice j at
// scale e, best first; ties go to the earlier layer.
func (b *BlockScores) ranking(e, j int, layers []int) []int {
	if b.method.maxDim {
		e = b.grid.widest(b.grid)
	}
	scores, places := b.scores[e][j], make([]int, len(layers))
	for i := range places {
		places[i] = i
	}
	slices.SortStableFunc(places, func(x, y int) int {
		switch a, b := scores[layers[x]], scores[layers[y]]; {
		case a > b:
			return -1
		case a < b:
			return 1
		}
		return 0
	})
	return places
}

// isomer gives counts[j] layers choice j: from the largest choice down, to the
// best layers not yet taken; the rest get the smallest. Of all the networks
// with these counts it is the one that step two looks at.
func isomer(rankings [][]int, counts []int) []int {
	depth := 0
	for _, c := range counts {
		depth += c
	}
	choice, taken := make([]int, depth), make([]bool, depth)
	for j := len(counts) - 1; j > 0; j-- {
		left := counts[j]
		for _, l := range rankings[j] {
			if left == 0 {
				break
			}
			if !taken[l] {
				choice[l], taken[l] = j, true
				left--
			}
		}
	}
	return choice
}

// rankings of every choice at one scale, of some layers; that of the smallest is
// nil.
func (b *BlockScores) rankings(e int, layers []int) [][]int {
	all := make([][]int, len(b.scores[e]))
	for j := 1; j < len(all); j++ {
		all[j] = b.ranking(e, j, layers)
	}
	return all
}
