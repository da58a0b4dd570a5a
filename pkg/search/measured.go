package search

import (
	"fmt"

	"prenas/pkg/space"
)

// Measure scores architectures that it was not asked for before, in their order; higher is
// better. An error ends the search.
type Measure func([]space.Arch) ([]float64, error)

// RunMeasured is Run by a score that is measured, like the accuracy that an architecture reaches
// with inherited weights. Method must be Evolution or Random. A search asks for the first
// population of an interval, then for each generation of it, then for the next interval: with the
// same options and the same answers always for the same. How many it asked for in all is
// Report.Enumerated.
func RunMeasured(s *space.Space, measure Measure, o Options) (space.Candidates, *Report, error) {
	o = o.withDefaults(s)
	if o.Method != Evolution && o.Method != Random {
		return nil, nil, fmt.Errorf("%w %q for a measured score; known are evolution and random", ErrMethod, o.Method)
	}
	r, err := newRun(s, o)
	if err != nil {
		return nil, r.reported(), err
	}
	r.score = func(born []pick) ([]float64, error) {
		archs := make([]space.Arch, len(born))
		for i, p := range born {
			archs[i] = r.grid.arch(p)
		}
		return measure(archs)
	}
	if err := r.sample(); err != nil {
		return nil, &r.report, err
	}
	return r.candidates()
}
