package augment

import (
	"image"
	"math"
	"testing"

	"prenas/internal/rng"
)

var usualRatio = [2]float64{3.0 / 4, 4.0 / 3}

// Where no draw can fit, the middle is taken with the nearest aspect that may be.
func TestCropThatNeverFits(t *testing.T) {
	for _, c := range []struct {
		height, width int
		scale         [2]float64
		want          image.Rectangle
	}{
		{1000, 10, [2]float64{0.9, 1}, image.Rect(0, 493, 10, 493+13)},  // 10 / (3/4) = 13.3
		{10, 1001, [2]float64{0.9, 1}, image.Rect(494, 0, 494+13, 10)},  // 10 · 4/3 = 13.3
		{1, 1, [2]float64{0.0001, 0.0002}, image.Rect(0, 0, 1, 1)},      // nothing is left of it
		{100, 110, [2]float64{2, 2}, image.Rect(0, 0, 110, 100)},        // whole, its aspect may be
		{2, 1, [2]float64{2, 3}, image.Rect(0, 0, 1, 1)},                // 1.33 rounds to 1
		{1 << 12, 1, [2]float64{0.5, 1}, image.Rect(0, 2047, 1, 2048)},  // one pixel wide
		{1, 1 << 12, [2]float64{0.99, 1}, image.Rect(2047, 0, 2048, 1)}, // one pixel high
	} {
		for seed := range uint64(20) {
			if got := DrawCrop(c.height, c.width, c.scale, usualRatio, rng.New(seed, "crop")); got != c.want {
				t.Errorf("%dx%d, scale %v: %v, want %v", c.width, c.height, c.scale, got, c.want)
			}
		}
	}
}

// Of a large square, nearly every first draw fits: shares of the area are uniform,
// logarithms of the aspect too, and so is the place.
func TestCropsAreUniform(t *testing.T) {
	const draws, side = 20000, 4000
	r := rng.New(1, "crops")
	scale := [2]float64{0.08, 0.5}
	var shares, aspects, places [10]int
	for range draws {
		part := DrawCrop(side, side, scale, usualRatio, r)
		if !part.In(image.Rect(0, 0, side, side)) || part.Empty() {
			t.Fatalf("%v is not within the image", part)
		}
		w, h := float64(part.Dx()), float64(part.Dy())
		share := (w*h/side/side - scale[0]) / (scale[1] - scale[0])
		aspect := (math.Log(w/h) - math.Log(usualRatio[0])) / (math.Log(usualRatio[1]) - math.Log(usualRatio[0]))
		for _, c := range []struct {
			counts *[10]int
			x      float64
		}{{&shares, share}, {&aspects, aspect}, {&places, float64(part.Min.X) / (side - w + 1)}} {
			c.counts[min(max(int(10*c.x), 0), 9)]++
		}
	}
	for name, counts := range map[string][10]int{"share of the area": shares, "log aspect": aspects, "place": places} {
		for i, n := range counts {
			if deviation := math.Sqrt(draws * 0.1 * 0.9); !(math.Abs(float64(n)-draws/10) <= 5*deviation) {
				t.Errorf("%s: %d of %d draws in tenth %d", name, n, draws, i)
			}
		}
	}
}

// numbered says in its pixels where they are.
func numbered(height, width int) Image {
	img := newImage(height, width, 3)
	for y := range height {
		for x := range width {
			copy(img.Pixels[3*(y*width+x):], []uint8{uint8(y), uint8(x), 7})
		}
	}
	return img
}

// Corners are (top, left) of each crop; halves of a pixel go to the even one.
func TestCropsOfAnImage(t *testing.T) {
	for _, c := range []struct {
		height, width, size int
		corners             [5][2]int
	}{
		{20, 25, 16, [5][2]int{{0, 0}, {0, 9}, {4, 0}, {4, 9}, {2, 4}}},
		{25, 21, 16, [5][2]int{{0, 0}, {0, 5}, {9, 0}, {9, 5}, {4, 2}}},
		{20, 23, 13, [5][2]int{{0, 0}, {0, 10}, {7, 0}, {7, 10}, {4, 5}}},
		{16, 16, 16, [5][2]int{}},
	} {
		img := numbered(c.height, c.width)
		side := min(c.height, c.width)
		crops, err := Crops(img, side, c.size, 10, Bicubic)
		if err != nil || len(crops) != 10 {
			t.Fatalf("%d crops (%v)", len(crops), err)
		}
		for i, want := range c.corners {
			if got := [2]int{int(crops[i].Pixels[0]), int(crops[i].Pixels[1])}; got != want {
				t.Errorf("%dx%d, crop %d begins at %v, want %v", c.width, c.height, i, got, want)
			}
			if got := [2]int{int(crops[5+i].Pixels[0]), int(crops[5+i].Pixels[1])}; got != [2]int{want[0], c.width - 1 - want[1]} {
				t.Errorf("%dx%d, mirrored crop %d begins at %v", c.width, c.height, i, got)
			}
		}
		one, err := Crops(img, side, c.size, 1, Bicubic)
		if err != nil || string(one[0].Pixels) != string(crops[4].Pixels) {
			t.Errorf("%dx%d: one crop is not the middle (%v)", c.width, c.height, err)
		}
	}
}

// The longer side is cut down to a whole number.
func TestShorter(t *testing.T) {
	for _, c := range []struct{ height, width, side, h, w int }{
		{375, 500, 256, 256, 341}, {500, 375, 256, 341, 256}, {256, 256, 224, 224, 224}, {1, 3, 2, 2, 6}, {333, 500, 256, 256, 384},
	} {
		if h, w := shorter(c.height, c.width, c.side); h != c.h || w != c.w {
			t.Errorf("%dx%d to %d: %dx%d, want %dx%d", c.width, c.height, c.side, w, h, c.w, c.h)
		}
	}
}
