package search

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"prenas/pkg/space"
)

// Cost is what a budget limits: an additive quantity of an architecture, or a
// peak.
type Cost struct {
	Name string
	// Unit is the size of one unit of intervals and limits in units of the
	// table: 1e6 where the table counts parameters and budgets are millions.
	Unit  float64
	Table *Table
	// Peak costs are the largest part of an architecture instead of the sum of
	// its parts, like the memory of activations that are freed block by block.
	Peak bool
}

const paramsName = "params"

// ParamsCost counts parameters; budgets are in millions.
func ParamsCost(s *space.Space) Cost { return Cost{Name: paramsName, Unit: 1e6, Table: ParamsTable(s)} }

// MACsCost counts multiply-accumulates of one image; budgets are in millions.
func MACsCost(s *space.Space) Cost { return Cost{Name: "macs", Unit: 1e6, Table: MACsTable(s)} }

// Limit is the most that an architecture may cost, in units of the cost.
type Limit struct {
	Cost   Cost
	AtMost float64
	least  bool // of AtLeast: Cost is negated
}

// AtLeast is the limit that an architecture costs at least v units. It is a
// limit on the negated cost, so it works wherever limits do. The cost must add
// up: the least peak is no limit on parts.
func AtLeast(c Cost, v float64) (Limit, error) {
	if c.Peak {
		return Limit{}, fmt.Errorf("%w: %s is a peak, which can be limited only from above", ErrMethod, c.Name)
	}
	c.Table = c.Table.mapped(func(_ int, v float64) float64 { return -v })
	return Limit{Cost: c, AtMost: -v, least: true}, nil
}

// Least tells whether the limit is from below: its cost is then negated.
func (l Limit) Least() bool { return l.least }

// String is the limit in words, like "macs at most 300".
func (l Limit) String() string {
	if l.least {
		return fmt.Sprintf("%s at least %s", l.Cost.Name, Number(-l.AtMost))
	}
	return fmt.Sprintf("%s at most %s", l.Cost.Name, Number(l.AtMost))
}

// check refuses a limit that no architecture of the space meets.
func (l Limit) check(g grid) error {
	least, _ := l.Cost.span(g)
	if least <= l.AtMost*l.Cost.Unit {
		return nil
	}
	if l.least {
		return fmt.Errorf("%w: %s, but the largest architecture has %.6g", ErrBudget, l, -least/l.Cost.Unit)
	}
	return fmt.Errorf("%w: %s, but the smallest architecture has %.6g", ErrBudget, l, least/l.Cost.Unit)
}

// Of is what an architecture of the space costs, in units of the cost.
func (c Cost) Of(s *space.Space, a space.Arch) float64 {
	g := newGrid(s)
	return c.of(g.pick(a)) / c.Unit
}

// Span is the least and the most that architectures of the space cost, in units of the cost.
func (c Cost) Span(s *space.Space) (least, most float64) {
	least, most = c.span(newGrid(s))
	return least / c.Unit, most / c.Unit
}

func (c Cost) of(p pick) float64 {
	if c.Peak {
		return c.Table.most(p)
	}
	return c.Table.total(p)
}

// span is the least and the most that an architecture of the space costs.
func (c Cost) span(g grid) (least, most float64) {
	least, most = math.Inf(1), math.Inf(-1)
	for e := range g.scales {
		for d, layers := range g.stacks {
			if !g.hasStack(e, d) {
				continue
			}
			lo, hi := g.at(e, d), g.at(e, d)
			for i, l := range layers {
				for k, options := range g.slots(c.Table, e, l) {
					slot := len(g.slots(c.Table, e, l))*i + k
					least, most := -1, -1
					for o, v := range options {
						if !g.hasOption(e, l, k, o) {
							continue
						}
						if least < 0 || v < options[least] {
							least = o
						}
						if most < 0 || v > options[most] {
							most = o
						}
					}
					lo, hi = g.choose(lo, slot, least), g.choose(hi, slot, most)
				}
			}
			least, most = min(least, c.of(lo)), max(most, c.of(hi))
		}
	}
	return least, most
}

// bins cuts an interval as the original does. Bin i holds costs v with
// floor((v-Min)/Step) = i; there is no bin for a last partial step, and nothing
// at or above Max is in any.
//
// Of a list of budgets, bin i holds what costs at most the i-th and more than the one
// before, from Min on.
type bins struct {
	space.Interval
	count int
	most  []float64 // the budgets, ascending; nil: equal steps
}

// maxBins bounds a report; a step so small is a mistake.
const maxBins = 1 << 16

