package data

import (
	"bytes"
	"image/png"
	"slices"
	"testing"

	"prenas/internal/augment"
)

// Views are the image as it is evaluated, and then what the batches of the first epochs have of it.
func TestViewsAreThoseOfTheEpochs(t *testing.T) {
	s, err := openSynthetic(t.Context(), "3x8x12", Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := LoaderOptions{
		Batch: 8, Channels: 3, Size: 8, Mean: []float32{0.4, 0.5, 0.6}, Std: []float32{0.2, 0.25, 0.3}, Seed: 3, Train: true,
		Augment: augment.Options{Crop: "resized", Scale: [2]float64{0.5, 1}, Ratio: [2]float64{0.75, 1.33}, Flip: 0.5, Policy: "rand-m9-mstd0.5-inc1"},
	}
	l, err := NewLoader(s.Train, o)
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
	img, err := s.Train.Image(image)
	if err != nil {
		t.Fatal(err)
	}
	if want := augment.CentreCrop(img, 8, 8, augment.Bicubic); !bytes.Equal(views[0].Pixels, want.Pixels) {
		t.Error("the first view is not the image as it is evaluated")
	}
}

// A sheet has each thumbnail where SheetPlace says.
func TestSheet(t *testing.T) {
	s := NewSheet(3, 2, 5)
	s.Put(2, 1, Image{Height: 1, Width: 1, Channels: 1, Pixels: []uint8{77}})
	var text bytes.Buffer
	if err := s.Write(&text); err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(&text)
	if err != nil {
		t.Fatal(err)
	}
	at := SheetPlace(2, 1, 5)
	if !at.In(img.Bounds()) || at.Dx() != 5 {
		t.Errorf("the place %v of a sheet of %v", at, img.Bounds())
	}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			inside := x >= at.Min.X && x < at.Max.X && y >= at.Min.Y && y < at.Max.Y
			if r, _, _, _ := img.At(x, y).RGBA(); (r>>8 == 77) != inside {
				t.Fatalf("pixel %d, %d is %d", x, y, r>>8)
			}
		}
	}
}
