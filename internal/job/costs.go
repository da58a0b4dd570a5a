package job

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"prenas/internal/input"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// Range is what an architecture may cost, ends included; NaN for an end that is open.
type Range struct{ Min, Max float64 }

// costs returns the cost that the intervals divide, and the limits on other costs. on says, by the
// name of a cost, what it was measured on.
func (o SearchOptions) costs(ctx context.Context) (by search.Cost, limits []search.Limit, on map[string]string, err error) {
	on = map[string]string{}
	if by, err = o.cost(ctx, cmp.Or(o.By, "params"), on); err != nil {
		return by, nil, nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(o.Within)) {
		c, err := o.cost(ctx, name, on)
		if err != nil {
			return by, nil, nil, err
		}
		r := o.Within[name]
		if !math.IsNaN(r.Max) {
			limits = append(limits, search.Limit{Cost: c, AtMost: r.Max})
		}
		if !math.IsNaN(r.Min) {
			least, err := search.AtLeast(c, r.Min)
			if err != nil {
				return by, nil, nil, fmt.Errorf("%w: %w", input.Least(name), err)
			}
			limits = append(limits, least)
		}
	}
	return by, limits, on, nil
}

// asked is what the candidates cost, for each cost that was asked for. The one that the intervals
// divide comes first; bound says what their keys are.
func (o SearchOptions) asked(by search.Cost, bound string, limits []search.Limit, on map[string]string, candidates space.Candidates) []search.Asked {
	var list []search.Asked
	add := func(c search.Cost, sign float64) {
		if slices.ContainsFunc(list, func(a search.Asked) bool { return a.Cost == c.Name }) {
			return
		}
		a := search.Asked{Cost: c.Name, Unit: unitOf(c.Name), On: on[c.Name], Archs: map[string]float64{}}
		for _, bin := range candidates {
			for _, found := range bin.Candidates {
				a.Archs[found.Arch.String()] = sign * c.Of(o.Space, found.Arch)
			}
		}
		list = append(list, a)
	}
	add(by, 1)
	list[0].Bound = bound
	for _, l := range limits {
		if l.Least() { // its cost is negated
			add(l.Cost, -1)
		} else {
			add(l.Cost, 1)
		}
	}
	return list
}

// Cost is something that a budget can limit.
type Cost struct {
	Name string
	Unit string // of budgets, short
	Help string // what it counts, and its unit
}

// Costs are all that a budget can limit.
func Costs() []Cost {
	return []Cost{
		{Name: "params", Unit: "M", Help: "parameters, millions"},
		{Name: "macs", Unit: "M", Help: "multiply-accumulates of one image, millions"},
		{Name: "latency", Unit: "ms", Help: fmt.Sprintf("measured milliseconds of a batch on this machine (see %v)", input.LatencyBatch)},
		{Name: "memory", Unit: "MB", Help: "peak memory of activations of one image, MB (an estimate)"},
	}
}

// unitOf is the unit of the cost of that name.
func unitOf(name string) string {
	all := Costs()
	return all[slices.IndexFunc(all, func(c Cost) bool { return c.Name == name })].Unit
}

// cost is the cost of that name. Where it is measured, on gets what it was measured on.
func (o SearchOptions) cost(ctx context.Context, name string, on map[string]string) (search.Cost, error) {
	switch name {
	case "params":
		return search.ParamsCost(o.Space), nil
	case "macs":
		return search.MACsCost(o.Space), nil
	case "latency":
		return o.latencyCost(ctx, on)
	case "memory":
		return search.MemoryCost(o.Space), nil
	}
	return search.Cost{}, fmt.Errorf("there is no cost %q; known are params, macs, latency and memory", name)
}
