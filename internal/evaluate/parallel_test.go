package evaluate_test

import (
	"fmt"
	"math"
	"testing"

	"prenas/internal/engine"
	"prenas/internal/engine/enginetest"
	"prenas/internal/fixture"
	"prenas/pkg/space"
)

// Devices that share each batch count what one device does, normalise by the whole batch
// and not by their part, and pad what they do not divide: 3 do not divide 8.
func TestDevicesShareABatch(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	for family, text := range toys {
		s, err := space.Parse("toy", "toy", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		want := measured(t, enginetest.Test(t), s, engine.Float32)
		for _, devices := range []int{2, 3, 4} {
			if s.Model.IsConv() && devices == 3 {
				continue // statistics are of whole batches
			}
			t.Run(fmt.Sprintf("%s, %d devices", family, devices), func(t *testing.T) {
				got := measured(t, enginetest.Devices(t, devices), s, engine.Float32)
				if a, b := got.score.Loss, want.score.Loss; !(math.Abs(a-b) <= 1e-5*b) {
					t.Errorf("loss %v, on one device %v", a, b)
				}
				got.score.Loss = want.score.Loss
				if got.score != want.score {
					t.Errorf("%+v, on one device %+v", got.score, want.score)
				}
				for k, values := range got.stats {
					if d := fixture.Difference(values, want.stats[k]); d > 1e-5 {
						t.Errorf("statistic %d differs by %.2g of the largest", k, d)
					}
				}
			})
		}
	}
}
