package search

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"prenas/internal/space"
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
	Cost      Cost           // what Interval is about; default parameters, in millions
	Limits    []Limit        // all hold, for every interval
	Top       int            // architectures per interval; default 1

	Seed        uint64 // of Evolution and Random
	Population  int    // of Evolution and Random: architectures drawn at first; default 50
	Generations int    // of Evolution; default 20
}

// BinReport says what a search found in one interval.
type BinReport struct {
	Key          string  // in the candidates file
	Lower, Upper float64 // in units of the cost; Upper is not in it
	Members      int64   // architectures that were looked at; 0 for Exact
	Found        int     // architectures that were kept
	Best, Second float64 // scores; NaN where there is none
}

// Report says what a search did.
type Report struct {
	Enumerated  int64 // architectures scored, in an interval or not; 0 for Exact
	Bins        []BinReport
	Least, Most float64 // what the space's architectures cost, in units of the cost
}

// Empty lists the intervals in which nothing was found.
func (r *Report) Empty() []string {
	var keys []string
	for _, b := range r.Bins {
		if b.Found == 0 {
			keys = append(keys, fmt.Sprintf("[%v, %v)", b.Lower, b.Upper))
		}
	}
	return keys
}

type run struct {
	space   *space.Space
	grid    grid
	options Options
	scores  *Scores
	cost    Cost
	bins    bins
	found   [][]scored // per bin, best first
	report  Report
}

type scored struct {
	pick  pick
	score float64
}

// Run searches a space for the best architectures of each interval.
//
// weights and gradients are those of the supernet; either may be nil where no
// method asks for it. The candidates are what candidates.json holds: intervals
// ascending, empty ones left out (Report.Empty lists them). When all are
// empty, the error wraps ErrEmpty (or ErrBudget, if a limit is to blame) and
// says what the space spans. The report is there whenever the options are
// sound, also with such an error.
func Run(s *space.Space, weights, gradients Tensors, o Options) (space.Candidates, *Report, error) {
	o = o.withDefaults(s)
	var sums *Sums
	if o.needsWeights() {
		if weights == nil {
			return nil, nil, fmt.Errorf("%w: none given", ErrWeights)
		}
		if !o.needsGradients() {
			gradients = nil
		} else if gradients == nil {
			return nil, nil, fmt.Errorf("%w: no gradients given", ErrWeights)
		}
		var err error
		if sums, err = NewSums(s, weights, gradients, o.signed()); err != nil {
			return nil, nil, err
		}
	}
	return RunSums(s, sums, o)
}

// RunSums is Run on sums that exist already; nil where no method needs them.
func RunSums(s *space.Space, sums *Sums, o Options) (space.Candidates, *Report, error) {
	o = o.withDefaults(s)
	scores, err := NewScores(s, sums, o.Score)
	if err != nil {
		return nil, nil, err
	}
	r := &run{space: s, grid: newGrid(s), options: o, scores: scores, cost: o.Cost}
	if r.bins, err = newBins(o.Interval); err != nil {
		return nil, nil, err
	}
	r.found = make([][]scored, r.bins.count)
	least, most := r.cost.span(r.grid)
	r.report.Least, r.report.Most = least/r.cost.Unit, most/r.cost.Unit
	for i := range r.bins.count {
		lower, upper := r.bins.bounds(i)
		r.report.Bins = append(r.report.Bins, BinReport{
			Key: space.BinKey(upper), Lower: lower, Upper: upper, Best: math.NaN(), Second: math.NaN(),
		})
	}
	if err := r.checkLimits(); err != nil {
		return nil, &r.report, err
	}
	switch o.Method {
	case Preferred:
		var heads, mlp *BlockScores
		if heads, err = NewBlockScores(s, sums, o.Heads, true); err == nil {
			if mlp, err = NewBlockScores(s, sums, o.MLP, false); err == nil {
				err = r.enumerate(heads, mlp)
			}
		}
	case Exact:
		err = r.exact()
	case Evolution, Random:
		err = r.sample()
	default:
		_, err = ParseMethod(string(o.Method))
	}
	if err != nil {
		return nil, &r.report, err
	}
	return r.candidates()
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
	if o.Interval == (space.Interval{}) {
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
	return o
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

func (o Options) signed() bool {
	return o.Score.signed() || slices.ContainsFunc(o.blockMethods(), BlockMethod.signed)
}

// Needs says what sums a search asks for.
type Needs struct {
	Weights, Gradients bool // gradients take far longer to make than the search
	Signed             bool // sums with their sign too
}

// Needs of a search with these options.
func (o Options) Needs(s *space.Space) Needs {
	o = o.withDefaults(s)
	return Needs{o.needsWeights(), o.needsGradients(), o.signed()}
}

// Serves tells whether the sums have what a search needs.
func (u *Sums) Serves(n Needs) bool {
	return (u.gradients || !n.Gradients) && (u.signed || !n.Signed)
}

// offer keeps an architecture if it is among the best of its bin. Of equal
// scores the one that came first stays ahead. The pick's slices are shared
// with the caller and never written to.
func (r *run) offer(bin int, p pick, score float64) {
	list := r.found[bin]
	at, _ := slices.BinarySearchFunc(list, score, func(s scored, score float64) int {
		if s.score >= score {
			return -1
		}
		return 1
	})
	// One more than asked for, so that the report has the runner-up's score.
	keep := max(r.options.Top, 2)
	if at >= keep {
		return
	}
	list = slices.Insert(list, at, scored{p, score})
	r.found[bin] = list[:min(len(list), keep)]
}

// checkLimits refuses a limit that no architecture meets.
func (r *run) checkLimits() error {
	for _, l := range r.options.Limits {
		if err := l.check(r.grid); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) candidates() (space.Candidates, *Report, error) {
	var all space.Candidates
	for i, list := range r.found {
		b := &r.report.Bins[i]
		if len(list) > 0 {
			b.Best = list[0].score
		}
		if len(list) > 1 {
			b.Second = list[1].score
		}
		list = list[:min(len(list), r.options.Top)]
		if b.Found = len(list); b.Found == 0 {
			continue
		}
		bin := space.Bin{Key: b.Key}
		for _, f := range list {
			if math.IsNaN(f.score) || math.IsInf(f.score, 0) {
				return nil, &r.report, fmt.Errorf("score %s in interval %s: %w", r.options.Score, b.Key, ErrNotFinite)
			}
			a := r.grid.arch(f.pick)
			bin.Candidates = append(bin.Candidates, space.Candidate{Arch: a, Params: r.space.Model.Params(a), Score: f.score})
		}
		all = append(all, bin)
	}
	if len(all) == 0 {
		return nil, &r.report, r.nothingFound()
	}
	return all, &r.report, nil
}

func (r *run) nothingFound() error {
	where := fmt.Sprintf("from %v to %v by %v", r.bins.Min, r.bins.Max, r.bins.Step)
	spans := fmt.Sprintf("the space spans %s from %.6g to %.6g", r.cost.Name, r.report.Least, r.report.Most)
	if len(r.options.Limits) == 0 {
		return fmt.Errorf("%w %s: %s", ErrEmpty, where, spans)
	}
	var limits []string
	for _, l := range r.options.Limits {
		limits = append(limits, l.String())
	}
	return fmt.Errorf("%w: intervals %s together with %s: %s", ErrBudget, where, strings.Join(limits, ", "), spans)
}
