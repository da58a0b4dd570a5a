package load

import (
	"bytes"
	"slices"
	"testing"

	"prenas/internal/augment"
)

// Views are the image as it is evaluated, and then what the batches of the first epochs have of it.
func TestViewsAreThoseOfTheEpochs(t *testing.T) {
	s := noise(8)
	o := Options{
		Batch: 8, Channels: 3, Size: 8, Mean: []float32{0.4, 0.5, 0.6}, Std: []float32{0.2, 0.25, 0.3}, Seed: 3, Train: true,
		Augment: augment.Options{Crop: "resized", Scale: [2]float64{0.5, 1}, Ratio: [2]float64{0.75, 1.33}, Flip: 0.5, Policy: "rand-m9-mstd0.5-inc1"},
	}
	l, err := New(s, o)
	if err != nil {
		t.Fatal(err)
	}
	const image = 5
	views, err := l.Views(image, 3)
	if err != nil {
		t.Fatal(err)
	}
	if len(views) != 4 {
		t.Fatalf("%d views, want 4", len(views))
	}
	seen := 0
	for epoch := range 3 {
		place := slices.Index(l.order(epoch), image)
		if place >= l.Steps()*o.Batch {
			continue // the epoch leaves it out
		}
		seen++
		b, err := l.Batch(epoch, place/o.Batch)
		if err != nil {
			t.Fatal(err)
		}
		if want := l.input.Picture(b.Images[place%o.Batch*l.input.Len():][:l.input.Len()]); !bytes.Equal(views[1+epoch].Pixels, want.Pixels) {
			t.Errorf("epoch %d: the view is another than the batch's", epoch)
		}
	}
	if seen == 0 {
		t.Error("no epoch has the image")
	}
	img, err := s.Image(image)
	if err != nil {
		t.Fatal(err)
	}
	if want := augment.CentreCrop(augment.Convert(img, 3), 8, 8, augment.Bicubic); !bytes.Equal(views[0].Pixels, want.Pixels) {
		t.Error("the first view is not the image as it is evaluated")
	}
}
