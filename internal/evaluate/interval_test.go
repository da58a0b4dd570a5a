package evaluate

import (
	"math"
	"testing"
)

// Bounds that statsmodels 0.15.0 (proportion_confint, method wilson) has.
func TestIntervalIsWilsons(t *testing.T) {
	for _, c := range []struct {
		hits, images int
		low, high    float64
	}{
		{18, 18, 0.8241208, 1}, {0, 18, 0, 0.1758792}, {9, 18, 0.2903102, 0.7096898},
		{8827, 10000, 0.8762458, 0.8888603}, {1, 1, 0.2065493, 1}, {0, 0, 0, 1},
	} {
		fraction := 0.0
		if c.images > 0 {
			fraction = float64(c.hits) / float64(c.images)
		}
		low, high := Interval(fraction, c.images)
		if !(math.Abs(low-c.low) <= 1e-6) || !(math.Abs(high-c.high) <= 1e-6) {
			t.Errorf("%d of %d: %.7f to %.7f, want %.7f to %.7f", c.hits, c.images, low, high, c.low, c.high)
		}
	}
	if got := Range(1, 18); got != "82.41 to 100.00" {
		t.Errorf("got %q", got)
	}
}
