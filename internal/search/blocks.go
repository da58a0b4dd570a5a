package search

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"prenas/internal/space"
)

// BlockMethod ranks the layers of a network by how much a larger choice of
// heads, or of the MLP's ratio, is worth there. It is read from its name:
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

func (m BlockMethod) signed() bool { return m.base == "taylor5" || m.base == "plain_value" }

func (m BlockMethod) needsWeights() bool { return m.base != deeper }

// BlockScores are the scores of the choices of heads or of MLP ratios:
// scores[e][j][l] is what choice j (ascending) adds over choice j-1 in layer l
// at embedding dim e. scores[e][0] is nil: the smallest choice adds nothing.
type BlockScores struct {
	grid   grid
	method BlockMethod
	heads  bool
	scores [][][]float64
}

// NewBlockScores makes the block scores of the heads (or else of the MLPs).
// sums may be nil for deeper_is_better.
func NewBlockScores(s *space.Space, sums *Sums, method BlockMethod, heads bool) (*BlockScores, error) {
	switch {
	case method.base == "":
		return nil, fmt.Errorf("%w of scoring blocks: none given", ErrMethod)
	case method.needsWeights() && sums == nil:
		return nil, fmt.Errorf("%w: block score %s needs weights", ErrWeights, method)
	case method.NeedsGradients() && !sums.gradients:
		return nil, fmt.Errorf("%w: block score %s needs gradients", ErrWeights, method)
	case method.signed() && !sums.signed:
		return nil, fmt.Errorf("%w: block score %s needs signed sums", ErrWeights, method)
	}
	g := newGrid(s)
	b := &BlockScores{grid: g, method: method, heads: heads}
	choices := len(g.ratios)
	if heads {
		choices = len(g.heads)
	}
	for _, e := range g.embed {
		byChoice := make([][]float64, choices)
		for j := 1; j < choices; j++ {
			for l := range g.layers() {
				v := float64(l)
				if method.base != deeper {
					v = b.score(sums, e, j, l)
				}
				if math.IsNaN(v) || math.IsInf(v, 0) {
					return nil, fmt.Errorf("block score %s of layer %d at embedding dim %d: %w (it divides by a sum that is zero)", method, l, e, ErrNotFinite)
				}
				byChoice[j] = append(byChoice[j], v)
			}
		}
		b.scores = append(b.scores, byChoice)
	}
	return b, nil
}

// score of choice j in layer l: the rows of qkv, or the rows of fc1 and the
// columns of fc2, between the choice below and this one, cut to e inputs.
//
//	     e                        fc2   hidden_(j-1)   hidden_j
//	┌────────┬───┐                   ┌──────┬────────┬───┐
//	│        │   │                   │      │████████│   │
//	├────────┤   │ 192·h_(j-1)     e ├──────┴────────┘   │
//	│████████│   │                   │                   │
//	├────────┘   │ 192·h_j           └───────────────────┘
//	└────────────┘
func (b *BlockScores) score(u *Sums, e, j, l int) float64 {
	block, widest := u.layers[l], slices.Max(b.grid.embed)
	if b.heads {
		unit := 3 * b.grid.space.Model.HeadDim
		from, to := unit*b.grid.heads[j-1], unit*b.grid.heads[j]
		qkv := block["attn.qkv.weight"]
		return b.method.of(
			func(m measure) float64 { return qkv.at(m, to, e) - qkv.at(m, from, e) },
			func(m measure) float64 { return qkv.at(m, qkv.rows[len(qkv.rows)-1], widest) })
	}
	from, to := space.Hidden(e, b.grid.ratios[j-1]), space.Hidden(e, b.grid.ratios[j])
	fc1, fc2 := block["fc1.weight"], block["fc2.weight"]
	return b.method.of(
		func(m measure) float64 { return fc1.at(m, to, e) - fc1.at(m, from, e) },
		func(m measure) float64 { return fc1.at(m, fc1.rows[len(fc1.rows)-1], widest) },
	) + b.method.of(
		func(m measure) float64 { return fc2.at(m, e, to) - fc2.at(m, e, from) },
		func(m measure) float64 { return fc2.at(m, widest, fc2.cols[len(fc2.cols)-1]) })
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

// ranking lists the first depth layers by the score of choice j at embedding
// dim index e, best first; ties go to the lower layer.
func (b *BlockScores) ranking(e, j, depth int) []int {
	if b.method.maxDim {
		e = slices.Index(b.grid.embed, slices.Max(b.grid.embed))
	}
	scores := b.scores[e][j]
	layers := make([]int, depth)
	for l := range layers {
		layers[l] = l
	}
	slices.SortStableFunc(layers, func(x, y int) int {
		switch {
		case scores[x] > scores[y]:
			return -1
		case scores[x] < scores[y]:
			return 1
		}
		return 0
	})
	return layers
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

// rankings of every choice at one embedding dim and depth; that of the
// smallest is nil.
func (b *BlockScores) rankings(e, depth int) [][]int {
	all := make([][]int, len(b.scores[e]))
	for j := 1; j < len(all); j++ {
		all[j] = b.ranking(e, j, depth)
	}
	return all
}
