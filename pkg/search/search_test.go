package search

import (
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"prenas/internal/rng"
	"prenas/pkg/space"
)

// testSpace is small, with weights and gradients.

func testSpace(t testing.TB) (*space.Space, Tensors, Tensors) {
	t.Helper()
	s := &space.Space{
		Name: "test", Supernet: space.Supernet{EmbedDim: 12, Depth: 4, NumHeads: 3, MLPRatio: 2},
		EmbedDim: []int{8, 12}, Depth: []int{3, 4}, NumHeads: []int{3, 2}, MLPRatio: []float64{1, 1.5, 2},
		Model: space.Model{ImageSize: 4, PatchSize: 2, Channels: 2, NumClasses: 5, HeadDim: 4, QKVBias: true},
	}
	cost := ParamsCost(s)
	least, most := cost.span(newGrid(s))
	s.Interval = space.Interval{Min: least / 1e6, Max: (most + 1) / 1e6, Step: (most - least) / 1e6 / 3}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	return s, supernetTensors(s, 1), supernetTensors(s, 2)
}

func clone(all Tensors) Tensors {
	c := Tensors{}
	for name, t := range all {
		c[name] = Tensor{t.Shape, append([]float32(nil), t.Data...)}
	}
	return c
}

func TestBadTensors(t *testing.T) {
	s, weights, grads := testSpace(t)
	for name, c := range map[string]struct {
		spoil func(w, g Tensors)
		err   error
		says  string
	}{
		"weight missing":      {func(w, g Tensors) { delete(w, "blocks.2.fc1.bias") }, ErrWeights, "blocks.2.fc1.bias"},
		"gradient missing":    {func(w, g Tensors) { delete(g, "norm.bias") }, ErrWeights, "norm.bias"},
		"other shape":         {func(w, g Tensors) { g["head.weight"] = Tensor{[]int{12, 5}, g["head.weight"].Data} }, ErrWeights, "head.weight"},
		"too small":           {func(w, g Tensors) { w["norm.weight"] = Tensor{[]int{4}, make([]float32, 4)} }, ErrWeights, "norm.weight"},
		"shape without value": {func(w, g Tensors) { w["norm.weight"] = Tensor{[]int{12}, make([]float32, 4)} }, ErrWeights, "norm.weight"},
		"scalar":              {func(w, g Tensors) { w["norm.weight"] = Tensor{nil, make([]float32, 1)} }, ErrWeights, "norm.weight"},
		"NaN in a weight":     {func(w, g Tensors) { w["blocks.1.fc2.weight"].Data[3] = float32(math.NaN()) }, ErrNotFinite, "weights of tensor blocks.1.fc2.weight"},
		"infinite gradient":   {func(w, g Tensors) { g["head.bias"].Data[0] = float32(math.Inf(-1)) }, ErrNotFinite, "gradient of tensor head.bias"},
		"all gradients zero": {func(w, g Tensors) {
			for _, tensor := range g {
				clear(tensor.Data)
			}
		}, ErrZeroGradients, "inputs"},
		"a block's gradients zero": {func(w, g Tensors) { clear(g["blocks.1.attn.qkv.weight"].Data) }, ErrNotFinite, "layer 1"},
	} {
		w, g := clone(weights), clone(grads)
		c.spoil(w, g)
		got, _, err := Run(s, w, g, Options{})
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) || got != nil {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	if _, _, err := Run(s, nil, nil, Options{}); !errors.Is(err, ErrWeights) {
		t.Errorf("no weights: got %v", err)
	}
	if _, _, err := Run(s, weights, nil, Options{}); !errors.Is(err, ErrWeights) {
		t.Errorf("no gradients: got %v", err)
	}
	// What looks at no gradients needs none; what looks at nothing needs nothing.
	block := BlockMethod{base: "l1norm"}
	if _, _, err := Run(s, weights, nil, Options{Score: ScoreMethod{base: "l1norm"}, Heads: block, MLP: block}); err != nil {
		t.Error(err)
	}
	block = BlockMethod{base: deeper}
	if _, _, err := Run(s, nil, nil, Options{Score: ScoreMethod{base: "entropy"}, Heads: block, MLP: block}); err != nil {
		t.Error(err)
	}
	if _, _, err := Run(s, nil, nil, Options{Score: ScoreMethod{base: "params"}, Method: Exact}); err != nil {
		t.Error(err)
	}
}

func TestBadBudgets(t *testing.T) {
	s, weights, grads := testSpace(t)
	macs := MACsCost(s)
	least, most := macs.span(newGrid(s))
	least, most = least/macs.Unit, most/macs.Unit
	tiny := least * (1 - 1e-9)
	for name, c := range map[string]struct {
		o    Options
		err  error
		says string
	}{
		"minimum above limit": {Options{Interval: space.Interval{Min: 2, Max: 1, Step: 1}}, ErrInterval, "from 2 to 1"},
		"no step":             {Options{Interval: space.Interval{Min: 1, Max: 2}}, ErrInterval, "step"},
		"step beyond range":   {Options{Interval: space.Interval{Min: 1, Max: 2, Step: 3}}, ErrInterval, "larger than the range"},
		"NaN":                 {Options{Interval: space.Interval{Min: math.NaN(), Max: 2, Step: 3}}, ErrInterval, "NaN"},
		"a billion steps":     {Options{Interval: space.Interval{Min: 1, Max: 2, Step: 1e-9}}, ErrInterval, "larger step"},
		"beyond the space":    {Options{Interval: space.Interval{Min: 5, Max: 12, Step: 1}}, ErrEmpty, "the space spans params from 0.00"},
		"exactly beyond":      {Options{Method: Exact, Interval: space.Interval{Min: 5, Max: 12, Step: 1}}, ErrEmpty, "the space spans"},
		"randomly beyond":     {Options{Method: Random, Interval: space.Interval{Min: 5, Max: 12, Step: 1}}, ErrEmpty, "the space spans"},
		"impossible limit":    {Options{Limits: []Limit{{Cost: macs, AtMost: tiny}}}, ErrBudget, "macs at most"},
		"limits together": {Options{Method: Exact, Limits: []Limit{{Cost: macs, AtMost: least}},
			Interval: space.Interval{Min: s.Interval.Max - s.Interval.Step, Max: s.Interval.Max, Step: s.Interval.Step * 0.99}}, ErrBudget, "together with macs"},
		"unknown method":     {Options{Method: "best"}, ErrMethod, "evolution"},
		"pruned taylor5":     {Options{Method: Exact, Score: ScoreMethod{base: "taylor5", pruned: true}}, ErrMethod, "evolution"},
		"average over macs":  {Options{Method: Exact, Score: ScoreMethod{base: "taylor6", avg: true}, Cost: macs, Interval: space.Interval{Min: least, Max: most, Step: most - least}}, ErrMethod, "parameters"},
		"average over limit": {Options{Method: Exact, Score: ScoreMethod{base: "taylor6", avg: true}, Limits: []Limit{{Cost: macs, AtMost: most}}}, nil, ""},
	} {
		_, report, err := Run(s, weights, grads, c.o)
		if c.err == nil && err == nil {
			continue
		}
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v", name, err)
		}
		if errors.Is(err, ErrEmpty) && (report == nil || len(report.Empty()) != len(report.Bins)) {
			t.Errorf("%s: reported %+v", name, report)
		}
	}
}

