package search

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"prenas/internal/rng"
	"prenas/pkg/space"
)

// With enough of a budget, random search and evolution by a measured score find in each interval
// what trying every architecture finds, whatever the score; no architecture is measured twice, and
// those that are measured are counted.
func TestMeasuredFindsTheBestOfAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := randomSpace(t)
		g, cost := newGrid(s), ParamsCost(s)
		_, most := cost.span(g)
		b, err := newBins(space.Interval{Min: 0, Max: 1.02 * most / 1e6, Step: 0.51 * most / 1e6})
		if err != nil {
			t.Fatal(err)
		}
		worth := func(a space.Arch) float64 { return rng.New(3, a.String()).Float64() }
		best, all := map[string]float64{}, 0
		everyPick(g, func(p pick) {
			if bin := b.of(cost.of(p) / 1e6); bin >= 0 && g.has(p) {
				_, upper := b.bounds(bin)
				best[space.BinKey(upper)] = max(best[space.BinKey(upper)], worth(g.arch(p)))
				all++
			}
		})
		if all > 3000 {
			t.Skip("too many to try them all")
		}
		o := Options{Method: rapid.SampledFrom([]Method{Random, Evolution}).Draw(t, "method"), Interval: b.Interval, Seed: 1, Population: 20, Generations: all}
		if o.Method == Random {
			o.Population = 2 * all
		}
		seen := map[string]bool{}
		measure := func(archs []space.Arch) ([]float64, error) {
			var scores []float64
			for _, a := range archs {
				if seen[a.String()] {
					t.Fatalf("%s is measured twice", a)
				}
				seen[a.String()] = true
				scores = append(scores, worth(a))
			}
			return scores, nil
		}
		found, report, err := RunMeasured(s, measure, o)
		if err != nil {
			t.Fatal(err)
		}
		if report.Enumerated != int64(len(seen)) {
			t.Errorf("%d measurements are counted, there were %d", report.Enumerated, len(seen))
		}
		for _, bin := range found {
			if got := bin.Candidates[0].Score; got != best[bin.Key] {
				t.Errorf("below %s: the best found has %v, the best of all %v", bin.Key, got, best[bin.Key])
			}
			delete(best, bin.Key)
		}
		if len(best) > 0 {
			t.Errorf("nothing found in %v", best)
		}
	})
}

// On a space of 10^14 architectures, a thousand measurements an interval come nearer to the best
// score than as many drawn at random, in every interval.
func TestEvolutionIsBetterThanChance(t *testing.T) {
	s := benchSpace(t, "tiny")
	table := fakeTable(s, 5, 1000)
	g := newGrid(s)
	measure := func(archs []space.Arch) (scores []float64, err error) {
		for _, a := range archs {
			scores = append(scores, table.total(g.pick(a)))
		}
		return scores, nil
	}
	run := func(o Options) space.Candidates {
		found, report, err := RunMeasured(s, measure, o)
		if err != nil {
			t.Fatal(err)
		}
		if want := int64(1050 * len(found)); report.Enumerated != want {
			t.Errorf("%s: %d measurements, want %d", o.Method, report.Enumerated, want)
		}
		return found
	}
	bred, drawn := run(Options{Method: Evolution}), run(Options{Method: Random, Population: 1050})
	for i := range bred {
		if a, b := bred[i].Candidates[0].Score, drawn[i].Candidates[0].Score; !(a > b) {
			t.Errorf("below %s: evolution finds %v, chance %v", bred[i].Key, a, b)
		}
	}
}

// What a measurement returns ends the search; other methods have no measured score, and a score
// that is no number is refused.
func TestMeasuredEnds(t *testing.T) {
	s, stop := benchSpace(t, "tiny"), errors.New("stop")
	if _, _, err := RunMeasured(s, func([]space.Arch) ([]float64, error) { return nil, stop }, Options{Method: Evolution}); !errors.Is(err, stop) {
		t.Errorf("error %v, want %v", err, stop)
	}
	if _, _, err := RunMeasured(s, nil, Options{}); !errors.Is(err, ErrMethod) {
		t.Errorf("preferred: error %v, want ErrMethod", err)
	}
	nan := func(archs []space.Arch) ([]float64, error) {
		scores := make([]float64, len(archs))
		for i := range scores {
			scores[i] = math.NaN()
		}
		return scores, nil
	}
	if _, _, err := RunMeasured(s, nan, Options{Method: Random, Population: 3}); !errors.Is(err, ErrNotFinite) {
		t.Errorf("NaN: error %v, want ErrNotFinite", err)
	}
}
