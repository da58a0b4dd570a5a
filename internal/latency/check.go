package latency

import (
	"context"
	"math"

	"gonum.org/v1/gonum/stat"

	"prenas/internal/engine"
	"prenas/internal/rng"
	"prenas/pkg/space"
)

// Row is one architecture's predicted and measured latency, in milliseconds.
type Row struct {
	Arch      string  `json:"arch"`
	Predicted float64 `json:"predicted_ms"`
	Measured  float64 `json:"measured_ms"`
}

// Checked says how well a profile predicts whole models.
type Checked struct {
	Rows        []Row   `json:"rows"`
	MeanError   float64 `json:"mean_error"`  // |predicted - measured| / measured, on average
	WorstError  float64 `json:"worst_error"` // the largest of these
	Correlation float64 `json:"correlation"` // Pearson's
	Kendall     float64 `json:"kendall"`     // Kendall's tau
}

// Whole measures architectures of a model as they are, in turns, on batches of so many images: the
// milliseconds of each, and on what.
func Whole(ctx context.Context, e *engine.Engine, m space.Model, archs []space.Arch, batch int) (ms []float64, on string, err error) {
	ms, err = measure(ctx, e, m, archs, batch)
	return ms, (&Profile{Machine: machine(e), Batch: batch}).String(), err
}

// Draw is the smallest and the largest architecture of a space and others,
// drawn from the seed, up to n.
func Draw(s *space.Space, n int, seed uint64) []space.Arch {
	archs := []space.Arch{s.Smallest(), s.Largest()}
	for i := 2; i < n; i++ {
		archs = append(archs, s.Draw(rng.New(seed, "latency check", uint64(i))))
	}
	return archs
}

// Check measures whole architectures of the space, at least two, and compares.
func (p *Profile) Check(ctx context.Context, e *engine.Engine, s *space.Space, archs []space.Arch) (Checked, error) {
	times, err := measure(ctx, e, s.Model, archs, p.Batch)
	if err != nil {
		return Checked{}, err
	}
	var c Checked
	predicted := make([]float64, len(archs))
	for i, a := range archs {
		predicted[i] = p.Predict(a)
		c.Rows = append(c.Rows, Row{a.String(), predicted[i], times[i]})
		off := math.Abs(predicted[i]-times[i]) / times[i]
		c.MeanError += off / float64(len(archs))
		c.WorstError = max(c.WorstError, off)
	}
	c.Correlation = stat.Correlation(predicted, times, nil)
	c.Kendall = stat.Kendall(predicted, times, nil)
	return c, nil
}
