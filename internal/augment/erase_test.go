package augment

import (
	"math"
	"testing"

	"prenas/internal/rng"
)

func TestErase(t *testing.T) {
	const size, runs = 64, 3000
	for _, mode := range EraseModes {
		for _, count := range []int{1, 2, 5} {
			e := Erase{Prob: 0.25, Mode: mode, Count: count}
			r := rng.New(1, "erase")
			erased, area, squares, n := 0, 0.0, 0.0, 0.0
			values := make([]float32, 3*size*size)
			for range runs {
				for i := range values {
					values[i] = 99
				}
				e.apply(values, 3, size, r)
				gone, kinds := 0, map[float32]bool{}
				for i, v := range values {
					switch {
					case v == 99:
						continue
					case values[i%(size*size)] == 99:
						t.Fatal("a box that is not in all channels")
					case mode == "const" && v != 0:
						t.Fatalf("const has filled with %v", v)
					}
					gone++
					kinds[v] = true
					squares, n = squares+float64(v)*float64(v), n+1
				}
				if gone == 0 {
					continue
				}
				erased++
				share := float64(gone) / float64(len(values))
				if area += share; share > 0.36 {
					t.Fatalf("%v of the area", share)
				}
				if mode == "rand" && len(kinds) > 3*count {
					t.Fatalf("rand has %d different values in %d boxes", len(kinds), count)
				}
			}
			if want := runs * e.Prob; !(math.Abs(float64(erased)-want) <= 5*math.Sqrt(want)) {
				t.Errorf("%s, %d boxes: %d of %d images were erased", mode, count, erased, runs)
			}
			// Boxes share the area among them, 17.7 % in the mean; few overlap.
			if mean := area / float64(erased); mean < 0.13 || mean > 0.19 {
				t.Errorf("%s, %d boxes: %v of the area in the mean", mode, count, mean)
			}
			if v := squares / n; mode != "const" && !(math.Abs(v-1) <= 0.2) {
				t.Errorf("%s, %d boxes: variance %v, want 1", mode, count, v)
			}
		}
	}
	values := []float32{1, 2, 3, 4}
	Erase{}.apply(values, 1, 2, rng.New(1, "erase"))
	Erase{Prob: 1, Count: 1}.apply(values[:1], 1, 1, rng.New(1, "erase")) // no box fits
	if values[0] != 1 || values[3] != 4 {
		t.Errorf("nothing was to be erased: %v", values)
	}
}

// Each factor is drawn on its own, and the order too.
func TestJitter(t *testing.T) {
	img := picture(16, 16, 3, 1)
	if got := jitter(img, 0, rng.New(1, "jitter")); string(got.Pixels) != string(img.Pixels) {
		t.Error("strength 0 changes the image")
	}
	mean := func(img Image) float64 {
		sum := 0.0
		for _, v := range img.Pixels {
			sum += float64(v)
		}
		return sum / float64(len(img.Pixels))
	}
	darkest, brightest := 1.0, 1.0
	for i := range uint64(300) {
		ratio := mean(jitter(img, 0.4, rng.New(1, "jitter", i))) / mean(img)
		darkest, brightest = min(darkest, ratio), max(brightest, ratio)
	}
	// Brightness moves the mean by up to 40 %, less where it is cut at 255.
	if darkest < 0.55 || darkest > 0.65 || brightest < 1.1 || brightest > 1.45 {
		t.Errorf("mean brightness goes from %v to %v times", darkest, brightest)
	}
}
