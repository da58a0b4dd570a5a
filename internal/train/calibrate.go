package train

import (
	"context"

	"prenas/internal/evaluate"
	"prenas/internal/recipe"
	"prenas/internal/trainstep"
)

// CalibrationBatches of training images are what the statistics of architectures are
// estimated on that the sampler does not train by themselves. They are as many as those
// that weigh most in a running statistic: all before the last twenty have an eighth of it.
const CalibrationBatches = 20

// newCalibrator compiles what calibrate needs; nil where steps keep the statistics, or
// there are none.
func (t *trainer) newCalibrator() (*evaluate.Calibrator, error) {
	if t.Recipe.Sampler.Name != recipe.WholeSpace || !t.Space.Model.IsConv() {
		return nil, nil
	}
	return evaluate.NewCalibrator(t.Engine, t.net, t.archs, t.Recipe.Batch, trainstep.Precision(t.Recipe))
}

// calibrate estimates the statistics of the preferred architectures with the weights as
// they are now. The sampler space trains any architecture of the space, each once or
// never, so no step can keep statistics: they are made whenever weights are evaluated or
// saved.
func (t *trainer) calibrate(ctx context.Context) error {
	c := t.programs.calibrator
	if c == nil || t.calibrated == t.progress.Step && t.progress.Step > 0 {
		return nil
	}
	images, _ := t.Source.Counts()
	batches, err := t.Source.Calibration(ctx, min(CalibrationBatches, images/t.Recipe.Batch), t.Recipe.Batch)
	if err != nil {
		return err
	}
	stats, err := c.Run(ctx, t.state.Averaged(nil).Shared, batches)
	if err != nil {
		return err
	}
	for i, arch := range t.archs {
		if err := t.state.SetStats(t.Engine, t.Recipe, arch, stats[i]); err != nil {
			return err
		}
	}
	t.calibrated = t.progress.Step
	return nil
}
