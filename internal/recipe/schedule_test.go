package recipe

import (
	"math"
	"testing"
)

func TestLearningRates(t *testing.T) {
	const perEpoch = 10
	for _, c := range []struct {
		schedule Schedule
		want     map[int]float64 // by update
	}{
		{Schedule{Name: cosineSchedule, MinLR: 0.1}, map[int]float64{0: 1, 50: 0.55, 100: 0.1}},
		{Schedule{Name: cosineSchedule, MinLR: 0.1, Cooldown: 2}, map[int]float64{0: 1, 40: 0.55, 80: 0.1, 95: 0.1}},
		{Schedule{Name: cosineSchedule, Warmup: 2, WarmupLR: 0.2}, map[int]float64{0: 0.2, 10: 0.6, 50: 0.5}},
		{Schedule{Name: ConstantSchedule, Warmup: 1, WarmupLR: 0}, map[int]float64{0: 0, 5: 0.5, 10: 1, 99: 1}},
		{Schedule{Name: ConstantSchedule, Cooldown: 4, MinLR: 0.2}, map[int]float64{59: 1, 60: 1, 80: 0.6, 99: 0.22}},
		{Schedule{Name: stepSchedule, StepEpochs: 3, StepFactor: 0.1}, map[int]float64{29: 1, 30: 0.1, 59: 0.1, 60: 0.01, 99: 0.001}},
		{Schedule{Name: stepSchedule, StepEpochs: 3, StepFactor: 0.1, MinLR: 0.05}, map[int]float64{30: 0.1, 60: 0.05}},
		{Schedule{Name: stepSchedule, StepEpochs: 5, StepFactor: 0.5, Cooldown: 4, MinLR: 0.1}, map[int]float64{59: 0.5, 80: 0.3}},
	} {
		r := Default()
		r.Epochs, r.Schedule, r.Optimizer.LR = 10, c.schedule, 1
		if err := r.Check(); err != nil {
			t.Errorf("%+v: %v", c.schedule, err)
		}
		for step, want := range c.want {
			if got := r.LearningRate(step, perEpoch); !(math.Abs(got-want) <= 1e-12) {
				t.Errorf("%+v: update %d has rate %v, want %v", c.schedule, step, got, want)
			}
		}
	}
}
