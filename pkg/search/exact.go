package search

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"prenas/pkg/space"
)

// problem writes a space as trunks (a scale and a stack) and, for each layer, a
// slot for each decision that is worth something by itself, options ascending.
// sign -1 looks for the least score. What exceeds a peak's limit is left out,
// and the other limits are left to the solver: costs are those of the interval
// and of the limits that add up.
func problem(g grid, score *Table, sign float64, costs []Cost, limits []Limit) (trunks []Trunk, picks []pick) {
	for e := range g.scales {
		slots := make([][][]Option, g.layers) // by layer; nil where a peak's limit leaves no option
		for l := range slots {
			slots[l] = layerSlots(g, e, l, score, sign, costs, limits)
		}
		for d, layers := range g.stacks {
			if !g.hasStack(e, d) {
				continue
			}
			t := Trunk{Score: sign * score.Trunk[e], Cost: make([]int64, len(costs))}
			within := withinPeaks(limits, func(t *Table) float64 { return t.Trunk[e] })
			for k, c := range costs {
				t.Cost[k] = whole(c.Table.Trunk[e])
			}
			for _, l := range layers {
				within = within && slots[l] != nil
				t.Score += sign * score.Base[e][l]
				for k, c := range costs {
					t.Cost[k] += whole(c.Table.Base[e][l])
				}
				t.Slots = append(t.Slots, slots[l]...)
			}
			if within {
				trunks, picks = append(trunks, t), append(picks, g.at(e, d))
			}
		}
	}
	return trunks, picks
}

// layerSlots are the slots of one layer.
func layerSlots(g grid, e, l int, score *Table, sign float64, costs []Cost, limits []Limit) (slots [][]Option) {
	if !withinPeaks(limits, func(t *Table) float64 { return t.Base[e][l] }) {
		return nil
	}
	for slot, scores := range g.slots(score, e, l) {
		part := func(t *Table) []float64 { return g.slots(t, e, l)[slot] }
		var options []Option
		for i, v := range scores {
			if !g.hasOption(e, l, slot, i) || !withinPeaks(limits, func(t *Table) float64 { return part(t)[i] }) {
				continue
			}
			o := Option{Choice: i, Score: sign * v, Cost: make([]int64, len(costs)), Order: g.order(slot, i)}
			for k, c := range costs {
				o.Cost[k] = whole(part(c.Table)[i])
			}
			options = append(options, o)
		}
		if len(options) == 0 {
			return nil
		}
		slots = append(slots, options)
	}
	return slots
}

// whole is a cost as the integer it is meant to be. Rounding moves the total
// of an architecture by less than one unit of the table per block.
func whole(v float64) int64 { return int64(math.Round(v)) }

func withinPeaks(limits []Limit, part func(*Table) float64) bool {
	for _, l := range limits {
		if l.Cost.Peak && part(l.Cost.Table) > l.AtMost*l.Cost.Unit {
			return false
		}
	}
	return true
}

// costed is an architecture that the exact search found, and what it costs.
type costed struct {
	scored
	cost int64
}

// solve finds, for each total of a cost from least to most that the space has,
// the architectures of the best scores within limits, the cheapest first.
func (r *run) solve(cost Cost, least, most int64, limits []Limit) ([]costed, error) {
	m, signs := r.options.Score, []float64{1}
	switch {
	case m.base == "taylor5":
		signs = []float64{1, -1} // the largest absolute value is the largest or the least sum
	case m.pruned:
		signs = []float64{-1}
	}
	costs, bounds := []Cost{cost}, Bounds{Least: least, Most: most}
	for _, l := range limits {
		if !l.Cost.Peak {
			costs = append(costs, l.Cost)
			bounds.AtMost = append(bounds.AtMost, int64(math.Floor(l.AtMost*l.Cost.Unit)))
		}
	}
	var all []costed
	for _, sign := range signs {
		trunks, picks := problem(r.grid, r.scores.sum, sign, costs, limits)
		// One more than asked for, so that the report has the runner-up's score.
		solutions, err := Solve(trunks, bounds, max(r.options.Top, 2))
		if err != nil {
			return nil, err
		}
		for _, s := range solutions {
			p := picks[s.Trunk]
			for slot, option := range s.Choices() {
				p = r.grid.choose(p, slot, option)
			}
			all = append(all, costed{scored{p, r.scores.of(p)}, s.Cost[0]})
		}
	}
	slices.SortStableFunc(all, func(a, b costed) int { return cmp.Compare(a.cost, b.cost) })
	return all, nil
}

