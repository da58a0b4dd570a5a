package load

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"

	"prenas/internal/augment"
	"prenas/internal/data"
	"prenas/internal/printable"
	"prenas/internal/rng"
)

// Batch is what a step or an evaluation takes.
type Batch struct {
	Images      []float32 // [N, C, H, W], normalised; with crops [N, crops, C, H, W]
	Labels      []int32   // [N]; NoLabel where an image was left out
	Count       int       // valid ones of N; the rest pads the last batch
	Epoch, Step int
}

// NoLabel marks the place of an image that was left out.
const NoLabel = -1

// Options say how images become batches.
type Options struct {
	Batch          int
	Channels, Size int       // of the model's input: Size x Size
	Mean, Std      []float32 // per channel, of pixels in [0, 1]
	Seed           uint64
	Workers        int // goroutines that prepare images; 0: one per core

	// Train draws a new order each epoch, drops the last partial batch, and
	// augments; else images come in order and the last batch is padded.
	Train   bool
	Augment augment.Options
	// Repeat is how often an image is seen in an epoch of training, each time
	// augmented anew, one after the other (0: once). The epoch keeps its
	// length, so it sees that part of the images.
	Repeat int
	// Filled is how many batches an epoch of training of so many images has, of which the
	// last ones begin with the epoch's first images again, augmented anew; nil: as many as
	// are full.
	Filled func(images int) int
	// Balance gives each class that has images equally many places of an epoch of training;
	// its images come in turn, augmented anew.
	Balance bool
	// Test is how images are shown where they do not train.
	Test augment.Test
	// Share is what is made of the batches. Those of it are numbered by themselves.
	Share Share
	// Skip notes the damaged images, which are then left out: where a split
	// trains, the next sound one of the epoch's order stands in; else the
	// image's place in the batch has the label -1. Without it they are errors.
	Skip *data.Skipped
}

// Loader makes batches of a split. Batch(epoch, step) is a pure function of the
// options and its arguments.
type Loader struct {
	split data.Split
	o     Options
	input *augment.Input
	train *augment.Train
}

// New checks the options against the split.
func New(split data.Split, o Options) (*Loader, error) {
	switch {
	case o.Batch < 1:
		return nil, fmt.Errorf("data: batches of %s: at least 1 is needed", printable.Count(o.Batch, "image"))
	case split.Len() == 0:
		return nil, fmt.Errorf("%w in the split", data.ErrEmpty)
	case o.Train && split.Len() < o.Batch:
		return nil, fmt.Errorf("data: %s fewer than one batch of %d; choose a smaller batch", printable.Are(split.Len(), "training image"), o.Batch)
	}
	if o.Workers < 1 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	o.Repeat, o.Test.Crops = max(o.Repeat, 1), max(o.Test.Crops, 1)
	l := &Loader{split: split, o: o}
	var err error
	if l.input, err = augment.NewInput(o.Channels, o.Size, o.Mean, o.Std); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if l.train, err = augment.NewTrain(l.input, o.Augment); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	return l, nil
}

// Steps of an epoch.
func (l *Loader) Steps() int {
	if l.o.Train && l.o.Filled != nil {
		return l.o.Share.Batches(l.o.Filled(l.split.Len()))
	}
	all := l.split.Len()
	if !l.o.Train {
		all += l.o.Batch - 1
	}
	return l.o.Share.Batches(all / l.o.Batch)
}

// order of an epoch: the index of the image at each place.
func (l *Loader) order(epoch int) []int {
	order := make([]int, l.split.Len())
	for i := range order {
		order[i] = i
	}
	if l.o.Train {
		drawn := rng.New(l.o.Seed, "order", uint64(epoch)).Perm(len(order))
		if l.o.Balance {
			drawn = l.balanced(epoch, drawn)
		}
		for place := range order {
			order[place] = drawn[place/l.o.Repeat]
		}
	}
	return order
}

// balanced puts images of each class in turn into the places of an epoch, which drawn has
// the order of: a class with few images has each of them several times.
func (l *Loader) balanced(epoch int, drawn []int) []int {
	var classes [][]int
	at := map[int]int{}
	for _, i := range drawn {
		label := l.split.Label(i)
		if _, known := at[label]; !known {
			at[label] = len(classes)
			classes = append(classes, nil)
		}
		classes[at[label]] = append(classes[at[label]], i)
	}
	places := rng.New(l.o.Seed, "balance", uint64(epoch)).Perm(len(drawn))
	order := make([]int, len(drawn))
	for k, place := range places {
		own := classes[k%len(classes)]
		order[place] = own[k/len(classes)%len(own)]
	}
	return order
}

