package augment

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"prenas/internal/rng"
)

func TestParsePolicy(t *testing.T) {
	for text, want := range map[string]struct {
		count, choices              int
		magnitude, deviation, limit float64
		first                       string // name of the fifth choice's first operation
	}{
		"rand":                      {2, 15, 10, 0, 10, "Posterize"},
		"rand-m9-mstd0.5-inc1":      {2, 15, 9, 0.5, 10, "PosterizeIncreasing"},
		"rand-n3-m10-mstd0.5-inc1":  {3, 15, 10, 0.5, 10, "PosterizeIncreasing"},
		"rand-mstd101-mmax20-inc0":  {2, 15, 10, 101, 20, "Posterize"},
		"rand-w0-n13":               {13, 15, 10, 0, 10, "Posterize"},
		"v0r-mstd0.5":               {1, 25, 0.4 * 10, 0.5, 10, "Solarize"},
		"original":                  {1, 25, 7, 0, 10, "Equalize"},
		"originalr-mstd1":           {1, 25, 7, 1, 10, "Equalize"},
		"v0":                        {1, 25, 0.4 * 10, 0, 10, "Solarize"},
		"rand-inc1-mstd.5-m4":       {},
		"":                          {},
		"rand-":                     {},
		"rand-m":                    {},
		"rand-m1.5":                 {},
		"rand-m9e9":                 {},
		"rand-mNaN":                 {},
		"rand-mstd0x10":             {},
		"rand-n0":                   {},
		"rand-n101":                 {},
		"rand-w1":                   {},
		"rand-w0-n14":               {},
		"rand-k3":                   {},
		"v0r-m9":                    {},
		"3a":                        {},
		"augmix-m5-w4-d2":           {},
		"rand-m9-mstd0.5-inc1-best": {},
	} {
		p, err := ParsePolicy(text)
		if want.count == 0 {
			if !errors.Is(err, ErrPolicy) {
				t.Errorf("%q: %v, want %v", text, err, ErrPolicy)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		s := p.choices[4][0]
		if p.count != want.count || len(p.choices) != want.choices || p.deviation != want.deviation || p.largest != want.limit || s.name != want.first {
			t.Errorf("%q: %d of %d, deviation %v, limit %v, then %s", text, p.count, len(p.choices), p.deviation, p.largest, s.name)
		}
		if strings.HasPrefix(text, "rand") && (s.magnitude != want.magnitude || s.probability != 0.5) {
			t.Errorf("%q: magnitude %v, probability %v", text, s.magnitude, s.probability)
		}
		for _, steps := range p.choices {
			for _, s := range steps {
				if s.apply == nil {
					t.Errorf("%q: there is no operation %q", text, s.name)
				}
			}
		}
	}
	if _, err := ParsePolicy("magic-m9"); err == nil || !strings.Contains(err.Error(), "original, originalr, rand, v0, v0r") {
		t.Errorf("an unknown name: %v; the error must list the known ones", err)
	}
}

// Arguments at magnitudes 0, 5, 9 and 10, by the formulas in timm 0.5.4's
// auto_augment.py; ± stands for either sign.
func TestLevels(t *testing.T) {
	for name, want := range map[string][4][]float64{
		"Rotate":               {{0}, {-15, 15}, {-27, 27}, {-30, 30}},
		"ShearX":               {{0}, {-0.15, 0.15}, {-0.27, 0.27}, {-0.3, 0.3}},
		"ShearY":               {{0}, {-0.15, 0.15}, {-0.27, 0.27}, {-0.3, 0.3}},
		"TranslateXRel":        {{0}, {-0.225, 0.225}, {-0.405, 0.405}, {-0.45, 0.45}},
		"TranslateYRel":        {{0}, {-0.225, 0.225}, {-0.405, 0.405}, {-0.45, 0.45}},
		"Posterize":            {{0}, {2}, {3}, {4}},
		"PosterizeIncreasing":  {{4}, {2}, {1}, {0}},
		"PosterizeOriginal":    {{4}, {6}, {7}, {8}},
		"Solarize":             {{0}, {128}, {230}, {256}},
		"SolarizeIncreasing":   {{256}, {128}, {26}, {0}},
		"SolarizeAdd":          {{0}, {55}, {99}, {110}},
		"Color":                {{0.1}, {1}, {1.72}, {1.9}},
		"Contrast":             {{0.1}, {1}, {1.72}, {1.9}},
		"Brightness":           {{0.1}, {1}, {1.72}, {1.9}},
		"Sharpness":            {{0.1}, {1}, {1.72}, {1.9}},
		"ColorIncreasing":      {{1}, {0.55, 1.45}, {0.19, 1.81}, {0.1, 1.9}},
		"ContrastIncreasing":   {{1}, {0.55, 1.45}, {0.19, 1.81}, {0.1, 1.9}},
		"BrightnessIncreasing": {{1}, {0.55, 1.45}, {0.19, 1.81}, {0.1, 1.9}},
		"SharpnessIncreasing":  {{1}, {0.55, 1.45}, {0.19, 1.81}, {0.1, 1.9}},
		"AutoContrast":         {{0}, {0}, {0}, {0}},
		"Equalize":             {{0}, {0}, {0}, {0}},
		"Invert":               {{0}, {0}, {0}, {0}},
	} {
		r := rng.New(1, "levels")
		for i, magnitude := range []float64{0, 5, 9, 10} {
			seen := map[int]bool{}
			for range 60 {
				got := operations[name].level(magnitude, r)
				at := slices.IndexFunc(want[i], func(w float64) bool { return math.Abs(w-got) < 1e-9 })
				if at < 0 {
					t.Fatalf("%s at %v: %v, want one of %v", name, magnitude, got, want[i])
				}
				seen[at] = true
			}
			if len(seen) != len(want[i]) {
				t.Errorf("%s at %v: only %d of the arguments %v were drawn", name, magnitude, len(seen), want[i])
			}
		}
	}
	if len(operations) != 22 {
		t.Errorf("%d operations, 22 are looked at here", len(operations))
	}
}

func TestMagnitudes(t *testing.T) {
	const draws = 20000
	moments := func(text string, mean float64) (m, deviation, low, high float64) {
		p, err := ParsePolicy(text)
		if err != nil {
			t.Fatal(err)
		}
		r, sum, squares := rng.New(1, "magnitudes"), 0.0, 0.0
		low, high = math.Inf(1), math.Inf(-1)
		for range draws {
			x := p.magnitude(mean, r)
			sum, squares, low, high = sum+x, squares+x*x, min(low, x), max(high, x)
		}
		m = sum / draws
		return m, math.Sqrt(squares/draws - m*m), low, high
	}
	if m, d, low, high := moments("rand", 9); m != 9 || d > 1e-6 || low != 9 || high != 9 {
		t.Errorf("without deviation: %v, deviation %v", m, d)
	}
	if m, d, _, high := moments("rand-mstd0.5", 5); !(math.Abs(m-5) <= 0.02) || !(math.Abs(d-0.5) <= 0.02) || high > 10 {
		t.Errorf("mstd0.5 at 5: %v, deviation %v", m, d)
	}
	if _, _, low, high := moments("rand-mstd9", 5); low != 0 || high != 10 {
		t.Errorf("mstd9 at 5 goes from %v to %v, want 0 to 10", low, high)
	}
	if _, _, _, high := moments("rand-mstd9-mmax20", 5); high != 20 {
		t.Errorf("mmax20: up to %v", high)
	}
	if m, d, low, high := moments("rand-mstd101", 8); !(math.Abs(m-4) <= 0.1) || !(math.Abs(d-8/math.Sqrt(12)) <= 0.1) || low < 0 || high > 8 {
		t.Errorf("mstd101 at 8: mean %v, deviation %v, %v to %v; want uniform up to 8", m, d, low, high)
	}
}

// Operations of rand are drawn alike, or by their weights and then none twice.
func TestChoices(t *testing.T) {
	const draws = 4000
	names := func(text string, spy func([]string)) {
		p, err := ParsePolicy(text)
		if err != nil {
			t.Fatal(err)
		}
		var drawn []string
		for _, steps := range p.choices {
			s := &steps[0]
			s.probability = 1
			s.apply = func(img Image, _ float64, _ setting) Image {
				drawn = append(drawn, s.name)
				return img
			}
		}
		r := rng.New(1, "choices")
		for range draws {
			drawn = nil
			p.apply(Image{}, nil, []Filter{Bicubic}, r)
			spy(drawn)
		}
	}
	counts, twice := map[string]int{}, 0
	names("rand-n2", func(drawn []string) {
		counts[drawn[0]]++
		if drawn[0] == drawn[1] {
			twice++
		}
	})
	for _, name := range randOperations {
		if n := counts[name]; !(math.Abs(float64(n)-draws/15.0) <= 5*math.Sqrt(draws/15.0)) {
			t.Errorf("%s was drawn %d of %d times", name, n, draws)
		}
	}
	if !(math.Abs(float64(twice)-draws/15.0) <= 5*math.Sqrt(draws/15.0)) {
		t.Errorf("the same operation twice: %d of %d times", twice, draws)
	}
	counts = map[string]int{}
	names("rand-n13-w0", func(drawn []string) {
		counts[drawn[0]]++
		slices.Sort(drawn)
		if len(slices.Compact(slices.Clone(drawn))) != 13 || slices.Contains(drawn, "Invert") || slices.Contains(drawn, "Posterize") {
			t.Fatalf("w0 has drawn %v", drawn)
		}
	})
	for i, name := range randOperations {
		if mean := draws * randWeights[i] / 1.0; !(math.Abs(float64(counts[name])-mean) <= 5*math.Sqrt(mean)+30) {
			t.Errorf("w0: %s first %d of %d times, want about %v", name, counts[name], draws, mean)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	for _, seed := range []string{"rand-m9-mstd0.5-inc1", "v0r-mstd0.5", "rand-w0-n3-mmax20", "original"} {
		f.Add(seed)
	}
	in := input(f, 1, 5)
	img := picture(5, 5, 1, 1)
	out := make([]float32, in.Len())
	f.Fuzz(func(t *testing.T, text string) {
		train, err := NewTrain(in, Options{Policy: text})
		if err != nil {
			return
		}
		if err := train.Apply(img, rng.New(1, "fuzz"), out); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
