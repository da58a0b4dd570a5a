package search

import (
	"fmt"

	"prenas/internal/rng"
	"prenas/pkg/space"
)

// Uniform draws n different architectures from the whole space: each interval
// of parameters in turn gives one more until n are drawn, uniformly among all
// that lie in it. The result is per interval of i, in the order drawn.
func Uniform(s *space.Space, i space.Interval, n int, seed uint64) ([][]space.Arch, error) {
	b, err := newBins(i)
	if err != nil {
		return nil, err
	}
	g, cost := newGrid(s), ParamsCost(s)
	sampler, err := newSampler(g, cost, nil)
	if err != nil {
		return nil, err
	}
	drawn := make([][]space.Arch, b.count)
	for bin := range drawn {
		want := n / b.count
		if bin < n%b.count {
			want++
		}
		in := sampler.within(func(total int64) bool { return b.of(float64(total)/cost.Unit) == bin })
		lower, upper := b.bounds(bin)
		have := 0.0
		if len(in.upTo) > 0 {
			have = in.upTo[len(in.upTo)-1]
		}
		if float64(want) > have {
			return nil, fmt.Errorf("%w in any interval: %d architectures asked for from %v to %v million parameters, where the space has %.0f; ask for fewer", ErrEmpty, want, lower, upper, have)
		}
		r, seen := rng.New(seed, "uniform", uint64(bin)), map[string]bool{}
		for len(drawn[bin]) < want {
			a := g.arch(sampler.draw(r, in))
			if !seen[a.String()] {
				seen[a.String()] = true
				drawn[bin] = append(drawn[bin], a)
			}
		}
	}
	return drawn, nil
}

// EveryInterval refuses a space that has no architecture in one of the intervals of parameters of i.
//
// A few architectures mostly show that there are some: of each trunk, those that come up as one slot
// after the other goes from its least option to its largest. Only where they leave an interval out
// are all sums counted, which takes seconds in a convolutional space.
func EveryInterval(s *space.Space, i space.Interval) error {
	b, err := newBins(i)
	if err != nil {
		return err
	}
	cost, met := ParamsCost(s), map[int]bool{-1: true}
	trunks, _ := problem(newGrid(s), cost.Table, 1, []Cost{cost}, nil)
	for _, t := range trunks {
		total := t.Cost[0]
		for _, options := range t.Slots {
			total += options[0].Cost[0]
		}
		met[b.of(float64(total)/cost.Unit)] = true
		for _, options := range t.Slots {
			for k, o := range options[1:] {
				total += o.Cost[0] - options[k].Cost[0]
				met[b.of(float64(total)/cost.Unit)] = true
			}
		}
		if len(met) > b.count {
			return nil
		}
	}
	_, err = Uniform(s, i, b.count, 0)
	return err
}