func newBins(i space.Interval) (bins, error) {
	for _, v := range []float64{i.Min, i.Max, i.Step} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return bins{}, fmt.Errorf("%w: from %v to %v by %v", ErrInterval, i.Min, i.Max, i.Step)
		}
	}
	if i.Step <= 0 || i.Min < 0 || i.Max <= i.Min {
		return bins{}, fmt.Errorf("%w: from %v to %v by %v; the limit must be above the minimum and the step above 0", ErrInterval, i.Min, i.Max, i.Step)
	}
	// 0.6/0.1 is 5.999... in binary; what is that close to a whole number of
	// steps was meant as one.
	steps := math.Floor((i.Max-i.Min)/i.Step + 1e-9)
	if steps < 1 {
		return bins{}, fmt.Errorf("%w: the step %v is larger than the range from %v to %v", ErrInterval, i.Step, i.Min, i.Max)
	}
	if steps > maxBins {
		return bins{}, fmt.Errorf("%w: %v steps from %v to %v; use a larger step", ErrInterval, steps, i.Min, i.Max)
	}
	return bins{Interval: i, count: int(steps)}, nil
}

// newBudgets are the bins of a list of budgets, of which the first begins at least.
func newBudgets(most []float64, least float64) (bins, error) {
	before := least
	for i, v := range most {
		switch {
		case math.IsNaN(v) || math.IsInf(v, 0) || !(v > 0):
			return bins{}, fmt.Errorf("%w: a budget of %v; each is a number above 0", ErrInterval, v)
		case i > 0 && v <= before:
			return bins{}, fmt.Errorf("%w: the budget %v comes after %v; they ascend, each once", ErrInterval, v, before)
		case v <= before:
			return bins{}, fmt.Errorf("%w: the budget %v is not above the least, %v", ErrInterval, v, before)
		}
		before = v
	}
	return bins{Interval: space.Interval{Min: least, Max: before}, count: len(most), most: most}, nil
}

// of is the bin of a cost, -1 if it is in none.
func (b bins) of(v float64) int {
	if b.most != nil {
		if i, _ := slices.BinarySearch(b.most, v); v >= b.Min && i < b.count {
			return i
		}
		return -1
	}
	if v < b.Min || v >= b.Max {
		return -1
	}
	i := int(math.Floor((v - b.Min) / b.Step))
	if i >= b.count {
		return -1
	}
	return i
}

func (b bins) bounds(i int) (lower, upper float64) {
	if b.most != nil {
		lower = b.Min
		if i > 0 {
			lower = b.most[i-1]
		}
		return lower, b.most[i]
	}
	lower = b.Min + float64(i)*b.Step
	return lower, lower + b.Step
}

// beyond tells whether a cost is above what any bin holds.
func (b bins) beyond(v float64) bool {
	_, end := b.bounds(b.count - 1)
	return v > end || v == end && b.most == nil
}

// span is the bounds of a bin in mathematical notation: "[5, 6)", of budgets "(5, 6]".
func (b bins) span(i int) string {
	lower, upper := b.bounds(i)
	switch {
	case b.most == nil:
		return fmt.Sprintf("[%s, %s)", Number(lower), Number(upper))
	case i == 0:
		return fmt.Sprintf("[%s, %s]", Number(lower), Number(upper))
	}
	return fmt.Sprintf("(%s, %s]", Number(lower), Number(upper))
}

// String is all bins in words.
func (b bins) String() string {
	if b.most == nil {
		return fmt.Sprintf("in any interval from %s to %s by %s", Number(b.Min), Number(b.Max), Number(b.Step))
	}
	var list []string
	for _, v := range b.most {
		list = append(list, Number(v))
	}
	return "within any of the budgets " + strings.Join(list, ", ")
}

// Number writes a bound as people do, without the digits that sums of floats leave:
// 0.9, not 0.8999999999999999.
func Number(v float64) string {
	text := strconv.FormatFloat(v, 'g', 12, 64)
	short, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return text
	}
	return strconv.FormatFloat(short, 'f', -1, 64)
}

// NumberText is Number of the text of a bound, as a file has it; other texts stay.
func NumberText(text string) string {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return text
	}
	return Number(v)
}

// peakIn writes "the peak is in bin i" as costs that add up. A part is worth 0
// below the bin, 1 in it and 2 above: the peak is in the bin when no part has
// more than 1 (a limit on a peak) and the parts add up to at least 1.
func (b bins) peakIn(i int, c Cost) (count Cost, limit Limit) {
	t := c.Table.mapped(func(_ int, v float64) float64 {
		v /= c.Unit
		switch at := b.of(v); {
		case at == i:
			return 1
		case v < b.Min || at >= 0 && at < i:
			return 0
		}
		return 2
	})
	count = Cost{Name: c.Name, Unit: 1, Table: t}
	return count, Limit{Cost: Cost{Name: c.Name, Unit: 1, Table: t, Peak: true}, AtMost: 1}
}
