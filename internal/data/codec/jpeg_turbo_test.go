//go:build turbojpeg

package codec

import (
	"bytes"
	"image/jpeg"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"prenas/internal/augment"
	"prenas/internal/rng"
)

// fast decodes with the library alone.
func fast(text []byte, height, width, by int) (augment.Piece, bool) {
	return decodeJPEG(text, height, width, augment.Box{Right: float64(width), Bottom: float64(height)}, by)
}

// The library decodes what is usual, at every size, to the pixels of Go's decoder.
func TestTurboIsUsed(t *testing.T) {
	const height, width = 61, 83
	text := jpegOf(t, waves(height, width))
	img, err := jpeg.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := FromImage(img)
	for _, by := range []int{1, 2, 4, 8} {
		p, ok := fast(text, height, width, by)
		if !ok || p.Height != (height+by-1)/by || p.Width != (width+by-1)/by || p.Box.Right != width/float64(by) || p.Box.Bottom != height/float64(by) {
			t.Fatalf("smaller by %d: %v, %dx%d pixels, part %v", by, ok, p.Width, p.Height, p.Box)
		}
		if by > 1 {
			continue
		}
		far := 0
		for i, v := range want.Pixels {
			if d := int(v) - int(p.Pixels[i]); d < -1 || d > 1 {
				far++
			}
		}
		if 100*far > len(want.Pixels) {
			t.Errorf("%d of %d values are more than one level from those of Go's decoder", far, len(want.Pixels))
		}
	}
	if _, ok := fast(text, height, width+1, 1); ok {
		t.Error("a file of another size is taken")
	}
}

// Whatever is damaged is left to Go's decoder, which says why.
func TestTurboLeavesTheDamaged(t *testing.T) {
	const height, width = 61, 83
	text := jpegOf(t, waves(height, width))
	for n := range len(text) - 1 {
		if _, ok := fast(text[:n], height, width, 1+n%2); ok {
			t.Fatalf("%d of %d bytes are enough", n, len(text))
		}
	}
	r := rng.New(1, "damage")
	for range 2000 {
		damaged := bytes.Clone(text)
		for range 1 + r.IntN(8) {
			damaged[r.IntN(len(damaged))] = byte(r.IntN(256))
		}
		p, err := partOf(damaged, func(height, width int) augment.Cut {
			return augment.Cut{Part: augment.DrawCrop(height, width, [2]float64{0.1, 1}, [2]float64{0.5, 2}, r), Height: 16, Width: 16}
		})
		if err == nil && len(p.Pixels) != 3*p.Height*p.Width {
			t.Fatalf("%d values of %dx%d pixels", len(p.Pixels), p.Width, p.Height)
		}
	}
}

// Of photographs, training images from smaller decoding are a few levels from those of
// full decoding. The photographs are those that come with modules that this one needs.
func TestTurboOfPhotographs(t *testing.T) {
	in, err := augment.NewInput(3, 224, []float32{0, 0, 0}, []float32{1. / 255, 1. / 255, 1. / 255})
	if err != nil {
		t.Fatal(err)
	}
	for _, photograph := range []struct{ module, path string }{
		{"github.com/bep/imagemeta", "testdata/images/bep/sunrise.jpg"},
		{"github.com/gomlx/gomlx", "docs/zurich_see.jpg"},
	} {
		dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", photograph.module).Output()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(strings.TrimSpace(string(dir)), photograph.path)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, filter := range []string{"bilinear", "bicubic"} {
			train, err := augment.NewTrain(in, augment.Options{Crop: "resized", Scale: [2]float64{0.08, 1}, Ratio: [2]float64{0.75, 4.0 / 3}, Interpolation: filter})
			if err != nil {
				t.Fatal(err)
			}
			got, want := make([]float32, in.Len()), make([]float32, in.Len())
			sum, most, smaller := 0.0, 0.0, 0
			const crops = 40
			for i := range uint64(crops) {
				if err := train.Apply(whole, rng.New(1, "photograph", i), want); err != nil {
					t.Fatal(err)
				}
				r := rng.New(1, "photograph", i)
				var cut augment.Cut
				p, err := partOf(text, func(height, width int) augment.Cut {
					cut = train.Draw(height, width, r)
					return cut
				})
				if err == nil {
					err = train.Finish(p, cut, r, got)
				}
				if err != nil {
					t.Fatal(err)
				}
				if reduction(cut) == 1 {
					continue
				}
				apart := 0.0
				for k := range want {
					apart += math.Abs(float64(got[k]-want[k])) / float64(len(want))
				}
				sum, most, smaller = sum+apart, max(most, apart), smaller+1
			}
			mean := sum / float64(max(smaller, 1))
			t.Logf("%s, %dx%d pixels, %s: %d of %d crops were decoded smaller, %.2f levels apart in the mean, %.2f at most", photograph.path, whole.Width, whole.Height, filter, smaller, crops, mean, most)
			if smaller == 0 || mean > 1 {
				t.Errorf("%s: %d crops decoded smaller, %.2f levels apart", photograph.path, smaller, mean)
			}
		}
	}
}
