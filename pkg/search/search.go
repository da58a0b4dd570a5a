package search

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"prenas/pkg/space"
)

// BinReport says what a search found in one interval.
type BinReport struct {
	Key          string     // in the candidates file
	Lower, Upper float64    // in units of the cost
	Span         string     // the same in mathematical notation, which tells what bounds are in it
	Members      int64      // architectures that were looked at; 0 for Exact
	Found        int        // architectures that were kept
	Best, Second float64    // scores; NaN where there is none
	RunnerUp     space.Arch // of score Second; without layers where there is none
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
			keys = append(keys, b.Span)
		}
	}
	return keys
}

type run struct {
	space   *space.Space
	grid    grid
	options Options
	scores  *Scores
	score   func([]pick) ([]float64, error) // of Evolution and Random
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
		if sums, err = NewSums(s, weights, gradients, o.needsMoments()); err != nil {
			return nil, nil, err
		}
	}
	return RunSums(s, sums, o)
}

// RunSums is Run on sums that exist already; nil where no method needs them.
func RunSums(s *space.Space, sums *Sums, o Options) (space.Candidates, *Report, error) {
	o = o.withDefaults(s)
	r, err := newRun(s, o)
	if err != nil {
		return nil, r.reported(), err
	}
	if r.scores, err = NewScores(s, sums, o.Score); err != nil {
		return nil, nil, err
	}
	switch o.Method {
	case Preferred:
		var first, second *BlockScores
		if first, err = NewBlockScores(s, sums, o.Heads, true); err == nil {
			if second, err = NewBlockScores(s, sums, o.MLP, false); err == nil {
				r.enumerate(first, second)
			}
		}
	case Exact:
		err = r.exact()
	default:
		r.score = func(born []pick) ([]float64, error) {
			all := make([]float64, len(born))
			for i, p := range born {
				all[i] = r.scores.of(p)
			}
			return all, nil
		}
		err = r.sample()
	}
	if err != nil {
		return nil, &r.report, err
	}
	return r.candidates()
}

// offer keeps an architecture if it is among the best of its bin. Of equal
// scores the one that the original would have met first is ahead, whatever the
// method and the order of the offers. The pick's slices are shared with the
// caller and never written to.
func (r *run) offer(bin int, p pick, score float64) {
	list := r.found[bin]
	at, _ := slices.BinarySearchFunc(list, score, func(s scored, score float64) int {
		if s.score > score || s.score == score && r.grid.before(s.pick, p) {
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

func (r *run) candidates() (space.Candidates, *Report, error) {
	var all space.Candidates
	for i, list := range r.found {
		b := &r.report.Bins[i]
		if len(list) > 0 {
			b.Best = list[0].score
		}
		if len(list) > 1 {
			b.Second, b.RunnerUp = list[1].score, r.grid.arch(list[1].pick)
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
	where := r.bins.String()
	spans := fmt.Sprintf("the space spans %s from %.6g to %.6g", r.cost.Name, r.report.Least, r.report.Most)
	if len(r.options.Limits) == 0 {
		return fmt.Errorf("%w %s: %s", ErrEmpty, where, spans)
	}
	var limits []string
	for _, l := range r.options.Limits {
		limits = append(limits, l.String())
	}
	return fmt.Errorf("%w: none %s together with %s: %s", ErrBudget, where, strings.Join(limits, ", "), spans)
}
