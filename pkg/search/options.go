package search

import (
	"fmt"
	"slices"

	"prenas/pkg/space"
)

// Method is a way of searching.
type Method string

const (
	// Preferred is PreNAS's: of all architectures with the same counts of
	// choices only the one that block scores prefer is looked at, and all of
	// these are.
	Preferred Method = "preferred"
	// Exact finds the best architecture of the whole space.
	Exact Method = "exact"
	// Evolution breeds the best of a population.
	Evolution Method = "evolution"
	// Random takes the best of some architectures drawn at random.
	Random Method = "random"
)

// Methods are the known methods.
func Methods() []Method { return []Method{Preferred, Exact, Evolution, Random} }

// ParseMethod reads the name of a method.
func ParseMethod(name string) (Method, error) {
	if m := Method(name); slices.Contains(Methods(), m) {
		return m, nil
	}
	return "", fmt.Errorf("%w %q; known are preferred, exact, evolution and random", ErrMethod, name)
}

// ParseSplits reads the --splits flag: "original" or "all".
func ParseSplits(name string) (all bool, err error) {
	switch name {
	case "original", "all":
		return name == "all", nil
	}
	return false, fmt.Errorf("%w of splitting %q; known are original and all", ErrMethod, name)
}

// Options say how to search. The zero value of a field is its default.
type Options struct {
	Score ScoreMethod // default taylor6
	Heads BlockMethod // default balance_taylor6_max_dim
	MLP   BlockMethod // default balance_taylor6_max_dim

	Method    Method         // default Preferred
	AllSplits bool           // for Preferred: every split, not only the original's
	Interval  space.Interval // default the space's own
	// Budgets, ascending, take the place of equal steps: each interval is what costs at
	// most one of them and more than the one before. Of Interval only Min counts then.
	Budgets []float64
	Cost    Cost    // what Interval and Budgets are about; default parameters, in millions
	Limits  []Limit // all hold, for every interval
	Top     int     // architectures per interval; default 1

	Seed       uint64 // of Evolution and Random
	Population int    // of Evolution and Random: architectures drawn at first in each interval; default 50

	// Of Evolution. The defaults are AutoFormer's (Chen et al., ICCV 2021, evolution.py).
	Generations int     // after the first population; default 20
	Select      int     // the best so far, which are the parents of a generation; default a fifth of Population, at least 2
	Mutation    int     // mutants of a generation; default half of Population
	Crossover   int     // crossings of a generation; default half of Population
	GeneProb    float64 // that each choice of a layer of a mutant is drawn anew; default 0.2
	TrunkProb   float64 // that its embedding dim is, or resolution, and so its depth; default 0.4
}

func (o Options) withDefaults(s *space.Space) Options {
	block := BlockMethod{base: "taylor6", balance: true, maxDim: true}
	if o.Score.base == "" {
		o.Score.base = "taylor6"
	}
	if o.Heads.base == "" {
		o.Heads = block
	}
	if o.MLP.base == "" {
		o.MLP = block
	}
	if o.Method == "" {
		o.Method = Preferred
	}
	if o.Interval == (space.Interval{}) && o.Budgets == nil {
		o.Interval = s.Interval
	}
	if o.Cost.Table == nil {
		o.Cost = ParamsCost(s)
	}
	if o.Top == 0 {
		o.Top = 1
	}
	if o.Population == 0 {
		o.Population = 50
	}
	if o.Generations == 0 {
		o.Generations = 20
	}
	if o.Select == 0 {
		o.Select = max(2, o.Population/5)
	}
	if o.Mutation == 0 {
		o.Mutation = (o.Population + 1) / 2
	}
	if o.Crossover == 0 {
		o.Crossover = max(1, o.Population/2)
	}
	if o.GeneProb == 0 {
		o.GeneProb = 0.2
	}
	if o.TrunkProb == 0 {
		o.TrunkProb = 0.4
	}
	return o
}

// Full are the options with their defaults for a space.
func (o Options) Full(s *space.Space) Options { return o.withDefaults(s) }

// Intervals is the number of intervals, of options that Check has no objection to.
func (o Options) Intervals() int {
	b, err := newBins(o.Interval)
	if o.Budgets != nil {
		b, err = newBudgets(o.Budgets, o.Interval.Min)
	}
	if err != nil {
		return 0
	}
	return b.count
}

// blockMethods are the block scores that the search asks for.
func (o Options) blockMethods() []BlockMethod {
	if o.Method == Preferred {
		return []BlockMethod{o.Heads, o.MLP}
	}
	return nil
}

func (o Options) needsWeights() bool {
	return o.Score.needsWeights() || slices.ContainsFunc(o.blockMethods(), BlockMethod.needsWeights)
}

func (o Options) needsGradients() bool {
	return o.Score.NeedsGradients() || slices.ContainsFunc(o.blockMethods(), BlockMethod.NeedsGradients)
}

func (o Options) needsMoments() bool {
	return o.Score.needsMoments() || slices.ContainsFunc(o.blockMethods(), BlockMethod.needsMoments)
}

// Needs says what sums a search asks for.
type Needs struct {
	Weights, Gradients bool // gradients take far longer to make than the search
	Moments            bool // sums with their sign and of squares too
}

// Needs of a search with these options.
func (o Options) Needs(s *space.Space) Needs {
	o = o.withDefaults(s)
	return Needs{o.needsWeights(), o.needsGradients(), o.needsMoments()}
}

// Serves tells whether the sums have what a search needs.
func (u *Sums) Serves(n Needs) bool {
	return (u.gradients || !n.Gradients) && (u.moments || !n.Moments)
}
