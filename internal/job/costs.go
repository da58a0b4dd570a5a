package job

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"prenas/pkg/search"
)

// Range is what an architecture may cost; NaN for an end that is open.
type Range struct{ Min, Max float64 }

// costs are the cost that intervals cut, and the limits on all costs.
func (o SearchOptions) costs(ctx context.Context) (by search.Cost, limits []search.Limit, err error) {
	name := o.By
	if name == "" {
		name = "params"
	}
	if by, err = o.cost(ctx, name); err != nil {
		return by, nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(o.Within)) {
		c, err := o.cost(ctx, name)
		if err != nil {
			return by, nil, err
		}
		r := o.Within[name]
		if !math.IsNaN(r.Max) {
			limits = append(limits, search.Limit{Cost: c, AtMost: r.Max})
		}
		if !math.IsNaN(r.Min) {
			least, err := search.AtLeast(c, r.Min)
			if err != nil {
				return by, nil, fmt.Errorf("--min-%s: %w", name, err)
			}
			limits = append(limits, least)
		}
	}
	return by, limits, nil
}

// Cost is something that a budget can limit.
type Cost struct {
	Name string
	Help string // what it counts, and its unit
}

// Costs are all that a budget can limit.
func Costs() []Cost {
	return []Cost{
		{Name: "params", Help: "parameters, millions"},
		{Name: "macs", Help: "multiply-accumulates of one image, millions"},
		{Name: "latency", Help: "measured milliseconds of a batch on this machine (see --latency-batch)"},
		{Name: "memory", Help: "peak memory of activations of one image, MB (an estimate)"},
	}
}

func (o SearchOptions) cost(ctx context.Context, name string) (search.Cost, error) {
	switch name {
	case "params":
		return search.ParamsCost(o.Space), nil
	case "macs":
		return search.MACsCost(o.Space), nil
	case "latency":
		return o.latencyCost(ctx)
	case "memory":
		return search.MemoryCost(o.Space), nil
	}
	return search.Cost{}, fmt.Errorf("there is no cost %q; known are params, macs, latency and memory", name)
}
