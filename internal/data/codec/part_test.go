package codec

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"testing"

	"prenas/internal/augment"
	"prenas/internal/rng"
)

// waves is smooth, so that decoding at a lower resolution loses little.
func waves(height, width int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			level := func(across, down float64) uint8 {
				return uint8(128 + 100*math.Sin(float64(x)/across)*math.Cos(float64(y)/down))
			}
			img.SetNRGBA(x, y, color.NRGBA{level(31, 43), level(47, 29), level(37, 61), 255})
		}
	}
	return img
}

func jpegOf(t *testing.T, img image.Image) []byte {
	t.Helper()
	var text bytes.Buffer
	if err := jpeg.Encode(&text, img, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// withOrientation puts an EXIF orientation into a JPEG file.
func withOrientation(text []byte, orientation uint16) []byte {
	exif := []byte("Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01")
	exif = binary.BigEndian.AppendUint16(exif, orientation)
	exif = append(exif, 0, 0, 0, 0, 0, 0)
	turned := append([]byte{0xff, 0xd8, 0xff, 0xe1}, binary.BigEndian.AppendUint16(nil, uint16(len(exif)+2))...)
	return append(append(turned, exif...), text[2:]...)
}

// partFiles is a picture in formats that are decoded in different ways.
func partFiles(t *testing.T, height, width int) map[string][]byte {
	t.Helper()
	img := waves(height, width)
	grey := image.NewGray(img.Rect)
	for i := range grey.Pix {
		grey.Pix[i] = img.Pix[4*i]
	}
	var asPNG, asGIF bytes.Buffer
	if err := png.Encode(&asPNG, img); err != nil {
		t.Fatal(err)
	}
	if err := gif.Encode(&asGIF, img, nil); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"png": asPNG.Bytes(), "gif": asGIF.Bytes(), "grey jpeg": jpegOf(t, grey)}
	for orientation := range 8 {
		files["jpeg turned "+string(rune('1'+orientation))] = withOrientation(jpegOf(t, img), uint16(orientation+1))
	}
	return files
}

// A part of a file is that part of the whole file, however it is turned, where it is not
// to be made much smaller.
func TestPartOfAFile(t *testing.T) {
	for name, text := range partFiles(t, 61, 83) {
		whole, err := Decode(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r := rng.New(1, "parts")
		for range 30 {
			var cut augment.Cut
			p, err := partOf(text, func(height, width int) augment.Cut {
				if height != whole.Height || width != whole.Width {
					t.Fatalf("%s is said to be of %dx%d pixels, and is of %dx%d", name, width, height, whole.Width, whole.Height)
				}
				part := augment.DrawCrop(height, width, [2]float64{0.01, 1}, [2]float64{0.5, 2}, r)
				cut = augment.Cut{Part: part, Height: part.Dy()/2 + 1, Width: part.Dx()}
				return cut
			})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			left, top := int(p.Box.Left), int(p.Box.Top)
			if p.Box != (augment.Box{Left: float64(left), Top: float64(top), Right: float64(left + cut.Part.Dx()), Bottom: float64(top + cut.Part.Dy())}) {
				t.Fatalf("%s: %v is in %v", name, cut.Part, p.Box)
			}
			got := augment.Crop(p.Image, top, left, cut.Part.Dy(), cut.Part.Dx())
			want := augment.Crop(whole, cut.Part.Min.Y, cut.Part.Min.X, cut.Part.Dy(), cut.Part.Dx())
			if !bytes.Equal(got.Pixels, want.Pixels) {
				t.Fatalf("%s: part %v has other pixels than the whole file there", name, cut.Part)
			}
		}
	}
}

// A training image is nearly the same whether its file was decoded whole or as far as needed,
// which in this build may be smaller than it is.
func TestPartThatIsMadeSmaller(t *testing.T) {
	in, err := augment.NewInput(3, 24, []float32{0, 0, 0}, []float32{1, 1, 1})
	if err != nil {
		t.Fatal(err)
	}
	train, err := augment.NewTrain(in, augment.Options{Crop: "resized", Scale: [2]float64{0.1, 1}, Ratio: [2]float64{0.75, 4.0 / 3}})
	if err != nil {
		t.Fatal(err)
	}
	got, want := make([]float32, in.Len()), make([]float32, in.Len())
	for name, text := range partFiles(t, 333, 250) {
		whole, err := Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint64(20) {
			if err := train.Apply(whole, rng.New(1, "part", i), want); err != nil {
				t.Fatal(err)
			}
			r := rng.New(1, "part", i)
			var cut augment.Cut
			p, err := partOf(text, func(height, width int) augment.Cut {
				cut = train.Draw(height, width, r)
				return cut
			})
			if err != nil {
				t.Fatal(err)
			}
			if smaller := p.Height < min(whole.Height, cut.Part.Dy()); smaller && (p.Height < 24 || p.Width < 24) {
				t.Errorf("%s: %v was decoded to %dx%d pixels, for 24x24", name, cut.Part, p.Width, p.Height)
			}
			if err := train.Finish(p, cut, r, got); err != nil {
				t.Fatal(err)
			}
			sum := 0.0
			for k := range want {
				sum += math.Abs(float64(got[k] - want[k]))
			}
			if mean := 255 * sum / float64(len(want)); mean > 1 {
				t.Errorf("%s, %v: %.2f levels from the whole file's in the mean", name, cut.Part, mean)
			}
		}
	}
}

func TestReduction(t *testing.T) {
	for _, c := range []struct{ height, width, want int }{
		{224, 224, 1}, {447, 900, 1}, {448, 448, 2}, {448, 447, 1}, {895, 2000, 2}, {896, 896, 4}, {1792, 1792, 8}, {16000, 16000, 8}, {1, 1, 1},
	} {
		if got := reduction(augment.Cut{Part: image.Rect(5, 7, 5+c.width, 7+c.height), Height: 224, Width: 224}); got != c.want {
			t.Errorf("%dx%d to 224x224: by %d, want %d", c.width, c.height, got, c.want)
		}
	}
}
