package search

import (
	"fmt"
	"math"
	"strings"

	"prenas/pkg/space"
)

// ScoreMethod is a score that adds up over slices, the original's or another, read from its name:
//
//	[left_|pruned_][super_|attn_mlp_][avg_]BASE      or   entropy, params, cuts
//
//	BASE     l1norm   Σ|w|           over all weights that the architecture uses
//	         taylor5  |Σ w·g|
//	         taylor6  Σ|w·g|
//	         taylor9  √Σ|g|
//	         grad_square    Σg², the squared norm of the gradient (after grad_norm of Abdelfattah
//	                        et al., Zero-Cost Proxies for Lightweight NAS, ICLR 2021)
//	         taylor_square  Σ(w·g)² (Molchanov et al., Importance Estimation for Neural
//	                        Network Pruning, CVPR 2019)
//	         synflow        Σ|w·g| where w are the absolute weights and g their gradients on one
//	                        image of ones (Tanaka et al., NeurIPS 2020): see Linear
//	attn_mlp          leaves out patch embedding, head and every norm
//	pruned            the negated score: the best is what is best removed
//	avg               divided by the number of scored weights (within the root)
//
// cuts is of trained weights, and measured: see CutsTable.
//
// left and super are the default and may be left out. Position embedding,
// class token and relative-position tables are never scored.
type ScoreMethod struct {
	base    string
	attnMLP bool
	pruned  bool
	avg     bool

	measured *Table // of cuts

	// FullHeadBias scores the whole bias of the head. The original cuts it by
	// the embedding dim, which loses classes where there are more than dims.
	FullHeadBias bool
}

var scoreBases = []string{"l1norm", "taylor5", "taylor6", "taylor9", "grad_square", "taylor_square", "synflow"}

// ParseScoreMethod reads the name of a score method. Names that the original
// cannot compute (taylor1, taylor2, taylor8), or for which it silently gives
// the plain score (those ending in _norm), are refused by name.
func ParseScoreMethod(name string) (ScoreMethod, error) {
	known := "known are l1norm, taylor5, taylor6, taylor9, grad_square, taylor_square and synflow, each optionally with left_ or pruned_, super_ or attn_mlp_, and avg_ before it, and entropy, params and cuts"
	if name == "entropy" || name == "params" || name == "cuts" {
		return ScoreMethod{base: name}, nil
	}
	rest := name
	cut := func(prefix string) bool {
		var found bool
		rest, found = strings.CutPrefix(rest, prefix)
		return found
	}
	var m ScoreMethod
	if !cut("left_") {
		m.pruned = cut("pruned_")
	}
	if !cut("super_") {
		m.attnMLP = cut("attn_mlp_")
	}
	m.avg = cut("avg_")
	for _, base := range scoreBases {
		if rest == base {
			m.base = base
			return m, nil
		}
	}
	switch {
	case rest == "taylor1" || rest == "taylor2" || rest == "taylor8":
		return m, fmt.Errorf("%w of scoring %q: the original names it and never computes it; %s", ErrMethod, name, known)
	case strings.HasSuffix(rest, "_norm"):
		return m, fmt.Errorf("%w of scoring %q: the original gives the plain score under this name, which is %s; %s",
			ErrMethod, name, strings.TrimSuffix(name, "_norm"), known)
	}
	return m, fmt.Errorf("%w of scoring %q; %s", ErrMethod, name, known)
}

// String is the method's name in its shortest form.
func (m ScoreMethod) String() string {
	var b strings.Builder
	for _, part := range []struct {
		on   bool
		text string
	}{{m.pruned, "pruned_"}, {m.attnMLP, "attn_mlp_"}, {m.avg, "avg_"}} {
		if part.on {
			b.WriteString(part.text)
		}
	}
	return b.String() + m.base
}

// NeedsGradients reports whether the score is made from gradients.
func (m ScoreMethod) NeedsGradients() bool {
	return m.needsWeights() && m.base != "l1norm"
}

