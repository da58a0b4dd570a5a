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