// exact finds the best of the whole space in each bin.
func (r *run) exact() error {
	if r.cost.Peak {
		for i := range r.bins.count {
			count, limit := r.bins.peakIn(i, r.cost)
			all, err := r.solve(count, 1, math.MaxInt32, append(slices.Clone(r.options.Limits), limit))
			if err != nil {
				return err
			}
			for _, s := range all {
				r.offerOnce(i, s)
			}
		}
		return nil
	}
	// A unit more on both sides, because limits in millions are not exact in
	// binary; the bins decide.
	all, err := r.solve(r.coarse(), int64(math.Floor(r.bins.Min*r.cost.Unit))-1, int64(math.Ceil(r.bins.Max*r.cost.Unit))+1, r.options.Limits)
	if err != nil {
		return err
	}
	for _, s := range all {
		if bin := r.bins.of(float64(s.cost) / r.cost.Unit); bin >= 0 {
			r.offerOnce(bin, s)
		}
	}
	return nil
}

// Where blocks differ and there are more of them than manyBlocks, coarseParts is how many different
// totals there may be, about.
const (
	manyBlocks  = 8
	coarseParts = 4000
)

// coarse is the interval's cost. Where many blocks of a supernet differ, hardly two architectures
// cost the same, and the totals would be too many: then each part of the cost is rounded up to a
// part in some thousand of the largest total, so that no architecture costs more than is found.
func (r *run) coarse() Cost {
	cost := r.cost
	if r.grid.space.Blocks == nil || r.grid.layers <= manyBlocks {
		return cost
	}
	_, most := cost.span(r.grid)
	step := math.Ceil(most / coarseParts)
	cost.Table = cost.Table.mapped(func(_ int, v float64) float64 { return step * math.Ceil(v/step) })
	return cost
}

// offerOnce offers what is not among the best already: taylor5 is solved in
// two directions and may find an architecture in both.
func (r *run) offerOnce(bin int, s costed) {
	if !slices.ContainsFunc(r.found[bin], func(o scored) bool { return o.pick.same(s.pick) }) {
		r.offer(bin, s.pick, s.score)
	}
}

// Pareto is the front of the whole space between a score and a cost: the
// architectures than which none is both as cheap and as good, cheapest first,
// scores ascending. Of the options it takes the score, the cost and the
// limits. sums may be nil where the score needs none.
func Pareto(s *space.Space, sums *Sums, o Options) ([]space.Candidate, error) {
	o = o.withDefaults(s)
	r, err := newFront(s, o)
	if err != nil {
		return nil, err
	}
	if r.scores, err = NewScores(s, sums, o.Score); err != nil {
		return nil, err
	}
	least, most := r.cost.span(r.grid)
	// Rounding of costs may move a total by one unit per part.
	slack := float64(4 * (r.grid.layers + 1))
	all, err := r.solve(r.cost, int64(math.Floor(least-slack)), int64(math.Ceil(most+slack)), o.Limits)
	if err != nil {
		return nil, err
	}
	var front []space.Candidate
	best := math.Inf(-1)
	for from := 0; from < len(all); {
		// Of architectures that cost the same only the best counts.
		winner, cost := from, all[from].cost
		for from++; from < len(all) && all[from].cost == cost; from++ {
			if all[from].score > all[winner].score || all[from].score == all[winner].score && r.grid.before(all[from].pick, all[winner].pick) {
				winner = from
			}
		}
		if w := all[winner]; w.score > best {
			best = w.score
			a := r.grid.arch(w.pick)
			front = append(front, space.Candidate{Arch: a, Params: s.Model.Params(a), Score: w.score})
		}
	}
	if len(front) == 0 {
		return nil, fmt.Errorf("%w: no architecture of the space is within all of them", ErrBudget)
	}
	return front, nil
}
