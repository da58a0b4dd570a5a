package main

import (
	"math"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"prenas/internal/job"
	"prenas/pkg/space"
)

// budgetFlags are the flags of what an architecture may cost: for each cost a
// least and a most. Of the cost that --by names they are the ends of the
// intervals, of the others they are limits; with --pareto all are limits.
type budgetFlags struct {
	by     string
	ranges map[string]*job.Range
	step   float64
}

func (b *budgetFlags) add(f *pflag.FlagSet) {
	b.ranges = map[string]*job.Range{}
	names := ""
	for _, c := range job.Costs() {
		r := &job.Range{}
		b.ranges[c.Name] = r
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

func (b *budgetFlags) options(c *cobra.Command, o *job.SearchOptions) error {
	cut, ok := b.ranges[b.by]
	if !ok {
		return usagef("--by %q: it takes one of the costs in %s --help", b.by, c.CommandPath())
	}
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
	own := space.Interval{}
	if b.by == "params" {
		own = o.Space.Interval
	}
	i := space.Interval{Min: either(cut.Min, own.Min), Max: either(cut.Max, own.Max), Step: either(b.step, own.Step)}
	switch {
	case c.Flags().Changed("interval") && (!(b.step > 0) || math.IsInf(b.step, 0)):
		return usagef("--interval is %v, it must be a number above 0", b.step)
	case own == space.Interval{} && (math.IsNaN(cut.Min) || math.IsNaN(cut.Max) || math.IsNaN(b.step)):
		return usagef("space %s has no intervals of %[2]s of its own: give --min-%[2]s, --max-%[2]s and --interval", o.Space.Name, b.by)
	case i.Max <= i.Min:
		return usagef("--min-%s %v, --max-%s %v and --interval %v leave no interval", b.by, i.Min, b.by, i.Max, i.Step)
	}
	o.Search.Interval = i
	return nil
}

// checkRange refuses ends that are given and mean nothing.
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

// either is v, or other where v was not given.
// limit adds a number that is NaN where its flag is left out.
func limit(f *pflag.FlagSet, to *float64, name, help string) {
	f.Float64Var(to, name, math.NaN(), help)
	f.Lookup(name).DefValue = "0" // what help takes for no default
}

func either(v, other float64) float64 {
	if math.IsNaN(v) {
		return other
	}
	return v
}
