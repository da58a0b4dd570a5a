package main

import (
	"math"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"prenas/internal/job"
	"prenas/pkg/space"
)

// budgetFlags are the flags for what an architecture may cost. Each cost has a list of budgets, a
// least and a most.
//
//   - Budgets of one cost are the bounds of intervals. A single budget of another cost is a limit.
//   - Without budgets, least and most of the cost that --by names are the ends of intervals of equal
//     steps. Those of other costs are limits.
//   - With --pareto all are limits.
type budgetFlags struct {
	by      string
	budgets map[string]*[]float64
	ranges  map[string]*job.Range
	step    float64
}

func (b *budgetFlags) add(f *pflag.FlagSet) {
	b.lists(f)
	names := ""
	for _, c := range job.Costs() {
		r := b.ranges[c.Name]
		limit(f, &r.Min, "min-"+c.Name, "least "+c.Help)
		limit(f, &r.Max, "max-"+c.Name, "most "+c.Help)
		if names != "" {
			names += ", "
		}
		names += c.Name
	}
	f.StringVar(&b.by, "by", "params", "what intervals cut: "+names)
	limit(f, &b.step, "interval", "width of one interval, in the unit of --by (default, for params: the space's)")
}

// lists adds the lists of budgets alone.
func (b *budgetFlags) lists(f *pflag.FlagSet) {
	b.budgets, b.ranges = map[string]*[]float64{}, map[string]*job.Range{}
	for _, c := range job.Costs() {
		b.budgets[c.Name] = f.Float64Slice(c.Name, nil, "budgets, like `1,5,12`, one architecture for each: "+c.Help)
		b.ranges[c.Name] = &job.Range{Min: math.NaN(), Max: math.NaN()}
	}
}

// given are the costs that have budgets, in the order of job.Costs.
func (b *budgetFlags) given() (names []string) {
	for _, c := range job.Costs() {
		if len(*b.budgets[c.Name]) > 0 {
			names = append(names, c.Name)
		}
	}
	return names
}

// cut returns the budgets of one cost, which becomes --by. Other costs may have a single budget each,
// which becomes a limit.
func (b *budgetFlags) cut(c *cobra.Command, pareto bool) ([]float64, error) {
	names := b.given()
	for _, name := range names {
		list := *b.budgets[name]
		slices.Sort(list)
		*b.budgets[name] = slices.Compact(list)
		if bad := slices.IndexFunc(list, func(v float64) bool { return !(v > 0) || v > 1e12 }); bad >= 0 {
			return nil, usagef("--%s is %v, a budget must be a number above 0 and at most 1e12", name, list[bad])
		}
		if c.Flags().Changed("max-" + name) {
			return nil, usagef("--%[1]s and --max-%[1]s both say what %[1]s may be at most; give one", name)
		}
	}
	by := ""
	for _, name := range names {
		several := len(*b.budgets[name]) > 1
		switch {
		case several && pareto:
			return nil, usagef("--pareto finds the best for every cost at once: give --%s one budget, its limit", name)
		case several && c.Flags().Changed("by") && b.by != name:
			return nil, usagef("--by %s, but --%s has several budgets; leave --by out", b.by, name)
		case several && by != "":
			return nil, usagef("--%s and --%s both have several budgets; give several of one cost, and of others one each, a limit", by, name)
		case several:
			by = name
		}
	}
	if c.Flags().Changed("by") && by == "" && slices.Contains(names, b.by) {
		by = b.by
	}
	if by == "" && !c.Flags().Changed("by") && !c.Flags().Changed("interval") && len(names) > 0 && !pareto {
		by = names[0]
	}
	for _, name := range names {
		if name != by {
			b.ranges[name].Max = (*b.budgets[name])[0]
		}
	}
	if by == "" {
		return nil, nil
	}
	if c.Flags().Changed("interval") {
		return nil, usagef("--interval cuts equal steps, and --%s names budgets; leave one of them out", by)
	}
	b.by = by
	return *b.budgets[by], nil
}

func (b *budgetFlags) options(c *cobra.Command, o *job.SearchOptions) error {
	if b.ranges[b.by] == nil {
		return usagef("--by %q: it takes one of the costs in %s --help", b.by, c.CommandPath())
	}
	budgets, err := b.cut(c, o.Pareto)
	if err != nil {
		return err
	}
	cut := b.ranges[b.by]
	o.By, o.Within = b.by, map[string]job.Range{}
	for name, r := range b.ranges {
		if err := checkRange(c, name, *r); err != nil {
			return err
		}
		if (name != b.by || o.Pareto) && !(math.IsNaN(r.Min) && math.IsNaN(r.Max)) {
			o.Within[name] = *r
		}
	}
	if o.Pareto {
		if c.Flags().Changed("interval") {
			return usagef("--interval cuts intervals, which --pareto has none of")
		}
		return nil
	}
	if budgets != nil {
		o.Search.Budgets, o.Search.Interval.Min = budgets, either(cut.Min, 0)
		if least := o.Search.Interval.Min; least >= budgets[0] {
			return usagef("--min-%s %v is not below the budget %v", b.by, least, budgets[0])
		}
		return nil
	}
	own := space.Interval{}
	if b.by == "params" {
		own = o.Space.Interval
	}
	i := space.Interval{Min: either(cut.Min, own.Min), Max: either(cut.Max, own.Max), Step: either(b.step, own.Step)}
	switch {
	case c.Flags().Changed("interval") && (!(b.step > 0) || math.IsInf(b.step, 0)):
		return usagef("--interval is %v, it must be a number above 0", b.step)
	case own == space.Interval{} && (math.IsNaN(cut.Min) || math.IsNaN(cut.Max) || math.IsNaN(b.step)):
		return usagef("space %s has no intervals of %[2]s of its own: name budgets, like --%[2]s 3,10, or give --min-%[2]s, --max-%[2]s and --interval", o.Space.Name, b.by)
	case i.Max <= i.Min:
		return usagef("--min-%s %v, --max-%s %v and --interval %v leave no interval", b.by, i.Min, b.by, i.Max, i.Step)
	}
	o.Search.Interval = i
	return nil
}

// checkRange refuses a range whose ends contradict each other.
func checkRange(c *cobra.Command, name string, r job.Range) error {
	for flag, v := range map[string]float64{"min-" + name: r.Min, "max-" + name: r.Max} {
		if c.Flags().Changed(flag) && (!(v >= 0) || math.IsInf(v, 0)) {
			return usagef("--%s is %v, it must be a number, at least 0", flag, v)
		}
	}
	if r.Max < r.Min {
		return usagef("--min-%s %v is more than --max-%s %v", name, r.Min, name, r.Max)
	}
	return nil
}

// limit adds a flag for a number, which is NaN where the flag is left out.
func limit(f *pflag.FlagSet, to *float64, name, help string) {
	f.Float64Var(to, name, math.NaN(), help)
	f.Lookup(name).DefValue = "0" // help then shows no default
}

// either is v, or other where v was not given.
func either(v, other float64) float64 {
	if math.IsNaN(v) {
		return other
	}
	return v
}