func TestEmptyIntervalsAreReported(t *testing.T) {
	s, weights, grads := testSpace(t)
	i := s.Interval
	got, report, err := Run(s, weights, grads, Options{Interval: space.Interval{Min: i.Min, Max: i.Min + 5*i.Step, Step: i.Step}})
	if err != nil || len(report.Bins) != 5 || len(got)+len(report.Empty()) != 5 || len(report.Empty()) < 1 {
		t.Errorf("got %d intervals, empty %v, %v", len(got), report.Empty(), err)
	}
}

func TestTooLargeToEnumerate(t *testing.T) {
	s, _, _ := testSpace(t)
	s.Supernet = space.Supernet{EmbedDim: 400, Depth: 24, NumHeads: 40, MLPRatio: 8}
	s.EmbedDim, s.Depth, s.NumHeads, s.MLPRatio = []int{400}, []int{24}, []int{5, 10, 20, 40}, []float64{1, 2, 3, 4, 5, 6}
	s.Interval = space.Interval{Min: 0, Max: 100, Step: 2}
	o := Options{Score: ScoreMethod{base: "params"}, Heads: BlockMethod{base: deeper}, MLP: BlockMethod{base: deeper}}
	if _, _, err := Run(s, nil, nil, o); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "method exact") {
		t.Errorf("got %v", err)
	}
	o.Method = Exact
	if got, _, err := Run(s, nil, nil, o); err != nil || len(got) < 10 {
		t.Errorf("exact: got %d intervals, %v", len(got), err)
	}
}

