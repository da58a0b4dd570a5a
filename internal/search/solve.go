package search

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// The exact search, as a problem that any kind of space can be written as.
//
// An architecture is a trunk (for a vision transformer an embedding dim and a
// depth) and one option for each of the trunk's slots (the heads and the MLP
// of each layer). Score and costs add up over trunk and options. Wanted are the
// architectures of the best scores, for each total of the first cost, whose
// other costs stay within limits.
//
//	trunk e=216, d=12 ──► slot 0 ──► slot 1 ──► ... ──► slot 23
//	                      heads of   MLP of             MLP of
//	                      layer 0    layer 0            layer 11
//	labels      1           2          4                 169
//
// A label is what is known after some slots: the costs so far, and the best
// score that has them. Two ways to the same costs are one label, because what
// follows cannot tell them apart. Costs are integers, layers of one width cost
// alike, so only counts of choices make different totals, and 1e14
// architectures are a few hundred labels.

// An Option is one choice of a slot.
type Option struct {
	Choice int // what the caller calls it
	Score  float64
	Cost   []int64 // Cost[0] is kept apart total by total, the others are limited
}

// A Trunk is what an architecture has besides its options.
type Trunk struct {
	Score float64
	Cost  []int64
	Slots [][]Option
}

// Bounds of a problem: Cost[0] from Least to Most, both included, and Cost[k]
// at most AtMost[k-1].
type Bounds struct {
	Least, Most int64
	AtMost      []int64
}

// A Solution is one architecture of a problem.
type Solution struct {
	Trunk int
	Score float64
	Cost  []int64
	last  *label
}

// Choices are the chosen options of the trunk's slots.
func (s Solution) Choices() []int {
	var choices []int
	for l := s.last; l.before != nil; l = l.before {
		choices = append(choices, l.choice)
	}
	slices.Reverse(choices)
	return choices
}

// label is a node of the search; the chain of before is its architecture.
type label struct {
	score  float64
	cost   []int64
	before *label
	choice int
}

// maxLabels bounds memory: a few hundred megabytes.
const maxLabels = 3_000_000

// Solve returns, for each trunk and each total of the first cost within the
// bounds, the top architectures of the highest scores; so the top of any range
// of totals are among them. They come ordered by trunk, then by that cost,
// then best first. There may be none.
//
// Solve is exact: with limits, labels of one total are dropped only when top
// others are at least as good in the score and in every limited cost. The
// error wraps ErrTooLarge when costs are so diverse (nanoseconds measured
// separately for each layer, say) that labels do not merge; coarser units
// help.
func Solve(trunks []Trunk, b Bounds, top int) ([]Solution, error) {
	var all []Solution
	for t, trunk := range trunks {
		labels, err := trunk.solve(b, top)
		if err != nil {
			return nil, err
		}
		for _, l := range labels {
			all = append(all, Solution{Trunk: t, Score: l.score, Cost: l.cost, last: l})
		}
	}
	return all, nil
}

func (t Trunk) solve(b Bounds, top int) ([]*label, error) {
	least, most := t.remaining()
	keep := func(l *label, slot int) bool {
		if l.cost[0]+least[slot][0] > b.Most || l.cost[0]+most[slot] < b.Least {
			return false
		}
		for k, limit := range b.AtMost {
			if l.cost[k+1]+least[slot][k+1] > limit {
				return false
			}
		}
		return true
	}
	start := &label{score: t.Score, cost: t.Cost}
	if !keep(start, 0) {
		return nil, nil
	}
	labels, made := []*label{start}, 0
	for slot, options := range t.Slots {
		var next []*label
		for _, before := range labels {
			for _, o := range options {
				l := &label{score: before.score + o.Score, cost: make([]int64, len(t.Cost)), before: before, choice: o.Choice}
				for k := range l.cost {
					l.cost[k] = before.cost[k] + o.Cost[k]
				}
				if keep(l, slot+1) {
					next = append(next, l)
				}
			}
			if made+len(next) > maxLabels {
				return nil, fmt.Errorf("%w to solve: the costs of blocks have too many different totals; give them in coarser units or limit fewer of them", ErrTooLarge)
			}
		}
		labels = prune(next, top)
		made += len(labels)
	}
	return labels, nil
}

// remaining is, for each slot, what it and the slots after it cost at least,
// and at most in the first cost.
func (t Trunk) remaining() (least [][]int64, most []int64) {
	least, most = make([][]int64, len(t.Slots)+1), make([]int64, len(t.Slots)+1)
	least[len(t.Slots)] = make([]int64, len(t.Cost))
	for s := len(t.Slots) - 1; s >= 0; s-- {
		least[s] = slices.Clone(least[s+1])
		for k := range t.Cost {
			lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
			for _, o := range t.Slots[s] {
				lo, hi = min(lo, o.Cost[k]), max(hi, o.Cost[k])
			}
			least[s][k] += lo
			if k == 0 {
				most[s] = most[s+1] + hi
			}
		}
	}
	return least, most
}

// prune keeps of each total of the first cost the labels that may still become
// one of the top. It orders by total, then best first; equal scores keep
// their order, which makes the outcome unique.
func prune(labels []*label, top int) []*label {
	slices.SortStableFunc(labels, func(a, b *label) int {
		return cmp.Or(cmp.Compare(a.cost[0], b.cost[0]), cmp.Compare(b.score, a.score))
	})
	kept := labels[:0]
	for from := 0; from < len(labels); {
		to := from + 1
		for to < len(labels) && labels[to].cost[0] == labels[from].cost[0] {
			to++
		}
		group := labels[from:to]
		switch len(group[0].cost) {
		case 1:
			kept = append(kept, group[:min(top, len(group))]...)
		case 2:
			kept = appendStaircase(kept, group, top)
		default:
			kept = appendUndominated(kept, group, top)
		}
		from = to
	}
	return kept
}

// appendStaircase keeps, of labels ordered best first with one limited cost,
// those with fewer than top better ones that cost no more: those below the
// top-th lowest cost so far.
func appendStaircase(kept, group []*label, top int) []*label {
	lowest := make([]int64, 0, top+1) // the top lowest costs so far, ascending
	for _, l := range group {
		c := l.cost[1]
		if len(lowest) == top && lowest[top-1] <= c {
			continue
		}
		kept = append(kept, l)
		at, _ := slices.BinarySearch(lowest, c)
		lowest = slices.Insert(lowest, at, c)
		lowest = lowest[:min(len(lowest), top)]
	}
	return kept
}

// appendUndominated does the same for several limited costs.
func appendUndominated(kept, group []*label, top int) []*label {
	first := len(kept)
	for _, l := range group {
		better := 0
		for _, k := range kept[first:] {
			if noMore(k.cost[1:], l.cost[1:]) {
				if better++; better == top {
					break
				}
			}
		}
		if better < top {
			kept = append(kept, l)
		}
	}
	return kept
}

func noMore(a, b []int64) bool {
	for k := range a {
		if a[k] > b[k] {
			return false
		}
	}
	return true
}
