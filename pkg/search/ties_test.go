package search

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"prenas/pkg/space"
)

// tiedSpace has many architectures of the same score under every method: all weights and
// gradients are alike, and sizes have equal sums and products. Its lists are in no order.
func tiedSpace(t *testing.T) (*space.Space, *Sums) {
	t.Helper()
	s := &space.Space{
		Name: "tied", Supernet: space.Supernet{EmbedDim: 16, Depth: 4, NumHeads: 4, MLPRatio: 4},
		EmbedDim: []int{16, 8, 4}, Depth: []int{4, 2, 3}, NumHeads: []int{4, 1, 2}, MLPRatio: []float64{2, 4, 1},
		Model: space.Model{ImageSize: 4, PatchSize: 2, Channels: 1, NumClasses: 3, HeadDim: 4, QKVBias: true},
	}
	least, most := ParamsCost(s).span(newGrid(s))
	s.Interval = space.Interval{Min: least / 1e6, Max: (most + 1) / 1e6, Step: (most + 1 - least) / 1e6 / 4 * 0.9999}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	return s, alike(t, s)
}

// alike are sums of weights and gradients of 1.
func alike(t *testing.T, s *space.Space) *Sums {
	t.Helper()
	ones := supernetTensors(s, 1)
	for _, tensor := range ones {
		for i := range tensor.Data {
			tensor.Data[i] = 1
		}
	}
	sums, err := NewSums(s, ones, ones, true)
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

// original lists what the original's search looks at, in its order: loops over embedding
// dims and depths, cut points of ratios, cut points of heads, as its combinations give
// them. Blocks are all worth the same, so larger choices go to the lower layers.
func original(s *space.Space) []space.Arch {
	heads, ratios := slices.Sorted(slices.Values(s.NumHeads)), slices.Sorted(slices.Values(s.MLPRatio))
	var all []space.Arch
	for _, dim := range s.EmbedDim {
		for _, depth := range s.Depth {
			for a := 0; a <= depth; a++ {
				for b := a + 1; b <= depth; b++ {
					for c := 0; c <= depth; c++ {
						for d := c + 1; d <= depth; d++ {
							all = append(all, space.Arch{
								EmbedDim: dim,
								MLPRatio: slices.Concat(slices.Repeat(ratios[2:], depth-b), slices.Repeat(ratios[1:2], b-a), slices.Repeat(ratios[:1], a)),
								NumHeads: slices.Concat(slices.Repeat(heads[2:], depth-d), slices.Repeat(heads[1:2], d-c), slices.Repeat(heads[:1], c)),
							})
						}
					}
				}
			}
		}
	}
	return all
}

// bestOf are the names of the best of each interval: a stable sort by score, as
// the original's, of architectures in the order given.
func bestOf(t *testing.T, s *space.Space, scores *Scores, all []space.Arch, top int) string {
	t.Helper()
	b, err := newBins(s.Interval)
	if err != nil {
		t.Fatal(err)
	}
	found := make([][]space.Arch, b.count)
	for _, a := range all {
		if bin := b.of(float64(s.Model.Params(a)) / 1e6); bin >= 0 {
			found[bin] = append(found[bin], a)
		}
	}
	var lines []string
	for _, list := range found {
		slices.SortStableFunc(list, func(x, y space.Arch) int { return cmp.Compare(scores.Of(y), scores.Of(x)) })
		for _, a := range list[:min(top, len(list))] {
			lines = append(lines, a.String())
		}
	}
	return strings.Join(lines, "\n")
}

func names(c space.Candidates) string {
	var lines []string
	for _, bin := range c {
		for _, candidate := range bin.Candidates {
			lines = append(lines, candidate.Arch.String())
		}
	}
	return strings.Join(lines, "\n")
}

func TestTiesGoByTheOriginalsOrder(t *testing.T) {
	s, sums := tiedSpace(t)
	for _, method := range everyScoreMethod() {
		scores, err := NewScores(s, sums, method)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := RunSums(s, sums, Options{Score: method, Top: 5})
		if err != nil {
			t.Fatal(err)
		}
		if want := bestOf(t, s, scores, original(s), 5); names(got) != want {
			t.Errorf("%s: found\n%s\nwant\n%s", method, names(got), want)
		}
	}
}

// The other methods look at the whole space, in an order that begins like the original's.
func TestTiesOfEveryMethod(t *testing.T) {
	vit, _ := tiedSpace(t)
	vit.EmbedDim, vit.Depth = []int{16, 8}, []int{3, 2}
	conv := tiedConvSpace(t)
	for _, s := range []*space.Space{vit, conv} {
		sums, g := alike(t, s), newGrid(s)
		var picks []pick
		everyPick(g, func(p pick) { picks = append(picks, p) })
		slices.SortFunc(picks, func(p, q pick) int {
			return cmp.Or(cmp.Compare(p.scale, q.scale), cmp.Compare(p.stack, q.stack),
				slices.Compare(slowCounts(p.second, g.second), slowCounts(q.second, g.second)),
				slices.Compare(slowCounts(p.first, g.first), slowCounts(q.first, g.first)),
				slices.Compare(fromLast(g, p), fromLast(g, q)))
		})
		var all []space.Arch
		for _, p := range picks {
			all = append(all, g.arch(p))
		}
		for _, method := range everyScoreMethod() {
			if method.base == "entropy" {
				continue // defined for transformers; its rounding decides, and Exact keeps one of each permutation
			}
			scores, err := NewScores(s, sums, method)
			if err != nil {
				t.Fatal(err)
			}
			want := bestOf(t, s, scores, all, 3)
			for _, o := range []Options{{Method: Exact}, {Method: Random, Population: 40 * len(picks)}, {Method: Evolution, Population: 40 * len(picks), Generations: 1}} {
				if o.Method == Exact && (method.avg || method.base == "taylor5" && method.pruned) {
					continue // of which it finds the largest sum for each size, and nothing
				}
				if o.Method != Exact && method != (ScoreMethod{base: "taylor6"}) {
					continue // scores are compared in one place; drawing takes its time
				}
				o.Score, o.Top = method, 3
				got, _, err := RunSums(s, sums, o)
				if err != nil {
					t.Fatal(err)
				}
				if names(got) != want {
					t.Errorf("%s by %s: found\n%s\nwant\n%s", o.Method, method, names(got), want)
				}
			}
		}
		// Of a front: the first of the best of each number of parameters.
		front, err := Pareto(s, sums, Options{})
		if err != nil {
			t.Fatal(err)
		}
		scores, err := NewScores(s, sums, ScoreMethod{base: "taylor6"})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range front {
			for _, a := range all {
				if s.Model.Params(a) == c.Params && scores.Of(a) == c.Score {
					if !a.Equal(c.Arch) {
						t.Errorf("the front has %s, of the same score and size as %s before it", c.Arch, a)
					}
					break
				}
			}
		}
	}
}

func slowCounts(choices []int, n int) []int {
	counts := make([]int, n)
	for _, c := range choices {
		counts[c]++
	}
	return counts
}

func fromLast(g grid, p pick) []int {
	var all []int
	for i := len(p.layers) - 1; i >= 0; i-- {
		if g.joint {
			all = append(all, p.first[i], p.second[i])
		} else {
			all = append(all, p.second[i], p.first[i])
		}
	}
	return all
}

func tiedConvSpace(t *testing.T) *space.Space {
	t.Helper()
	s := &space.Space{
		Name: "tied", Supernet: space.Supernet{Depth: 2, Kernel: 5, Expand: 4}, Depth: []int{2, 1}, Resolution: []int{16, 8},
		Kernel: []int{5, 3}, Expand: []float64{2, 4, 3},
		Model: space.Model{ImageSize: 16, Channels: 1, NumClasses: 3, Conv: space.ConvModel{
			Stem: 8, StemStride: 1, Features: 8, Mix: 8, Units: []space.ConvUnit{{Width: 8, Stride: 1}, {Width: 8, Stride: 1}},
		}},
	}
	least, most := ParamsCost(s).span(newGrid(s))
	s.Interval = space.Interval{Min: least / 1e6, Max: (most + 1) / 1e6, Step: (most + 1 - least) / 1e6 / 3 * 0.9999}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	return s
}

// Sums of logarithms as Python 3.12 has them: of architectures whose products of heads
// are equal, the one is better whose sum is rounded up.
func TestEntropyIsRoundedAsTheOriginal(t *testing.T) {
	s, _ := tiedSpace(t)
	s.Model.HeadDim, s.Supernet.NumHeads = 64, 4
	scores, err := NewScores(s, nil, ScoreMethod{base: "entropy"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range pythonEntropy {
		a, err := space.ParseArch(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", math.Float64bits(scores.Of(a))); got != want {
			t.Errorf("%s: %s, Python has %s", name, got, want)
		}
	}
}

var pythonEntropy = map[string]string{
	"e16-h1_2_1_2-r2x2_4_2": "405883509ed2ed26",
	"e16-h2_1-r2x2":         "404856f418d4f8b3",
	"e4-h4_2-r2_4":          "404272aa4d1a8150",
	"e16-h1_2_1x2-r1_4x2_1": "40582a9792d7043f",
	"e8-h1_2_4_1-r4_1_2x2":  "40550c1626fbd41a",
	"e4-h2_1-r4_1":          "4041687f2926c698",
	"e8-h1_2_4-r4_1x2":      "404f7bf2f77ac3ed",
	"e4-h2_1_4_2-r4x3_2":    "4052464dc71c8cdc",
	"e4-h1_2x2_4-r2_4_2_4":  "405219f1411e9868",
	"e16-h1_4_2-r2_4_1":     "405283c1db9ca934",
	"e8-h4x3_2-r1_2_4x2":    "4055e9e4c4f19a5d",
	"e16-h4_2-r2x2":         "4049086630ccca82",
	"e4-h2_1-r2_4":          "4041c1383522af80",
	"e4-h4_2_4_1-r1_4_1x2":  "405194dbaf24bb0c",
	"e16-h4_1_2_4-r2_4_2x2": "4059086630ccca82",
	"e8-h4x3_1-r2_4x2_1":    "4055bd883ef3a5e8",
	"e4-h1_2_1_2-r2_4x2_1":  "405194dbaf24bb0c",
	"e4-h2x3-r2_1_4":        "404aa1d44fb40740",
	"e4-h4_2x2_4-r1x2_4_1":  "4051c1383522af80",
	"e4-h1x2_4_2-r1_4_1x2":  "40513c22a328d224",
	"e16-h1_2_1-r2_1_4":     "40522b08cfa0c04c",
	"e16-h2_1x2-r1_2_4":     "40522b08cfa0c04c",
	"e16-h2_4x2_2-r2_4_2x2": "405934c2b6cabef6",
	"e8-h1_2-r2x2":          "4044dfb9a0fddfa6",
}
