package load

import (
	"context"
	"slices"
	"sync"
	"testing"

	"prenas/internal/augment"
	"prenas/internal/data"
	"prenas/internal/rng"
)

// noise is a split of so many grey images of 5x6 pixels.
type noise int

func (n noise) Len() int        { return int(n) }
func (n noise) Label(i int) int { return i % 3 }
func (n noise) Image(i int) (data.Image, error) {
	r := rng.New(1, "pixels", uint64(i))
	img := data.Image{Height: 6, Width: 5, Channels: 1, Pixels: make([]uint8, 30)}
	for k := range img.Pixels {
		img.Pixels[k] = uint8(r.IntN(256))
	}
	return img, nil
}

func trainLoader(t *testing.T, workers int) *Loader {
	t.Helper()
	l, err := New(noise(16), Options{Batch: 5, Channels: 3, Size: 4, Mean: []float32{.1, .2, .3}, Std: []float32{1, 2, 3},
		Seed: 9, Workers: workers, Train: true, Augment: augment.Options{Crop: "pad", Pad: 2, Flip: 0.5, Policy: "rand-m9-mstd0.5", Erase: augment.Erase{Prob: 0.5, Mode: "pixel"}}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Any number of workers, and any place to start, give the same batches as
// making each one alone.
func TestBatchesArePure(t *testing.T) {
	alone := trainLoader(t, 1)
	for _, workers := range []int{1, 2, 8} {
		for start := range 6 {
			epoch, step := start/3, start%3
			for got, err := range trainLoader(t, workers).Stream(context.Background(), epoch, step) {
				if err != nil {
					t.Fatal(err)
				}
				want, err := alone.Batch(epoch, step)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got.Images, want.Images) || !slices.Equal(got.Labels, want.Labels) {
					t.Fatalf("%d workers, start %d: batch %d of epoch %d differs", workers, start, step, epoch)
				}
				step++
			}
			if step != alone.Steps() {
				t.Fatalf("%d workers, start %d: the stream ends before batch %d of %d", workers, start, step, alone.Steps())
			}
		}
	}
}

func TestEpochIsAPermutation(t *testing.T) {
	l := trainLoader(t, 1)
	a, b := l.order(0), l.order(1)
	if slices.Equal(a, b) {
		t.Error("two epochs have the same order")
	}
	slices.Sort(a)
	if len(a) != l.split.Len() {
		t.Fatalf("an epoch has %d of %d images", len(a), l.split.Len())
	}
	for i, v := range a {
		if i != v {
			t.Fatalf("order is no permutation: %v", a)
		}
	}
}

// With repeated augmentation an epoch has its length still: a third of the images, each
// three times in a row, augmented anew each time.
func TestRepeatedAugmentation(t *testing.T) {
	s := noise(20)
	o := Options{Batch: 5, Channels: 1, Size: 4, Mean: []float32{0}, Std: []float32{1}, Seed: 9, Train: true, Repeat: 3,
		Augment: augment.Options{Crop: "resized", Scale: [2]float64{0.1, 1}, Ratio: [2]float64{0.5, 2}}}
	l, err := New(s, o)
	if err != nil {
		t.Fatal(err)
	}
	order, other := l.order(0), l.order(1)
	if l.Steps() != 4 || len(order) != 20 || slices.Equal(order, other) {
		t.Fatalf("%d steps, orders %v and %v", l.Steps(), order, other)
	}
	for place, i := range order {
		if i != order[place/3*3] || place >= 3 && slices.Contains(order[:place/3*3], i) {
			t.Fatalf("order %v does not have each image thrice in a row", order)
		}
	}
	first, err := l.Batch(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	o.Repeat = 1
	if l, err = New(s, o); err != nil {
		t.Fatal(err)
	}
	once := make([]float32, 16)
	if err := l.trained(0, order[0], 0, once); err != nil {
		t.Fatal(err)
	}
	views := [][]float32{first.Images[:16], first.Images[16:32], first.Images[32:48]}
	if !slices.Equal(views[0], once) {
		t.Error("the first view is not that of an image seen once")
	}
	if slices.Equal(views[0], views[1]) || slices.Equal(views[1], views[2]) || slices.Equal(views[0], views[2]) {
		t.Error("two views of an image are the same")
	}
}

func TestEvaluationPadsTheLastBatch(t *testing.T) {
	l, err := New(noise(4), Options{Batch: 3, Channels: 1, Size: 5, Mean: []float32{0}, Std: []float32{1}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Batch(0, 1)
	if err != nil || l.Steps() != 2 || b.Count != 1 || len(b.Labels) != 3 {
		t.Fatalf("%d steps, last batch of %d (%v)", l.Steps(), b.Count, err)
	}
}

// decodes notes which images of a split are decoded.
type decodes struct {
	noise
	mu      *sync.Mutex
	decoded map[int]int
}

func (c decodes) Image(i int) (data.Image, error) {
	c.mu.Lock()
	c.decoded[i]++
	c.mu.Unlock()
	return c.noise.Image(i)
}

// A rank decodes the images of its share alone, in training and in evaluation, and makes room for no others.
func TestARankDecodesItsShare(t *testing.T) {
	const batch, images = 8, 48 // 6 batches
	for _, c := range []struct{ ranks, accumulate int }{{1, 1}, {2, 1}, {4, 1}, {2, 2}, {4, 2}, {3, 3}} {
		for _, o := range []Options{{Train: true}, {Train: true, Balance: true}, {Train: true, Filled: func(int) int { return 6 }}, {}} {
			decoded := 0
			for rank := range c.ranks {
				o.Batch, o.Channels, o.Size, o.Mean, o.Std, o.Workers = batch, 1, 4, []float32{0}, []float32{1}, 2
				if o.Share = Every(rank, c.ranks); o.Train {
					var err error
					if o.Share, err = NewShare(rank, c.ranks, c.accumulate, batch); err != nil {
						t.Fatal(err)
					}
				}
				split := decodes{images, new(sync.Mutex), map[int]int{}}
				l, err := New(split, o)
				if err != nil {
					t.Fatal(err)
				}
				own := 0
				for b, err := range l.Stream(t.Context(), 0, 0) {
					if err != nil {
						t.Fatal(err)
					}
					if own += b.Count; len(b.Images) != b.Count*16 {
						t.Errorf("%v: a batch of %d images holds %d values", c, b.Count, len(b.Images))
					}
				}
				times := 0
				for _, n := range split.decoded {
					times += n
				}
				if decoded += times; times != own {
					t.Errorf("%v: rank %d decodes %d images and trains on %d", c, rank, times, own)
				}
			}
			if decoded != images {
				t.Errorf("%v, %+v: all ranks decode %d images of %d", c, o, decoded, images)
			}
		}
	}
}