// Linear reports whether weights and gradients must be those of SynFlow: the absolute
// weights, and their gradients on one image of ones. Block scores of the same
// search are then made from them too.
func (m ScoreMethod) Linear() bool { return m.base == "synflow" }

func (m ScoreMethod) needsWeights() bool {
	return m.base != "entropy" && m.base != "params" && !m.Measured()
}

// Measured reports whether the score is one of a table that With gives, as CutsTable makes it.
func (m ScoreMethod) Measured() bool { return m.base == "cuts" }

// With is the method with its measured table.
func (m ScoreMethod) With(t *Table) ScoreMethod {
	m.measured = t
	return m
}

func (m ScoreMethod) needsMoments() bool {
	return m.base == "taylor5" || m.base == "grad_square" || m.base == "taylor_square"
}

func (m ScoreMethod) measure() measure {
	switch m.base {
	case "l1norm":
		return absWeight
	case "taylor5":
		return signedProduct
	case "taylor9":
		return absGradient
	case "grad_square":
		return squareGradient
	case "taylor_square":
		return squareProduct
	}
	return absProduct
}

// finish makes the score from the sum over an architecture's weights and the
// number of weights in that sum.
func (m ScoreMethod) finish(sum, count float64) float64 {
	switch m.base {
	case "params":
		return sum / 1e6
	case "taylor5":
		sum = math.Abs(sum)
	}
	if m.avg {
		sum /= count
	}
	if m.base == "taylor9" {
		sum = math.Sqrt(sum)
	}
	if m.pruned {
		sum = -sum
	}
	return sum
}

// Scores gives the score of any architecture of a space in a few additions.
type Scores struct {
	Method ScoreMethod
	grid   grid
	sum    *Table
	count  *Table // scored weights; used by avg
	// ordered, where it is not nil, is the score as the original adds it up: the same sum,
	// rounded as there, which decides among architectures that are equal but for rounding.
	ordered func(p pick) float64
}

// NewScores makes the scores of a method. sums may be nil for entropy and
// params, which look at neither weights nor gradients.
func NewScores(s *space.Space, sums *Sums, method ScoreMethod) (*Scores, error) {
	sc := &Scores{Method: method, grid: newGrid(s)}
	if err := sc.grid.scores(method); err != nil {
		return nil, err
	}
	switch {
	case method.Measured() && method.measured == nil:
		return nil, fmt.Errorf("%w: score %s is measured, and there is no table of it", ErrWeights, method)
	case method.Measured():
		sc.sum = method.measured
	case method.base == "params":
		sc.sum = ParamsTable(s)
	case method.base == "entropy":
		sc.sum, sc.ordered = entropyTable(s), orderedEntropy(s)
	case method.base == "":
		return nil, fmt.Errorf("%w of scoring: none given", ErrMethod)
	case sums == nil:
		return nil, fmt.Errorf("%w: score %s needs weights", ErrWeights, method)
	case method.NeedsGradients() && !sums.gradients:
		return nil, fmt.Errorf("%w: score %s needs gradients", ErrWeights, method)
	case method.needsMoments() && !sums.moments:
		return nil, fmt.Errorf("%w: score %s needs sums with their sign or of squares", ErrWeights, method)
	default:
		m := method.measure()
		sum := sc.grid.table(sums, method, func(c *prefixSums, rows, cols int) float64 { return c.at(m, rows, cols) })
		sc.sum = sc.grid.weigh(sc.grid, sum)
		sc.count = sc.grid.table(sums, method, func(_ *prefixSums, rows, cols int) float64 { return float64(rows) * float64(cols) })
	}
	sc.sum = sc.sum.exact()
	return sc, nil
}

// Of is the score of an architecture, which must be of the space.
func (s *Scores) Of(a space.Arch) float64 { return s.of(s.grid.pick(a)) }

func (s *Scores) of(p pick) float64 {
	if s.ordered != nil {
		return s.ordered(p)
	}
	if s.count == nil {
		return s.Method.finish(s.sum.total(p), 1)
	}
	return s.Method.finish(s.sum.total(p), s.count.total(p))
}