func TestHeadBiasIsCutAsTheOriginalDoes(t *testing.T) {
	s, _, _ := testSpace(t)
	s.Model.NumClasses = 20 // more than embedding dims
	weights, grads := supernetTensors(s, 1), supernetTensors(s, 2)
	sums, err := NewSums(s, weights, grads, false)
	if err != nil {
		t.Fatal(err)
	}
	of := func(full bool) float64 {
		scores, err := NewScores(s, sums, ScoreMethod{base: "taylor6", FullHeadBias: full})
		if err != nil {
			t.Fatal(err)
		}
		return scores.Of(s.Smallest())
	}
	lost := 0.0
	for i := s.Smallest().EmbedDim; i < s.Model.NumClasses; i++ {
		lost += math.Abs(float64(weights["head.bias"].Data[i]) * float64(grads["head.bias"].Data[i]))
	}
	if got := of(true) - of(false); !(math.Abs(got-lost) <= 1e-9) || lost == 0 {
		t.Errorf("the whole bias adds %v, want %v", got, lost)
	}
}

func TestSameSeedSameCandidates(t *testing.T) {
	s, weights, grads := testSpace(t)
	text := func(o Options) string {
		got, _, err := Run(s, weights, grads, o)
		if err != nil {
			t.Fatal(err)
		}
		bytes, err := got.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		return string(bytes)
	}
	for _, m := range Methods() {
		o := Options{Method: m, Seed: 7, Population: 4, Generations: 3, Top: 2}
		if a, b := text(o), text(o); a != b {
			t.Errorf("%s: two runs differ:\n%s\n%s", m, a, b)
		}
	}
	one, two := Options{Method: Random, Seed: 1, Population: 2}, Options{Method: Random, Seed: 2, Population: 2}
	if text(one) == text(two) {
		t.Error("random: two seeds give the same")
	}
}

