package trainstep

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"prenas/internal/engine/enginetest"
	"prenas/internal/recipe"
	"prenas/internal/toy"
)

func TestMeasureCountsTheStepsAskedFor(t *testing.T) {
	e, s, r := enginetest.Test(t), toy.Space(), recipe.Default()
	r.Batch, r.Mix.Mixup, r.Regularize.DropPath = 8, 0.8, 0.1
	speed, err := Measure(context.Background(), e, s, s.Largest(), r, 3, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if len(speed.Steps) != 3 || speed.Compile <= 0 {
		t.Errorf("measured %+v, want three steps and a time to compile", speed)
	}
	cut, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Measure(cut, e, s, s.Largest(), r, 3, time.Time{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestALossOfNothingHasNoSign(t *testing.T) {
	if got := unsigned(float32(math.Copysign(0, -1))); math.Signbit(float64(got)) {
		t.Errorf("%v", got)
	}
	if got := unsigned(-0.5); got != -0.5 {
		t.Errorf("%v", got)
	}
}
