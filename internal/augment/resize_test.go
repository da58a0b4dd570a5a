package augment

import (
	"image"
	"math"
	"testing"

	"prenas/internal/rng"
)

// slowResize is the definition, value by value.
func slowResize(img Image, part image.Rectangle, height, width int, f Filter) Image {
	img = Crop(img, part.Min.Y, part.Min.X, part.Dy(), part.Dx())
	img = slowColumns(img, width, f)
	return turned(slowColumns(turned(img), height, f))
}

func slowColumns(img Image, width int, f Filter) Image {
	if img.Width == width {
		return img
	}
	out := newImage(img.Height, width, img.Channels)
	scale := float64(img.Width) / float64(width)
	wide := max(scale, 1)
	for x := range width {
		centre := (float64(x) + 0.5) * scale
		first := max(0, int(centre-f.support()*wide+0.5))
		last := min(img.Width, int(centre+f.support()*wide+0.5))
		sum := 0.0
		for i := first; i < last; i++ {
			sum += f.at((float64(i) - centre + 0.5) * (1 / wide))
		}
		for y := range img.Height {
			for c := range img.Channels {
				total := 1 << 21
				for i := first; i < last; i++ {
					weight := f.at((float64(i)-centre+0.5)*(1/wide)) / sum * (1 << 22)
					total += int(math.Trunc(weight+math.Copysign(0.5, weight))) * int(img.Pixels[(y*img.Width+i)*img.Channels+c])
				}
				out.Pixels[(y*width+x)*img.Channels+c] = uint8(min(max(total>>22, 0), 255))
			}
		}
	}
	return out
}

// turned changes rows and columns.
func turned(img Image) Image {
	out := newImage(img.Width, img.Height, img.Channels)
	for y := range img.Height {
		for x := range img.Width {
			copy(out.Pixels[(x*img.Height+y)*img.Channels:][:img.Channels], img.Pixels[(y*img.Width+x)*img.Channels:])
		}
	}
	return out
}

// The fast ways of resizing, with vectors and without, give what the definition
// gives, whatever the sizes; and a window of it is that part of the whole.
func TestResizeIsItsDefinition(t *testing.T) {
	defer func(had bool) { hasVectors = had }(hasVectors)
	r := rng.New(1, "sizes")
	for i := range 400 {
		channels := 1 + 2*(i%2)
		img := picture(1+r.IntN(60), 1+r.IntN(60), channels, uint64(i))
		if i%5 == 0 { // the extremes, which overshoot most
			for k := range img.Pixels {
				img.Pixels[k] = uint8(255 * r.IntN(2))
			}
		}
		part := image.Rect(r.IntN(img.Width), r.IntN(img.Height), 1+r.IntN(img.Width), 1+r.IntN(img.Height))
		if part.Empty() {
			part = whole(img)
		}
		height, width := 1+r.IntN(50), 1+r.IntN(50)
		if i%7 == 0 {
			height = part.Dy()
		}
		f := Filter(i / 2 % 2)
		window := image.Rect(r.IntN(width), r.IntN(height), 1+r.IntN(width), 1+r.IntN(height))
		if window.Empty() {
			window = image.Rect(0, 0, width, height)
		}
		want := slowResize(img, part, height, width, f)
		for _, vectors := range []bool{false, true} {
			hasVectors = vectors && cpuHasVectors
			if got := Resize(img, part, height, width, f); string(got.Pixels) != string(want.Pixels) {
				t.Fatalf("%v of %v, %d channels, to %dx%d, filter %d, vectors %v: not the definition", part, whole(img), channels, width, height, f, hasVectors)
			}
			cut := Cut{part, height, width, window, f}
			got := cut.resize(NewPiece(img, cut))
			if cut := Crop(want, window.Min.Y, window.Min.X, window.Dy(), window.Dx()); string(got.Pixels) != string(cut.Pixels) {
				t.Fatalf("window %v of %dx%d, vectors %v: not that part of the whole", window, width, height, hasVectors)
			}
		}
	}
}

var cpuHasVectors = hasVectors
