package recipe

import (
	"strings"
	"testing"
)

// A recipe that suits itself can be trained on any number of images, from a handful on: the
// batch fits, something is held out wherever that leaves enough, and there are updates.
func TestSuitedFitsAnyNumberOfImages(t *testing.T) {
	for _, name := range Names() {
		r, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, images := range []int{1, 2, 5, 6, 10, 27, 50, 72, 200, 220, 1000, 5000, 12800, 50000, 1300000} {
			for _, most := range []int{images, images / 7, 0} {
				got, held := r.Suited(images, most)
				if !r.Suit {
					if got != r || held != 0 {
						t.Errorf("%s does not say suit, and was changed", name)
					}
					continue
				}
				if is := int(got.Holdout * float64(images)); most > 0 && is != held || held > most {
					t.Errorf("%s, %d images: %d are held out, not %d", name, images, is, held)
				}
				n := images - held
				if err := got.Check(); err != nil {
					t.Errorf("%s, %d images: %v", name, images, err)
				}
				if err := got.CheckLimits("recipe"); err != nil {
					t.Errorf("%s, %d images: %v", name, images, err)
				}
				if err := got.Enough(n); err != nil {
					t.Errorf("%s, %d images: %v", name, images, err)
				}
				if got.PerEpoch(n) < 1 || got.EvalEvery > got.Epochs || got.Suit {
					t.Errorf("%s, %d images: %+v", name, images, got)
				}
				if again, _ := got.Suited(images, most); again != got {
					t.Errorf("%s, %d images: suited twice is not suited once", name, images)
				}
			}
		}
	}
}

// The table of docs/recipes.md.
func TestSuitedValues(t *testing.T) {
	r, err := Load("images")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		images, held, batch, epochs, updates, patience int
		lr                                             float64
	}{
		{50, 10, 4, 60, 10, 18, 2.5e-4},
		{200, 40, 16, 60, 10, 18, 5e-4},
		{1000, 100, 64, 100, 15, 30, 1e-3},
		{5000, 500, 64, 100, 71, 30, 1e-3},
		{50000, 2500, 128, 32, 372, 10, 1.41e-3},
	} {
		got, _ := r.Suited(want.images, want.images)
		held := int(got.Holdout * float64(want.images))
		if held != want.held || got.Batch != want.batch || got.Epochs != want.epochs || got.PerEpoch(want.images-held) != want.updates || got.Optimizer.LR != want.lr || got.Patience != want.patience {
			t.Errorf("%d images: %d held out, batch %d, %d epochs of %d updates, lr %v, patience %d; want %+v", want.images, held, got.Batch, got.Epochs, got.PerEpoch(want.images-held), got.Optimizer.LR, got.Patience, want)
		}
	}
}

// A flag changes what it names, and what hangs on it.
func TestOverride(t *testing.T) {
	r, err := Load("images")
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.With(Override{Epochs: 3, Batch: 8, LR: 1e-6})
	if err != nil {
		t.Fatal(err)
	}
	if got.Epochs != 3 || got.Batch != 8 || got.PeakLR() != 1e-6 || got.Schedule.Warmup > 3 || got.EvalEvery > 3 {
		t.Errorf("%+v", got)
	}
	never := 0
	if got, err := r.With(Override{Epochs: 50, Patience: &never}); err != nil || got.Patience != 0 {
		t.Errorf("patience %d, %v", got.Patience, err)
	}
	if got, err := r.With(Override{Epochs: 6}); err != nil || got.Patience != leastPatience {
		t.Errorf("patience of 6 epochs: %d, %v", got.Patience, err)
	}
	if same, err := r.With(Override{}); err != nil || same != r {
		t.Errorf("nothing was given: %+v, %v", same, err)
	}
	for _, bad := range []Override{{Epochs: -1}, {Batch: -3}, {LR: -1}, {LR: 1e9}} {
		if _, err := r.With(bad); err == nil || !strings.HasPrefix(err.Error(), "--") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
