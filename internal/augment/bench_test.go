package augment

import (
	"image"
	"testing"

	"prenas/internal/rng"
)

func BenchmarkResize(b *testing.B) {
	img := picture(375, 500, 3, 1)
	for _, c := range []struct {
		name   string
		part   image.Rectangle
		filter Filter
	}{
		{"bilinear", image.Rect(60, 50, 428, 325), Bilinear},
		{"bicubic", image.Rect(60, 50, 428, 325), Bicubic},
	} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				Resize(img, c.part, 224, 224, c.filter)
			}
		})
	}
}

func BenchmarkTrain(b *testing.B) {
	in := input(b, 3, 224)
	img := picture(375, 500, 3, 1)
	out := make([]float32, in.Len())
	for _, policy := range []string{"", "rand-m9-mstd0.5-inc1"} {
		b.Run("policy "+policy, func(b *testing.B) {
			t, err := NewTrain(in, Options{
				Crop: "resized", Scale: [2]float64{0.08, 1}, Ratio: [2]float64{0.75, 4.0 / 3}, Flip: 0.5, Interpolation: "bilinear", Policy: policy,
			})
			if err != nil {
				b.Fatal(err)
			}
			for i := range b.N {
				if err := t.Apply(img, rng.New(1, "bench", uint64(i)), out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOperation tells which operations of a policy take long.
func BenchmarkOperation(b *testing.B) {
	img := picture(224, 224, 3, 1)
	for name, argument := range map[string]float64{
		"AutoContrast": 0, "Equalize": 0, "Color": 1.8, "Contrast": 1.8, "Sharpness": 1.8, "Rotate": 27, "ShearX": 0.27, "TranslateXRel": 0.4,
	} {
		for _, f := range []Filter{Bilinear, Bicubic} {
			b.Run(name+"/"+[]string{"bilinear", "bicubic"}[f], func(b *testing.B) {
				for range b.N {
					operations[name].apply(img, argument, setting{[]uint8{1, 2, 3}, f})
				}
			})
		}
	}
}
