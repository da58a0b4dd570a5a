package exhibit

import (
	"fmt"
	"path/filepath"

	"prenas/internal/chart"
	"prenas/internal/evaluate"
	"prenas/internal/printable"
)

// calibration of a run's architectures, of its predictions file.
type calibration struct {
	of    evaluate.PredictionsHeader
	archs []evaluate.Calibration
}

func (r *Run) readPredictions() error {
	r.calibrated = nil
	var c calibration
	var err error
	c.of, err = evaluate.ReadPredictions(r.fs, filepath.Join(r.dir, evaluate.PredictionsFile), func(h evaluate.PredictionsHeader, p evaluate.Predicted) {
		if c.archs == nil {
			c.archs = make([]evaluate.Calibration, min(len(h.Archs), maxArchs))
		}
		for i := range c.archs {
			c.archs[i].Add(p.Label, p.Top[i])
		}
	})
	if err == nil {
		r.calibrated = &c
	}
	return err
}

// calibrationChart is a reliability diagram: how often answers are right by the probability that
// the model gave to them.
func (r *Run) calibrationChart() (c chart.Chart, notes []string) {
	if r.calibrated == nil {
		return c, nil
	}
	h := r.calibrated.of
	if r.results != nil && (h.Weights != r.results.Weights || h.Split != r.results.Split || h.Data.Digest != r.results.Data.Digest) {
		notes = append(notes, fmt.Sprintf("%s is of other weights or images than %s: its predictions are of the split %s after %s.", evaluate.PredictionsFile, evaluate.ResultsFile, h.Split, printable.Count(h.Step, "update")))
	}
	c = chart.Chart{Title: "Accuracy over probability", XLabel: "mean probability of the answers, %", YLabel: "right, %", Series: []chart.Series{{Class: "joined", Thick: []chart.Point{{X: 0, Y: 0}, {X: 100, Y: 100}}}}}
	for i, one := range r.calibrated.archs {
		s := chart.Series{Name: h.Archs[i], Label: chart.Label(i), Class: chart.Class(i)}
		for bin, n := range one.Images {
			if n == 0 {
				continue
			}
			right := float64(one.Correct[bin]) / float64(n)
			low, high := evaluate.Interval(right, n)
			p := chart.Point{X: 100 * one.Sum[bin] / float64(n), Y: 100 * right}
			s.Thick = append(s.Thick, p)
			s.Marks = append(s.Marks, chart.Mark{Point: p, Low: 100 * low, High: 100 * high, Text: fmt.Sprintf("%s: of %d answers with %.1f %% on average %.1f %% are right, 95 %% interval %s", h.Archs[i], n, p.X, p.Y, evaluate.Range(right, n))})
		}
		notes = append(notes, fmt.Sprintf("%s %s: expected calibration error %.2f %%.", s.Label, s.Name, 100*one.Error()))
		c.Series = append(c.Series, s)
	}
	return c, notes
}
