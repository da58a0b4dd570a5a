package search

import (
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
	Order  Order
}

// Order adds up over options; of equal scores the architecture of the least is the better
// one, and of equal orders the one whose last slots have the earlier options.
type Order [2]int64

func (o Order) plus(p Order) Order { return Order{o[0] + p[0], o[1] + p[1]} }

func (o Order) less(p Order) bool { return o[0] < p[0] || o[0] == p[0] && o[1] < p[1] }

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
	last  *node
}

// Choices are the chosen options of the trunk's slots.
func (s Solution) Choices() []int {
	var choices []int
	for n := s.last; n != nil; n = n.before {
		choices = append(choices, n.choice)
	}
	slices.Reverse(choices)
	return choices
}

// label is a partial architecture that may still become one of the best: what
// it scores and costs, and how it was made.
type label struct {
	score float64
	order Order
	cost  []int64
	last  *node
}

// node is a choice and, through before, those of the slots before it.
type node struct {
	before *node
	choice int
}

// maxNodes bounds memory, to some hundred megabytes.
const maxNodes = 4_000_000

// Solve returns, for each trunk and each total of the first cost within the
// bounds, the top architectures of the highest scores; so the top of any range
// of totals are among them. They come ordered by trunk, then by that cost,
// then best first. There may be none. With limits there may be more than top
// of a total.
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
			all = append(all, Solution{Trunk: t, Score: l.score, Cost: l.cost, last: l.last})
		}
	}
	return all, nil
}

func (t Trunk) solve(b Bounds, top int) ([]label, error) {
	least, most := t.remaining()
	start := label{score: t.Score, cost: t.Cost}
	if !b.reachable(start.cost, least[0], most[0]) {
		return nil, nil
	}
	labels, nodes := []label{start}, 0
	for slot, options := range t.Slots {
		m := merger{top: top, bounds: b, least: least[slot+1], most: most[slot+1], nodes: nodes}
		if err := m.merge(labels, options); err != nil {
			return nil, err
		}
		labels, nodes = m.kept, m.nodes
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

// reachable reports whether a label of these costs can still end within the
// bounds, given what the slots to come cost at least and at most.
func (b Bounds) reachable(cost, least []int64, most int64) bool {
	if cost[0]+least[0] > b.Most || cost[0]+most < b.Least {
		return false
	}
	for k, limit := range b.AtMost {
		if cost[k+1]+least[k+1] > limit {
			return false
		}
	}
	return true
}

// merger makes the labels after a slot from those before it. Labels are kept
// ordered by total, then best first. One option moves all of them alike and
// leaves that order, so the options' copies are merged like sorted lists, and
// each total's labels come out together, best first.
type merger struct {
	top    int
	bounds Bounds
	least  []int64
	most   int64

	kept   []label
	nodes  int
	group  []label // of one total; only the nodes of those kept are made
	choice []int   // of each of the group
	costs  []int64 // memory for the costs of labels
}

func (m *merger) merge(labels []label, options []Option) error {
	at := make([]int, len(options))
	for {
		next, total, score, order := -1, int64(0), 0.0, Order{}
		for i, o := range options {
			if at[i] == len(labels) {
				continue
			}
			l := &labels[at[i]]
			c, s, by := l.cost[0]+o.Cost[0], l.score+o.Score, l.order.plus(o.Order)
			if next < 0 || c < total || c == total && (s > score || s == score && by.less(order)) {
				next, total, score, order = i, c, s, by
			}
		}
		if next < 0 {
			break
		}
		before, o := labels[at[next]], options[next]
		at[next]++
		if len(m.group) > 0 && m.group[0].cost[0] != total {
			m.prune()
		}
		if len(before.cost) == 1 && len(m.group) == m.top {
			continue // no limits: the first are the best
		}
		cost := m.sum(before.cost, o.Cost)
		if !m.bounds.reachable(cost, m.least, m.most) {
			continue
		}
		m.group = append(m.group, label{score, order, cost, before.last})
		m.choice = append(m.choice, o.Choice)
		if m.nodes+len(m.group) > maxNodes {
			return fmt.Errorf("%w to solve: the costs of blocks have too many different totals; give them in coarser units or limit fewer of them", ErrTooLarge)
		}
	}
	m.prune()
	return nil
}

// sum of two costs, in memory taken in large pieces.
func (m *merger) sum(a, b []int64) []int64 {
	const piece = 4096
	if cap(m.costs)-len(m.costs) < len(a) {
		m.costs = make([]int64, 0, max(piece, len(a)))
	}
	from := len(m.costs)
	for k := range a {
		m.costs = append(m.costs, a[k]+b[k])
	}
	return m.costs[from:len(m.costs):len(m.costs)]
}

// prune keeps, of the group of one total, the labels that may still become one
// of the top: those with fewer than top better ones that cost no more in any
// limited cost.
func (m *merger) prune() {
	first := len(m.kept)
	// With one limited cost, the top lowest costs so far, ascending, tell.
	lowest := make([]int64, 0, m.top+1)
	for i, l := range m.group {
		limited := l.cost[1:]
		if len(limited) == 1 {
			if len(lowest) == m.top && lowest[m.top-1] <= limited[0] {
				continue
			}
			at, _ := slices.BinarySearch(lowest, limited[0])
			lowest = slices.Insert(lowest, at, limited[0])
			lowest = lowest[:min(len(lowest), m.top)]
		} else if dominated(m.kept[first:], limited, m.top) {
			continue
		}
		l.last = &node{before: l.last, choice: m.choice[i]}
		m.kept = append(m.kept, l)
		m.nodes++
	}
	m.group, m.choice = m.group[:0], m.choice[:0]
}

// dominated reports whether top of the better labels cost no more.
func dominated(better []label, limited []int64, top int) bool {
	n := 0
	for _, b := range better {
		if noMore(b.cost[1:], limited) {
			if n++; n == top {
				return true
			}
		}
	}
	return false
}

func noMore(a, b []int64) bool {
	for k := range a {
		if a[k] > b[k] {
			return false
		}
	}
	return true
}