// Batch makes one batch; step counts from 0 within the epoch.
func (l *Loader) Batch(epoch, step int) (*Batch, error) {
	order := l.order(epoch)
	b := l.empty(order, epoch, step)
	for k := range b.Count {
		if err := l.image(b, order, k); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// values of one image of a batch.
func (l *Loader) values() int {
	if l.o.Train {
		return l.input.Len()
	}
	return l.input.Len() * l.o.Test.Crops
}

// empty is a batch to fill.
func (l *Loader) empty(order []int, epoch, step int) *Batch {
	n := l.o.Share.Images(l.o.Batch)
	count := min(n, len(order)-l.o.Share.Batch(step)*l.o.Batch)
	if l.o.Train {
		count = n
	}
	return &Batch{
		Images: make([]float32, n*l.values()), Labels: make([]int32, n), Count: count,
		Epoch: epoch, Step: step,
	}
}

// place in the epoch of number k of a batch; beyond its images where the epoch is filled up.
func (l *Loader) place(b *Batch, k int) int {
	return l.o.Share.Batch(b.Step)*l.o.Batch + l.o.Share.Place(k, l.o.Batch)
}

// image makes number k of a batch.
func (l *Loader) image(b *Batch, order []int, k int) error {
	place := l.place(b, k)
	again := place / len(order) // where the epoch is filled up
	place %= len(order)
	for range order {
		err := l.placed(b, order, k, place, again)
		var damaged *data.DamagedImage
		switch {
		case err == nil:
			return nil
		case !errors.As(err, &damaged) || l.o.Skip == nil:
			return fmt.Errorf("image %d: %w", order[place], err)
		}
		l.o.Skip.Add(damaged)
		if !l.o.Train {
			b.Labels[k] = NoLabel
			return nil
		}
		place = (place + 1) % len(order)
	}
	return fmt.Errorf("%w: none of the %s of the split can be read", data.ErrEmpty, printable.Count(len(order), "image"))
}

// placed writes the image at a place of the order as number k of a batch; again is how often
// the whole order was gone through before.
func (l *Loader) placed(b *Batch, order []int, k, place, again int) error {
	i, size := order[place], l.values()
	out := b.Images[k*size:][:size]
	b.Labels[k] = int32(l.split.Label(i))
	if l.o.Train {
		view := place%l.o.Repeat + again*l.o.Repeat
		if l.o.Balance {
			view = again*len(order) + place // an image may be in any place
		}
		return l.trained(b.Epoch, i, view, out)
	}
	return data.Whole(l.split, i, func(img data.Image) error { return l.input.Test(img, l.o.Test, out) })
}

// trained writes the numbers of view number view of image i.
func (l *Loader) trained(epoch, i, view int, out []float32) error {
	r := l.drawing(epoch, i, view)
	var cut augment.Cut
	draw := func(height, width int) augment.Cut {
		cut = l.train.Draw(height, width, r)
		return cut
	}
	return data.Part(l.split, i, draw, func(p augment.Piece) error { return l.train.Finish(p, cut, r, out) })
}

// drawing is the random stream of a view of image i.
func (l *Loader) drawing(epoch, i, view int) *rand.Rand {
	name := []uint64{uint64(epoch), uint64(i)}
	if view > 0 { // the first view is that of an image seen once
		name = append(name, uint64(view))
	}
	return rng.New(l.o.Seed, "augment", name...)
}

// Views are image i as a trained model is shown it, and then as training sees it in so many epochs
// from the first on: what augmentation makes of it. The image is decoded once.
func (l *Loader) Views(i, epochs int) (views []data.Image, err error) {
	out := make([]float32, l.input.Len())
	err = data.Whole(l.split, i, func(img data.Image) error {
		if err := l.input.Test(img, augment.Test{Resize: l.o.Test.Resize}, out); err != nil {
			return err
		}
		views = append(views, l.input.Picture(out))
		for epoch := range epochs {
			if err := l.train.Apply(img, l.drawing(epoch, i, 0), out); err != nil {
				return err
			}
			views = append(views, l.input.Picture(out))
		}
		return nil
	})
	return views, err
}
