package load

import (
	"testing"

	"prenas/internal/augment"
	"prenas/internal/data"
)

// counted is a split of images that are their own number, with labels.
type counted []int

func (c counted) Len() int        { return len(c) }
func (c counted) Label(i int) int { return c[i] }
func (c counted) Image(i int) (data.Image, error) {
	return data.Image{Height: 1, Width: 1, Channels: 1, Pixels: []uint8{uint8(i)}}, nil
}

// epochOf is how often each image, and each label, is seen in an epoch.
func epochOf(t *testing.T, s counted, o Options) (images map[int]int, labels map[int32]int, batches int) {
	t.Helper()
	o.Channels, o.Size, o.Train, o.Mean, o.Std, o.Seed = 1, 1, true, []float32{0}, []float32{1. / 255}, 7
	o.Augment = augment.Options{Crop: "none", Interpolation: "bicubic", Scale: [2]float64{1, 1}, Ratio: [2]float64{1, 1}, Erase: augment.Erase{Mode: "pixel", Count: 1}}
	l, err := New(s, o)
	if err != nil {
		t.Fatal(err)
	}
	images, labels = map[int]int{}, map[int32]int{}
	for step := range l.Steps() {
		b, err := l.Batch(3, step)
		if err != nil {
			t.Fatal(err)
		}
		if b.Count != o.Batch {
			t.Errorf("batch %d has %d images, want %d", step, b.Count, o.Batch)
		}
		for k := range b.Count {
			i := int(b.Images[k] + 0.5)
			images[i]++
			labels[b.Labels[k]]++
			if int32(s[i]) != b.Labels[k] {
				t.Errorf("image %d has the label %d, want %d", i, b.Labels[k], s[i])
			}
		}
	}
	return images, labels, l.Steps()
}

func TestFilledEpochLeavesNoImageOut(t *testing.T) {
	s := counted{0, 1, 0, 1, 0, 1, 0, 1, 0, 1}
	images, _, batches := epochOf(t, s, Options{Batch: 4})
	if batches != 2 || len(images) != 8 {
		t.Errorf("%d batches, %d images; as before: 2 and 8", batches, len(images))
	}
	images, _, batches = epochOf(t, s, Options{Batch: 4, Filled: func(n int) int { return (n + 3) / 4 }})
	if batches != 3 || len(images) != 10 {
		t.Errorf("%d batches, %d of 10 images", batches, len(images))
	}
	for i, n := range images {
		if n > 2 {
			t.Errorf("image %d is seen %d times", i, n)
		}
	}
	// More batches of an update than images.
	images, _, batches = epochOf(t, s[:3], Options{Batch: 2, Filled: func(int) int { return 4 }})
	if batches != 4 || len(images) != 3 {
		t.Errorf("%d batches, %d of 3 images", batches, len(images))
	}
}

func TestBalancedEpochShowsClassesAlike(t *testing.T) {
	s := make(counted, 60)
	for i := range s {
		switch {
		case i < 3:
			s[i] = 2
		case i < 13:
			s[i] = 5
		}
	}
	images, labels, _ := epochOf(t, s, Options{Batch: 6, Balance: true})
	for _, label := range []int32{0, 2, 5} {
		if labels[label] != 20 {
			t.Errorf("label %d has %d places of 60, want 20", label, labels[label])
		}
	}
	for i := range 13 {
		if want := 20 / map[int]int{2: 3, 5: 10}[s[i]]; images[i] < want || images[i] > want+1 {
			t.Errorf("image %d of label %d is seen %d times", i, s[i], images[i])
		}
	}
}
