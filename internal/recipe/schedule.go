package recipe

import "math"

// Schedules of a recipe.
const (
	cosineSchedule   = "cosine"
	stepSchedule     = "step"
	ConstantSchedule = "constant"
)

// LearningRate is the rate of update number step (from 0) in a run of
// perEpoch updates an epoch.
//
// Warm-up grows linearly and reaches the peak at its end; the course counts the whole
// run, warm-up included, as the original's schedule does, so a cosine has already fallen
// a little when the warm-up hands over to it. In the cool-down the rate falls linearly
// from where it stands to the lowest; a cosine is there already and stays.
func (r Recipe) LearningRate(step, perEpoch int) float64 {
	peak, s := r.PeakLR(), r.Schedule
	epoch, cool := float64(step)/float64(perEpoch), float64(r.Epochs)-s.Cooldown
	switch {
	case epoch < s.Warmup:
		return s.WarmupLR + (peak-s.WarmupLR)*epoch/s.Warmup
	case epoch < cool:
		return r.course(peak, epoch)
	}
	from := r.course(peak, cool)
	if s.Cooldown == 0 { // the end of the run
		return from
	}
	return from + (s.MinLR-from)*(epoch-cool)/s.Cooldown
}

// course is the rate without warm-up and cool-down.
func (r Recipe) course(peak, epoch float64) float64 {
	s := r.Schedule
	switch s.Name {
	case ConstantSchedule:
		return peak
	case stepSchedule:
		return max(s.MinLR, peak*math.Pow(s.StepFactor, math.Floor(epoch/s.StepEpochs)))
	}
	return s.MinLR + (peak-s.MinLR)/2*(1+math.Cos(math.Pi*epoch/(float64(r.Epochs)-s.Cooldown)))
}
