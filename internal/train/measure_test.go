package train

import (
	"context"
	"errors"
	"testing"

	"prenas/internal/engine/enginetest"
	"prenas/internal/toy"
)

func TestMeasureCountsTheStepsAskedFor(t *testing.T) {
	e, s := enginetest.Test(t), toy.Space()
	speed, err := Measure(context.Background(), e, s, s.Largest(), toyRecipe(), 3)
	if err != nil {
		t.Fatal(err)
	}
	if len(speed.Steps) != 3 || speed.Compile <= 0 {
		t.Errorf("measured %+v, want three steps and a time to compile", speed)
	}
	cut, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Measure(cut, e, s, s.Largest(), toyRecipe(), 3); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
