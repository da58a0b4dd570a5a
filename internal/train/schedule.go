package train

import "math"

// learningRate is the rate of update number step (from 0) in a run of
// perEpoch updates an epoch.
//
// Warm-up grows linearly and reaches the peak at its end; the cosine counts the whole
// run, warm-up included, as the original's schedule does, so it has already fallen a
// little when the warm-up hands over to it.
func (r Recipe) learningRate(step, perEpoch int) float64 {
	peak, s := r.peakLR(), r.Schedule
	epoch := float64(step) / float64(perEpoch)
	if epoch < s.Warmup {
		return s.WarmupLR + (peak-s.WarmupLR)*epoch/s.Warmup
	}
	return s.MinLR + (peak-s.MinLR)/2*(1+math.Cos(math.Pi*epoch/float64(r.Epochs)))
}
