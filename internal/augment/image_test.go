package augment

import (
	"errors"
	"image"
	"math"
	"slices"
	"testing"

	"prenas/internal/rng"
)

func TestCrop(t *testing.T) {
	img := Image{Pixels: []uint8{1, 2, 3, 4, 5, 6}, Height: 2, Width: 3, Channels: 1}
	for _, c := range []struct {
		top, left, height, width int
		want                     []uint8
	}{
		{0, 1, 2, 3, []uint8{2, 3, 0, 5, 6, 0}},
		{0, -2, 2, 3, []uint8{0, 0, 1, 0, 0, 4}},
		{1, 0, 2, 3, []uint8{4, 5, 6, 0, 0, 0}},
		{-1, 3, 2, 3, []uint8{0, 0, 0, 0, 0, 0}},
		{0, 0, 1, 2, []uint8{1, 2}},
		{-1, -1, 4, 5, []uint8{0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 4, 5, 6, 0, 0, 0, 0, 0, 0}},
	} {
		got := Crop(img, c.top, c.left, c.height, c.width)
		if got.Height != c.height || got.Width != c.width || !slices.Equal(got.Pixels, c.want) {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}

// What a transform is given may be a source's own memory.
func TestPixelsGivenAreLeftAlone(t *testing.T) {
	for _, channels := range []int{1, 3} {
		in := input(t, channels, 24)
		img := picture(24, 24, channels, 1)
		before := slices.Clone(img.Pixels)
		out := make([]float32, in.Len())
		for _, policy := range []string{"rand-n15-m10-inc1", "rand-n15", "original", "v0r", ""} {
			train, err := NewTrain(in, Options{Crop: "none", Policy: policy, Jitter: 1, Flip: 0.5, Interpolation: "random"})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 100 {
				if err := train.Apply(img, rng.New(1, "test", uint64(i)), out); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !slices.Equal(img.Pixels, before) {
			t.Errorf("%d channels: the pixels have changed", channels)
		}
	}
}

func TestUnsuitableImages(t *testing.T) {
	in := input(t, 3, 8)
	train, err := NewTrain(in, Options{})
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, in.Len())
	for _, img := range []Image{
		{}, {Pixels: make([]uint8, 5), Height: 2, Width: 3, Channels: 1}, {Pixels: make([]uint8, 8), Height: 2, Width: 2, Channels: 2},
		{Pixels: make([]uint8, 6), Height: -2, Width: -3, Channels: 1},
	} {
		for _, err := range []error{train.Apply(img, rng.New(1, "test"), out), in.Test(img, Test{}, out)} {
			if !errors.Is(err, ErrImage) {
				t.Errorf("%+v: %v", img, err)
			}
		}
	}
	sound, full := picture(2, 3, 3, 1), image.Rect(0, 0, 3, 2)
	for _, box := range []Box{{}, {0, 0, 3, 2.5}, {-0.5, 0, 3, 2}, {2, 0, 1, 2}, {0, math.NaN(), 3, 2}} {
		cut := Cut{full, 8, 8, image.Rect(0, 0, 8, 8), Bicubic}
		if err := train.Finish(Piece{sound, box}, cut, rng.New(1, "test"), out); !errors.Is(err, ErrImage) {
			t.Errorf("%v: %v", box, err)
		}
	}
	for _, f := range []func() error{
		func() error { _, err := NewInput(2, 8, make([]float32, 2), []float32{1, 1}); return err },
		func() error { _, err := NewInput(1, 0, []float32{0}, []float32{1}); return err },
		func() error { _, err := NewInput(1, 8, []float32{0}, []float32{0}); return err },
		func() error { _, err := NewInput(3, 8, []float32{0}, []float32{1}); return err },
		func() error { _, err := NewTrain(in, Options{Crop: "magic"}); return err },
		func() error { _, err := NewTrain(in, Options{Interpolation: "magic"}); return err },
		func() error { _, err := NewTrain(in, Options{Erase: Erase{Mode: "magic"}}); return err },
		func() error { _, err := NewTrain(in, Options{Crop: "resized"}); return err },
		func() error { return in.Test(picture(9, 9, 3, 1), Test{Crops: 3}, out) },
	} {
		if err := f(); !errors.Is(err, ErrOption) {
			t.Errorf("got %v, want %v", err, ErrOption)
		}
	}
}

// input with the statistics of ImageNet.
func input(t testing.TB, channels, size int) *Input {
	t.Helper()
	in, err := NewInput(channels, size, []float32{0.485, 0.456, 0.406}[:channels], []float32{0.229, 0.224, 0.225}[:channels])
	if err != nil {
		t.Fatal(err)
	}
	return in
}
