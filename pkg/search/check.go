package search

import (
	"fmt"
	"math"
	"math/big"

	"prenas/internal/input"
	"prenas/pkg/space"
)

// Check finds, without a score, what makes a search fail whatever the scores:
// an unknown method, intervals that cut nothing or nothing of the space, limits
// that no architecture meets, too many architectures to enumerate, a score that
// cannot be searched exactly. Scores take long, so it is asked first.
func (o Options) Check(s *space.Space) error {
	_, err := newRun(s, o.withDefaults(s))
	return err
}

// CheckPareto is Check for [Pareto], which has no intervals.
func (o Options) CheckPareto(s *space.Space) error {
	_, err := newFront(s, o.withDefaults(s))
	return err
}

// newRun is a run that has no scores yet. It is nil, or holds a report, where
// there is an error.
func newRun(s *space.Space, o Options) (*run, error) {
	bins, err := newBins(o.Interval)
	if o.Budgets != nil {
		bins, err = newBudgets(o.Budgets, o.Interval.Min)
	}
	if err != nil {
		return nil, err
	}
	if _, err := ParseMethod(string(o.Method)); err != nil {
		return nil, err
	}
	r := &run{space: s, grid: newGrid(s), options: o, cost: o.Cost, bins: bins}
	if err := r.grid.scores(o.Score); err != nil {
		return nil, err
	}
	r.found = make([][]scored, r.bins.count)
	least, most := r.cost.span(r.grid)
	r.report.Least, r.report.Most = least/r.cost.Unit, most/r.cost.Unit
	for i := range r.bins.count {
		lower, upper := r.bins.bounds(i)
		r.report.Bins = append(r.report.Bins, BinReport{
			Key: space.BinKey(upper), Lower: lower, Upper: upper, Span: bins.span(i), Best: math.NaN(), Second: math.NaN(),
		})
	}
	if err := r.checkLimits(); err != nil {
		return r, err
	}
	if r.report.Most < r.bins.Min || r.bins.beyond(r.report.Least) {
		return r, r.nothingFound()
	}
	switch o.Method {
	case Exact:
		return r, r.checkExact()
	case Preferred:
		return r, r.checkSize()
	}
	return r, nil
}

// reported is the report of a run that came to have one.
func (r *run) reported() *Report {
	if r == nil {
		return nil
	}
	return &r.report
}

// newFront is the run of a Pareto front, which has no scores yet.
func newFront(s *space.Space, o Options) (*run, error) {
	r := &run{space: s, grid: newGrid(s), options: o, cost: o.Cost}
	if err := r.grid.scores(o.Score); err != nil {
		return nil, err
	}
	if r.cost.Peak {
		return nil, fmt.Errorf("%w: %s is a peak; a front needs a cost that adds up", ErrMethod, r.cost.Name)
	}
	if err := r.checkLimits(); err != nil {
		return nil, err
	}
	return r, r.checkExact()
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

// checkExact refuses scores whose best is no sum of best parts.
func (r *run) checkExact() error {
	m := r.options.Score
	if m.base == "taylor5" && m.pruned {
		return fmt.Errorf("%w: score %s cannot be searched exactly, because the least absolute value of a sum is no sum of parts; use %v evolution", ErrMethod, m, input.Method)
	}
	if m.avg && (r.cost.Name != paramsName || r.grid.joint && m.attnMLP) {
		// Architectures of one trunk with equal parameters have equally many
		// scored weights; of equal other costs they need not, and neither where
		// norms, which come with every feature, are not scored.
		return fmt.Errorf("%w: score %s can be searched exactly only with intervals of parameters, and in a convolutional space only with its norms; use %v evolution", ErrMethod, m, input.Method)
	}
	return nil
}

// checkSize refuses an enumeration that would not end.
func (r *run) checkSize() error {
	n := r.space.CountIsomers(r.options.AllSplits)
	if n.Cmp(big.NewInt(maxEnumerated)) > 0 {
		return fmt.Errorf("%w to enumerate: %v architectures, more than %d; use %v exact", ErrTooLarge, n, maxEnumerated, input.Method)
	}
	return nil
}
