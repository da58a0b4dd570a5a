package probe

import (
	"context"
	"errors"
	"math"
	"testing"

	"prenas/internal/engine/enginetest"
	"prenas/internal/rng"
)

// clouds of images around a corner of a cube for each class; the last feature is the same for all.
func clouds(seed uint64, classes, each int, spread float64) Features {
	f := Features{Dim: classes + 1}
	r := rng.New(seed, "clouds")
	for i := range classes * each {
		x := make([]float32, f.Dim)
		for k := range classes {
			x[k] = float32(10 + spread*r.NormFloat64())
		}
		x[i%classes] += 5
		x[classes] = 3
		f.Add(x, i%classes)
	}
	return f
}

func TestFitTellsCloudsApart(t *testing.T) {
	e := enginetest.Quick(t)
	train, held := clouds(1, 3, 60, 1), clouds(2, 3, 40, 1)
	c, err := Fit(context.Background(), e, train, held, 3)
	if err != nil {
		t.Fatal(err)
	}
	if c.HeldOut < 0.95 || c.HeldOut != c.accuracy(held) {
		t.Errorf("it knows %v of what was held out, and %v as it is returned", c.HeldOut, c.accuracy(held))
	}
	for k := range 3 {
		if w := c.Weight[k*train.Dim+3]; w != 0 {
			t.Errorf("a feature that is the same for all has weight %v", w)
		}
	}
	again, err := Fit(context.Background(), e, train, held, 3)
	if err != nil || again.Weight[0] != c.Weight[0] || again.Bias[2] != c.Bias[2] {
		t.Errorf("the second fit is another: %v, %v", again, err)
	}
}

// At the least loss with a penalty λ, λW is the mean of (target - probability)·x.
func TestFitEndsWhereTheGradientVanishes(t *testing.T) {
	train := clouds(3, 2, 50, 4)
	c, err := Fit(context.Background(), enginetest.Quick(t), train, Features{Dim: train.Dim}, 2)
	if err != nil {
		t.Fatal(err)
	}
	mean, scale, err := standard(train)
	if err != nil {
		t.Fatal(err)
	}
	n := float64(len(train.Labels))
	for i := range 2 {
		var grad float64 // by the weight of feature i for class 0, standardised
		for j, label := range train.Labels {
			x := train.Values[j*train.Dim:][:train.Dim]
			var logits [2]float64
			for k := range logits {
				logits[k] = float64(c.Bias[k])
				for d, v := range x {
					logits[k] += float64(c.Weight[k*train.Dim+d]) * float64(v)
				}
			}
			p := 1 / (1 + math.Exp(logits[1]-logits[0]))
			if label == 0 {
				p--
			}
			grad += p * (float64(x[i]) - mean[i]) * scale[i] / n
		}
		w := float64(c.Weight[i]) / scale[i]
		if off := grad + c.Penalty*w; !(math.Abs(off) <= 1e-3*math.Abs(grad)+1e-5) {
			t.Errorf("feature %d: gradient %v and penalty %v leave %v", i, grad, c.Penalty*w, off)
		}
	}
}

func TestFitRefusesWhatIsNotFinite(t *testing.T) {
	f := Features{Dim: 1}
	f.Add([]float32{float32(math.NaN())}, 0)
	f.Add([]float32{1}, 1)
	for _, train := range []Features{f, {}} {
		if _, err := Fit(context.Background(), enginetest.Quick(t), train, Features{Dim: train.Dim}, 2); !errors.Is(err, ErrFeatures) {
			t.Errorf("%v: %v", train, err)
		}
	}
}

func TestFitStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	f := clouds(4, 2, 10, 1)
	if _, err := Fit(ctx, enginetest.Quick(t), f, f, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("it went on: %v", err)
	}
}
