package recipe

import (
	"fmt"
	"math"
	"math/bits"

	"prenas/internal/input"
	"prenas/internal/printable"
)

// Suited is the recipe for a number of training images, before any are held out, where it says
// suit; others are returned as they are. most is how many can be held out: 0 where the source has
// images of its own to choose by. held is how many are, where the recipe says suit.
//
// The values of the file are for some thousand images, which is what they were measured with.
// Other numbers change them by these rules:
//
//	held out    a fifth up to 500 images, 100 up to 1,000, a tenth beyond, at most 2,500: of fewer
//	            a percentage says little, and more are missed in training
//	batch       an eighth of the images, as a power of two from 4 to the file's, which doubles from
//	            12,800 images on: an epoch then has at least some eight updates
//	lr          with the square root of the batch, as Adam's noise does (Malladi et al., On the SDEs
//	            and scaling rules for adaptive gradient algorithms, NeurIPS 2022)
//	epochs      the file's up to 5,000 images, then less with the square root of their number, at
//	            least a fifth; three fifths of them up to 300 images, which are known by heart sooner
//	evaluation  some twenty times a run
//	patience    the file's part of the epochs, at least 5
//	colours     jitter of 0.2 up to 1,000 images, since few photographs have little light
//
// That the last batch is filled up and that each class is held out from alike is the file's to
// say, since both are right for any number.
func (r Recipe) Suited(images, most int) (suited Recipe, held int) {
	if !r.Suit || images < 1 {
		r.Suit = false
		return r, 0
	}
	r.Suit = false
	if r.Holdout > 0 && most > 0 {
		held = min(images/5, max(100, images/10), 2500, most)
		r.Holdout = 0
		if held > 0 {
			r.Holdout = (float64(held) + 0.5) / float64(images) // whose whole part is held
		}
	}
	n := images - held
	was := r.Batch
	if n >= 12800 {
		r.Batch *= 2
	}
	if most := max(4, n/8); r.Batch > most {
		r.Batch = 1 << (bits.Len(uint(most)) - 1)
	}
	r.Batch = min(r.Batch, n)
	r.Optimizer.LR = short(r.Optimizer.LR * math.Sqrt(float64(r.Batch)/float64(was)))
	factor := 1.0
	switch {
	case n <= 300:
		factor = 0.6
	case n > 5000:
		factor = max(0.2, math.Sqrt(5000/float64(n)))
	}
	had := r.Epochs
	r.Epochs = max(1, int(math.Round(float64(r.Epochs)*factor)))
	r.Schedule.Warmup = short(r.Schedule.Warmup * float64(r.Epochs) / float64(had))
	r.EvalEvery = max(1, r.Epochs/20)
	r.Patience = patienceOf(r.Patience, r.Epochs, had)
	updates := r.PerEpoch(n) * r.Epochs
	r.LogEvery = min(r.LogEvery, max(1, updates/100))
	if n <= 1000 && r.Augment.AA == "" && r.Augment.ColorJitter == 0 {
		r.Augment.ColorJitter = 0.2
	}
	return r, held
}

// OfImages says what the recipe comes to with so many images, of which some are held out.
func (r Recipe) OfImages(images, held int) string {
	return fmt.Sprintf("for %s: %d held out to choose by, %s of %s of %s, learning rate %.3g; %v, %v, %v and %v change that", printable.Count(images, "training image"), held, printable.Count(r.Epochs, "epoch"), printable.Count(r.PerEpoch(images-held), "update"), printable.Count(r.Batch, "image"), r.PeakLR(), input.Epochs, input.Batch, input.LR, input.Recipe)
}

// leastPatience is what a shorter training leaves of patience: accuracies go up and down from one
// epoch to the next.
const leastPatience = 5

// patienceOf is the same part of other epochs.
func patienceOf(patience, epochs, had int) int {
	if patience == 0 {
		return 0
	}
	return max(min(patience, leastPatience), int(math.Round(float64(patience)*float64(epochs)/float64(had))))
}

// short keeps three digits, so that a recipe can be read.
func short(v float64) float64 {
	if v == 0 {
		return 0
	}
	unit := math.Pow(10, 2-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*unit) / unit
}

// PerEpoch is the updates of an epoch of so many images.
func (r Recipe) PerEpoch(images int) int {
	update := max(r.Batch*r.Accumulate, 1)
	if r.FillLast {
		return (images + update - 1) / update
	}
	return images / update
}

// Override is what a command changes of a recipe; zero values change nothing.
type Override struct {
	Epochs, Batch int
	LR            float64
	Patience      *int // nil: as it was
}

// With is the recipe with what a command changes. A warm-up keeps its part of the epochs.
func (r Recipe) With(o Override) (Recipe, error) {
	for _, c := range []struct {
		given bool
		flag  string
		set   func() error
	}{
		{o.Epochs != 0, "epochs", func() error {
			r.Schedule.Warmup = short(r.Schedule.Warmup * float64(o.Epochs) / float64(r.Epochs))
			r.Schedule.Cooldown = short(r.Schedule.Cooldown * float64(o.Epochs) / float64(r.Epochs))
			r.Patience = patienceOf(r.Patience, o.Epochs, r.Epochs)
			r.Epochs = o.Epochs
			r.EvalEvery = min(r.EvalEvery, o.Epochs)
			return checkKey(r, "Epochs")
		}},
		{o.Batch != 0, "batch", func() error {
			r.Batch = o.Batch
			return checkKey(r, "Batch")
		}},
		{o.Patience != nil, "patience", func() error {
			r.Patience = *o.Patience
			return checkKey(r, "Patience")
		}},
		{o.LR != 0, "lr", func() error {
			r.Optimizer.LR, r.Optimizer.PerLR = o.LR, 0
			r.Schedule.MinLR, r.Schedule.WarmupLR = min(r.Schedule.MinLR, o.LR), min(r.Schedule.WarmupLR, o.LR)
			return r.CheckLimits("recipe")
		}},
	} {
		if !c.given {
			continue
		}
		err := c.set()
		if err == nil {
			err = r.Check()
		}
		if err != nil {
			return r, fmt.Errorf("--%s: %w: %w", c.flag, ErrInvalid, err)
		}
	}
	return r, nil
}