// A draw is uniform when the count behind it is right; the walk is checked by
// drawing each of a few architectures about equally often.
func TestDrawsAreUniform(t *testing.T) {
	s, _, _ := testSpace(t)
	g := newGrid(s)
	sampler, err := newSampler(g, ParamsCost(s), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBins(s.Interval)
	if err != nil {
		t.Fatal(err)
	}
	members, cost := 0, ParamsCost(s)
	everyPick(g, func(p pick) {
		if b.of(cost.of(p)/cost.Unit) == 1 {
			members++
		}
	})
	in := sampler.within(func(total int64) bool { return b.of(float64(total)/cost.Unit) == 1 })
	if got := in.upTo[len(in.upTo)-1]; got != float64(members) {
		t.Errorf("counted %v architectures, want %d", got, members)
	}

	s.EmbedDim, s.Depth, s.MLPRatio = []int{8}, []int{3}, []float64{1, 2}
	g = newGrid(s)
	if sampler, err = newSampler(g, ParamsCost(s), nil); err != nil {
		t.Fatal(err)
	}
	all, drawn := sampler.within(func(int64) bool { return true }), map[string]int{}
	const each = 400
	r := rng.New(1, "test")
	for range each * 64 {
		drawn[g.arch(sampler.draw(r, all)).String()]++
	}
	for name, n := range drawn {
		// Five standard deviations of a count of 400.
		if n < each-100 || n > each+100 {
			t.Errorf("%s drawn %d times, want about %d", name, n, each)
		}
	}
	if len(drawn) != 64 {
		t.Errorf("%d architectures drawn, want 64", len(drawn))
	}
}

func TestExplainAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := randomSpace(t)
		sums, err := NewSums(s, supernetTensors(s, 1), supernetTensors(s, 2), false)
		if err != nil {
			t.Fatal(err)
		}
		scores, err := NewScores(s, sums, ScoreMethod{base: "taylor6"})
		if err != nil {
			t.Fatal(err)
		}
		x := scores.Explain(s.Largest(), s.Smallest())
		w, r, margin := x.Trunk.Winner, x.Trunk.RunnerUp, x.Trunk.Margin()
		for _, l := range x.Layers {
			for _, p := range []Part{l.Heads, l.MLP, l.Block, l.Rest} {
				w, r, margin = w+p.Winner, r+p.RunnerUp, margin+p.Margin()
			}
		}
		if !(math.Abs(w-x.WinnerScore) <= 1e-9*w) || !(math.Abs(r-x.RunnerUpScore) <= 1e-9*r) || !(math.Abs(margin-(x.WinnerScore-x.RunnerUpScore)) <= 1e-9*w) {
			t.Fatalf("parts add up to %v and %v: %+v", w, r, x)
		}
	})
}

func TestStability(t *testing.T) {
	candidates := func(names ...string) space.Candidates {
		var c space.Candidates
		for i, name := range names {
			if name == "" {
				continue
			}
			a, err := space.ParseArch(name)
			if err != nil {
				t.Fatal(err)
			}
			c = append(c, space.Bin{Key: space.BinKey(float64(i)), Candidates: []space.Candidate{{Arch: a}}})
		}
		return c
	}
	got := Stability([]space.Candidates{
		candidates("e8-h1x2-r2x2", ""),
		candidates("e8-h1_2-r2x2", "e8-h1-r2"),
		candidates("e9-h1_2_3-r2x3", ""),
	})
	if len(got) != 2 || got[0].Runs != 3 || got[1].Runs != 1 {
		t.Fatalf("got %+v", got)
	}
	b := got[0]
	if b.EmbedDim[0] != (Wins[int]{8, 2}) || b.Depth[0] != (Wins[int]{2, 2}) || b.NumHeads[1][0] != (Wins[int]{2, 2}) || b.NumHeads[2][0] != (Wins[int]{3, 1}) || len(b.Arch) != 3 {
		t.Errorf("got %+v", b)
	}
}

func TestBinsAsTheOriginal(t *testing.T) {
	b, err := newBins(space.Interval{Min: 30, Max: 70, Step: 12})
	if err != nil {
		t.Fatal(err)
	}
	for v, want := range map[float64]int{29.9: -1, 30: 0, 41.99: 0, 42: 1, 65.9: 2, 66: -1, 69: -1, 70: -1, 71: -1} {
		if got := b.of(v); got != want {
			t.Errorf("%v is in bin %d, want %d", v, got, want)
		}
	}
	if b, err = newBins(space.Interval{Min: 0.05, Max: 0.65, Step: 0.1}); err != nil || b.count != 6 {
		t.Errorf("%d bins, %v", b.count, err)
	}
	lower, upper := b.bounds(3)
	if lower != 0.35000000000000003 || upper != 0.45000000000000007 {
		t.Errorf("bin 3 is [%v, %v)", lower, upper)
	}
}
