package search

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// fixture is a folder with what the original put out on a small space: the
// project's copy of one, or what PRENAS_FIXTURE points at. Nothing here knows
// a number of it.
type fixture struct {
	space    *space.Space
	weights  Tensors
	grads    Tensors
	noDrop   Tensors
	flags    fixtureFlags
	expected fixtureExpected
}

type fixtureFlags struct {
	Score string  `json:"score_method"`
	Heads string  `json:"block_score_method_for_head"`
	MLP   string  `json:"block_score_method_for_mlp"`
	Top   int     `json:"cand_per_interval"`
	Step  float64 `json:"param_interval"`
	Min   float64 `json:"min_param_limits"`
	Max   float64 `json:"param_limits"`
}

func (f fixtureFlags) interval() space.Interval {
	return space.Interval{Min: f.Min, Max: f.Max, Step: f.Step}
}

// fixtureArch is an architecture as the fixture writes it; embed_dim is per
// layer, or in rows one number.
type fixtureArch struct {
	MLPRatio  []float64 `json:"mlp_ratio"`
	NumHeads  []int     `json:"num_heads"`
	EmbedDim  []int     `json:"embed_dim"`
	NumParams float64   `json:"num_params"`
	Score     float64   `json:"score"`
}

func (a fixtureArch) arch() space.Arch {
	return space.Arch{EmbedDim: a.EmbedDim[0], NumHeads: a.NumHeads, MLPRatio: a.MLPRatio}
}

type fixtureBlocks struct {
	Heads map[string][]jsonFloat `json:"head_scores"`
	MLP   map[string][]jsonFloat `json:"mlp_scores"`
}

type fixtureExpected struct {
	Search struct {
		Output    json.RawMessage `json:"output"`
		Intervals []struct {
			Interval [2]float64 `json:"interval"`
			Members  int64      `json:"members"`
			Best     *float64   `json:"best_score"`
			Second   *float64   `json:"second_score"`
		} `json:"intervals"`
		Enumerated int64 `json:"enumerated"`
		All        struct {
			Rows [][]json.RawMessage `json:"rows"`
		} `json:"all_candidates_in_order"`
	} `json:"search_iteration"`
	Choices     space.Reduced              `json:"candidates_to_choices"`
	Range       [2]float64                 `json:"params_range_millions"`
	NumParams   []fixtureArch              `json:"num_params"`
	BlockScores map[string]fixtureBlocks   `json:"block_scores"`
	Isomers     map[string]json.RawMessage `json:"isomers"`
	Configs     struct {
		Configs []fixtureArch              `json:"configs"`
		Scores  map[string]json.RawMessage `json:"scores"`
	} `json:"config_scores"`
	Parts struct {
		Config fixtureArch `json:"config"`
		Order  [][]any     `json:"order"`
		Numel  float64     `json:"numel"`
	} `json:"score_parts"`
	Other map[string]struct {
		Output json.RawMessage `json:"output"`
		Crash  string          `json:"crash"`
	} `json:"other_searches"`
	NoDrop struct {
		Output json.RawMessage `json:"search_iteration_output"`
		Blocks json.RawMessage `json:"block_scores_balance_taylor6_max_dim"`
	} `json:"nodrop"`
}

// jsonFloat reads the NaN and Infinity that Python writes, once quoted.
type jsonFloat float64

func (f *jsonFloat) UnmarshalJSON(text []byte) error {
	v, err := strconv.ParseFloat(strings.Trim(string(text), `"`), 64)
	*f = jsonFloat(v)
	return err
}

func openFixture(t *testing.T) *fixture {
	t.Helper()
	dir := os.Getenv("PRENAS_FIXTURE")
	if dir == "" {
		dir = filepath.Join("..", "..", "testdata", "micro")
	}
	read := func(name string, into any) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		quoted := strings.NewReplacer("NaN", `"NaN"`, "-Infinity", `"-Inf"`, "Infinity", `"Inf"`).Replace(string(text))
		if err := json.Unmarshal([]byte(quoted), into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	f := &fixture{}
	var config struct {
		ImageSize  int `json:"image_size"`
		PatchSize  int `json:"patch_size"`
		NumClasses int `json:"num_classes"`
		HeadDim    int `json:"head_dim"`
		Flags      struct {
			fixtureFlags
			GlobalPool bool `json:"gp"`
			Relative   bool `json:"relative_position"`
			MaxRel     int  `json:"max_relative_position"`
			QKVBias    bool `json:"qkv_bias"`
			AbsPos     bool `json:"abs_pos"`
		} `json:"flags"`
	}
	read("config.json", &config)
	read("expected.json", &f.expected)
	f.flags = config.Flags.fixtureFlags
	f.weights = readTensors(t, filepath.Join(dir, "weights.safetensors"))
	f.grads = readTensors(t, filepath.Join(dir, "grads.safetensors"))
	f.noDrop = readTensors(t, filepath.Join(dir, "grads_nodrop.safetensors"))
	var err error
	if f.space, err = space.Load(filepath.Join(dir, "space.yaml")); err != nil {
		t.Fatal(err)
	}
	f.space.Model = space.Model{
		ImageSize: config.ImageSize, PatchSize: config.PatchSize, NumClasses: config.NumClasses, HeadDim: config.HeadDim,
		Channels:         f.weights["patch_embed_super.proj.weight"].Shape[1],
		RelativePosition: config.Flags.Relative, MaxRelativePosition: config.Flags.MaxRel,
		GlobalPool: config.Flags.GlobalPool, AbsPos: config.Flags.AbsPos, QKVBias: config.Flags.QKVBias,
	}
	return f
}

func readTensors(t *testing.T, path string) Tensors {
	t.Helper()
	file, err := tensorfile.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	tensors := Tensors{}
	for name, tensor := range file.Tensors {
		values, err := tensor.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		tensors[name] = Tensor{Shape: tensor.Shape, Data: values}
	}
	return tensors
}

func (f *fixture) sums(t *testing.T) *Sums {
	t.Helper()
	sums, err := NewSums(f.space, f.weights, f.grads, true)
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

// parsed is what parse makes of a name.
func parsed[T any](t *testing.T, parse func(string) (T, error), name string) T {
	t.Helper()
	v, err := parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustScore(t *testing.T, name string) ScoreMethod {
	t.Helper()
	return parsed(t, ParseScoreMethod, name)
}

func mustBlock(t *testing.T, name string) BlockMethod {
	t.Helper()
	return parsed(t, ParseBlockMethod, name)
}

func (f *fixture) options(t *testing.T) Options {
	t.Helper()
	return Options{
		Score: mustScore(t, f.flags.Score), Heads: mustBlock(t, f.flags.Heads), MLP: mustBlock(t, f.flags.MLP),
		Interval: f.flags.interval(), Top: f.flags.Top,
	}
}

// closeTo allows for what float32 sums of float32 parts differ from exact
// ones: tolerance, relative.
func closeTo(got, want, tolerance float64) bool {
	return math.Abs(got-want) <= tolerance*math.Abs(want)
}

// sameCandidates compares with what the original put out: intervals,
// architectures and their order equal, parameters exact, scores close.
//
// The one exception is taylor5, a sum that cancels: what float32 rounding alone
// decides between is not held against us.
func (f *fixture) sameCandidates(t *testing.T, sums *Sums, o Options, got space.Candidates, want json.RawMessage) {
	t.Helper()
	expected, err := space.ParseCandidates(want)
	if err != nil {
		t.Fatal(err)
	}
	scores, err := NewScores(f.space, sums, o.Score)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(expected) {
		t.Fatalf("got %d intervals, want %d", len(got), len(expected))
	}
	for i, bin := range expected {
		if got[i].Key != bin.Key || len(got[i].Candidates) != len(bin.Candidates) {
			t.Errorf("interval %d: got %s with %d candidates, want %s with %d", i, got[i].Key, len(got[i].Candidates), bin.Key, len(bin.Candidates))
			continue
		}
		for j, c := range bin.Candidates {
			g, tolerance := got[i].Candidates[j], 1e-6
			if o.Score.base == "taylor5" {
				tolerance = f.taylor5Tolerance(t, sums, c.Arch, scores.sum.total(scores.grid.pick(c.Arch)))
				if closeTo(g.Score, scores.Of(c.Arch), tolerance) {
					continue
				}
			}
			if !g.Arch.Equal(c.Arch) || g.Params != c.Params || !closeTo(g.Score, c.Score, tolerance) {
				t.Errorf("interval %s, candidate %d: got %v with %d parameters and score %v, want %v with %d and %v",
					bin.Key, j, g.Arch, g.Params, g.Score, c.Arch, c.Params, c.Score)
			}
		}
	}
}

func TestFixtureSearch(t *testing.T) {
	f := openFixture(t)
	got, report, err := Run(f.space, f.weights, f.grads, f.options(t))
	if err != nil {
		t.Fatal(err)
	}
	want := f.expected.Search
	f.sameCandidates(t, f.sums(t), f.options(t), got, want.Output)
	if report.Enumerated != want.Enumerated {
		t.Errorf("enumerated %d, want %d", report.Enumerated, want.Enumerated)
	}
	if len(report.Bins) != len(want.Intervals) {
		t.Fatalf("%d intervals, want %d", len(report.Bins), len(want.Intervals))
	}
	for i, w := range want.Intervals {
		b := report.Bins[i]
		if b.Lower != w.Interval[0] || b.Upper != w.Interval[1] || b.Members != w.Members {
			t.Errorf("interval %d: got [%v, %v) with %d members, want %v with %d", i, b.Lower, b.Upper, b.Members, w.Interval, w.Members)
		}
		for _, s := range []struct {
			got  float64
			want *float64
		}{{b.Best, w.Best}, {b.Second, w.Second}} {
			if (s.want == nil) != math.IsNaN(s.got) || s.want != nil && !closeTo(s.got, *s.want, 1e-6) {
				t.Errorf("interval %d: got scores %v, %v", i, b.Best, b.Second)
			}
		}
	}
	if got, want := got.Choices(), f.expected.Choices; !equalJSON(t, got, want) {
		t.Errorf("choices %v, want %v", got, want)
	}
	if least, most := report.Least, report.Most; least != f.expected.Range[0] || most != f.expected.Range[1] {
		t.Errorf("the space spans %v to %v, want %v", least, most, f.expected.Range)
	}
}

func equalJSON(t *testing.T, a, b any) bool {
	t.Helper()
	x, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(x) == string(y)
}

func TestFixtureSearchWithoutDropPath(t *testing.T) {
	f := openFixture(t)
	got, _, err := Run(f.space, f.weights, f.noDrop, f.options(t))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := NewSums(f.space, f.weights, f.noDrop, true)
	if err != nil {
		t.Fatal(err)
	}
	f.sameCandidates(t, sums, f.options(t), got, f.expected.NoDrop.Output)
	var want fixtureBlocks
	if err := json.Unmarshal(f.expected.NoDrop.Blocks, &want); err != nil {
		t.Fatal(err)
	}
	f.compareBlocks(t, sums, "balance_taylor6_max_dim", want)
}

func TestFixtureEveryCandidateInOrder(t *testing.T) {
	f := openFixture(t)
	o := f.options(t)
	sums := f.sums(t)
	scores, err := NewScores(f.space, sums, o.Score)
	if err != nil {
		t.Fatal(err)
	}
	heads, err := NewBlockScores(f.space, sums, o.Heads, true)
	if err != nil {
		t.Fatal(err)
	}
	mlp, err := NewBlockScores(f.space, sums, o.MLP, false)
	if err != nil {
		t.Fatal(err)
	}
	g, i, rows := newGrid(f.space), 0, f.expected.Search.All.Rows
	isomers{grid: g, first: heads, second: mlp}.visit([]*Table{scores.sum, ParamsTable(f.space)}, func(p pick, totals []float64) {
		if i >= len(rows) {
			t.Fatalf("more than %d candidates", len(rows))
		}
		var want struct {
			depth, embed int
			ratios       []float64
			heads        []int
			params       float64
			score        float64
		}
		for c, into := range []any{&want.depth, &want.ratios, &want.heads, &want.embed, &want.params, &want.score} {
			if err := json.Unmarshal(rows[i][c], into); err != nil {
				t.Fatal(err)
			}
		}
		a := g.arch(p)
		expected := space.Arch{EmbedDim: want.embed, NumHeads: want.heads, MLPRatio: want.ratios}
		if !a.Equal(expected) || totals[1] != want.params || !closeTo(o.Score.finish(totals[0], 1), want.score, 1e-6) {
			t.Errorf("candidate %d: got %v with %v parameters and score %v, want %v with %v and %v", i, a, totals[1], totals[0], expected, want.params, want.score)
		}
		i++
	})
	if i != len(rows) {
		t.Errorf("%d candidates, want %d", i, len(rows))
	}
}

func TestFixtureParameterCounts(t *testing.T) {
	f := openFixture(t)
	for _, c := range f.expected.NumParams {
		if got := f.space.Model.Params(c.arch()); float64(got) != c.NumParams {
			t.Errorf("%v has %d parameters, want %v", c.arch(), got, c.NumParams)
		}
	}
}

func TestFixtureBlockScores(t *testing.T) {
	f := openFixture(t)
	sums := f.sums(t)
	for name, want := range f.expected.BlockScores {
		t.Run(name, func(t *testing.T) { f.compareBlocks(t, sums, name, want) })
	}
}

func (f *fixture) compareBlocks(t *testing.T, sums *Sums, name string, want fixtureBlocks) {
	t.Helper()
	g := newGrid(f.space)
	method := mustBlock(t, name)
	for _, heads := range []bool{true, false} {
		expected := want.MLP
		if heads {
			expected = want.Heads
		}
		got, err := NewBlockScores(f.space, sums, method, heads)
		if err != nil {
			t.Fatal(err)
		}
		compared := 0
		for e, dim := range g.scales {
			for j := 1; j < len(got.scores[e]); j++ {
				key := strconv.Itoa(dim) + ","
				if heads {
					key += strconv.Itoa(ranked(g.space.NumHeads)[j])
				} else {
					key += strconv.FormatFloat(ranked(g.space.MLPRatio)[j], 'f', -1, 64)
				}
				for l, w := range expected[key] {
					compared++
					tolerance := blockTolerance(f, method, heads, l)
					if tolerance >= 1 {
						continue
					}
					if v := got.scores[e][j][l]; !closeTo(v, float64(w), tolerance) {
						t.Errorf("heads %v, %s, layer %d: got %v, want %v (tolerance %v)", heads, key, l, v, w, tolerance)
					}
				}
			}
		}
		if choices := len(got.scores[0]); compared == 0 && choices > 1 {
			t.Errorf("nothing compared for heads %v", heads)
		}
	}
}

// blockTolerance is the relative error that float32 sums allow. Sums with
// their sign cancel: their error is relative to the sum without signs, and
// where that exceeds the sum itself (the gradients of fc2 sum to zero but for
// rounding) the original's number is noise, NaN at times, and says nothing.
func blockTolerance(f *fixture, m BlockMethod, heads bool, l int) float64 {
	const (
		rounding = 2e-6
		slices   = 10 // a slice's sum cancels about this much more than the matrix's
	)
	if !m.needsMoments() {
		return rounding
	}
	worst := rounding
	names := []string{"fc1.weight", "fc2.weight"}
	if heads {
		names = []string{"attn.qkv.weight"}
	}
	for _, name := range names {
		name = "blocks." + strconv.Itoa(l) + "." + name
		w, g := f.weights[name].Data, f.grads[name].Data
		var product, weight, gradient, absProduct, absWeight, absGradient float64
		for i := range w {
			x, y := float64(w[i]), float64(g[i])
			product, absProduct = product+x*y, absProduct+math.Abs(x*y)
			weight, absWeight = weight+x, absWeight+math.Abs(x)
			gradient, absGradient = gradient+y, absGradient+math.Abs(y)
		}
		worst = max(worst, slices*rounding*absProduct/math.Abs(product), slices*rounding*absWeight/math.Abs(weight))
		if m.balance {
			worst = max(worst, slices*rounding*absGradient/math.Abs(gradient))
		}
	}
	return worst
}

func TestFixtureIsomers(t *testing.T) {
	f := openFixture(t)
	sums := f.sums(t)
	g := newGrid(f.space)
	for name, raw := range f.expected.Isomers {
		if name == "counts_order" {
			continue
		}
		var list []struct {
			Part   string    `json:"part"`
			Embed  *int      `json:"embed_dim"`
			Depth  int       `json:"depth"`
			Counts []int     `json:"counts"`
			Layers []float64 `json:"layers"`
		}
		if err := json.Unmarshal(raw, &list); err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			t.Errorf("%s: no isomers in the fixture", name)
		}
		for _, want := range list {
			heads := want.Part != "mlp_ratio"
			b, err := NewBlockScores(f.space, sums, mustBlock(t, name), heads)
			if err != nil {
				t.Fatal(err)
			}
			e := 0
			for i, dim := range g.scales {
				if want.Embed != nil && dim == *want.Embed {
					e = i
				}
			}
			for l, c := range isomer(b.rankings(e, g.stacks[slices.Index(g.space.Depth, want.Depth)]), want.Counts) {
				got := 0.0
				if heads {
					got = float64(ranked(g.space.NumHeads)[c])
				} else {
					got = ranked(g.space.MLPRatio)[c]
				}
				if got != want.Layers[l] {
					t.Errorf("%s %+v: layer %d got %v", name, want, l, got)
				}
			}
		}
	}
}

func TestFixtureConfigScores(t *testing.T) {
	f := openFixture(t)
	sums := f.sums(t)
	for name, raw := range f.expected.Configs.Scores {
		t.Run(name, func(t *testing.T) {
			method, err := ParseScoreMethod(name)
			var want []float64
			if json.Unmarshal(raw, &want) != nil {
				// The original cannot compute it; neither do we claim to.
				if !errors.Is(err, ErrMethod) {
					t.Errorf("got %v, want ErrMethod", err)
				}
				return
			}
			if plain, norm := strings.CutSuffix(name, "_norm"); norm {
				// The original gives the plain score under this name; we refuse it
				// and say which name that score has.
				if !errors.Is(err, ErrMethod) || !strings.Contains(err.Error(), plain) {
					t.Errorf("got %v, want ErrMethod naming %s", err, plain)
				}
				method, err = ParseScoreMethod(plain)
			}
			if err != nil {
				t.Fatal(err)
			}
			scores, err := NewScores(f.space, sums, method)
			if err != nil {
				t.Fatal(err)
			}
			for i, c := range f.expected.Configs.Configs {
				tolerance := 1e-6
				if method.base == "taylor5" {
					tolerance = f.taylor5Tolerance(t, sums, c.arch(), scores.sum.total(newGrid(f.space).pick(c.arch())))
				}
				if got := scores.Of(c.arch()); !closeTo(got, want[i], tolerance) {
					t.Errorf("%v: got %v, want %v", c.arch(), got, want[i])
				}
			}
		})
	}
}

// taylor5Tolerance: a sum with signs cancels, and float32 rounds what cancels.
func (f *fixture) taylor5Tolerance(t *testing.T, sums *Sums, a space.Arch, signed float64) float64 {
	t.Helper()
	abs, err := NewScores(f.space, sums, mustScore(t, "taylor6"))
	if err != nil {
		t.Fatal(err)
	}
	return 1e-6 + 2e-7*abs.Of(a)/math.Abs(signed)
}

func TestFixtureScoreParts(t *testing.T) {
	f := openFixture(t)
	scores, err := NewScores(f.space, f.sums(t), mustScore(t, "taylor6"))
	if err != nil {
		t.Fatal(err)
	}
	parts := f.expected.Parts
	if got := scores.count.total(newGrid(f.space).pick(parts.Config.arch())); got != parts.Numel {
		t.Errorf("%v scores %v weights, want %v", parts.Config.arch(), got, parts.Numel)
	}
}

// otherSearch reads the options of a search from its name in the fixture:
// "SCORE", "SCORE topN", "SCORE head=BLOCK mlp=BLOCK (note)".
func (f *fixture) otherSearch(t *testing.T, name string) (Options, error) {
	t.Helper()
	o := f.options(t)
	words := strings.Fields(name)
	var err error
	if o.Score, err = ParseScoreMethod(words[0]); err != nil {
		return o, err
	}
	block := func(text string) BlockMethod {
		if text == "deeper" {
			text = deeper
		}
		return mustBlock(t, text)
	}
	for _, w := range words[1:] {
		if n, ok := strings.CutPrefix(w, "top"); ok {
			if o.Top, err = strconv.Atoi(n); err != nil {
				t.Fatal(err)
			}
		}
		if b, ok := strings.CutPrefix(w, "head="); ok {
			o.Heads = block(b)
		}
		if b, ok := strings.CutPrefix(w, "mlp="); ok {
			o.MLP = block(b)
		}
	}
	if strings.Contains(name, "Tiny limits") {
		tiny, err := space.Load("tiny")
		if err != nil {
			t.Fatal(err)
		}
		o.Interval = tiny.Interval
	}
	return o, nil
}

func TestFixtureOtherSearches(t *testing.T) {
	f := openFixture(t)
	sums := f.sums(t)
	for name, want := range f.expected.Other {
		if strings.HasPrefix(name, "mode=") {
			continue // drawn from Python's random numbers
		}
		t.Run(name, func(t *testing.T) {
			o, err := f.otherSearch(t, name)
			if err != nil {
				if want.Crash == "" || !errors.Is(err, ErrMethod) {
					t.Fatal(err)
				}
				return
			}
			got, _, err := RunSums(f.space, sums, o)
			if want.Crash != "" {
				// What crashed the original works as its name says.
				if err != nil || len(got) == 0 {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if string(want.Output) == "{}" {
				if !errors.Is(err, ErrEmpty) {
					t.Errorf("got %v, want ErrEmpty", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			f.sameCandidates(t, sums, o, got, want.Output)
		})
	}
}

// Random and evolution draw from Python's random numbers, so their picks are
// not ours. What can be held against the original: every pick of theirs has
// our count and score; the exact search is at least as good as each; and ours
// find something in every interval that theirs did.
func TestFixtureRandomAndEvolution(t *testing.T) {
	f := openFixture(t)
	o := f.options(t)
	sums := f.sums(t)
	scores, err := NewScores(f.space, sums, o.Score)
	if err != nil {
		t.Fatal(err)
	}
	run := func(m Method) *Report {
		o := o
		o.Method, o.Population = m, 4
		_, report, err := RunSums(f.space, sums, o)
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	exact, ours := run(Exact), map[string]*Report{"mode=random": run(Random), "mode=evolution": run(Evolution)}
	compared := 0
	for name, want := range f.expected.Other {
		mode, _, _ := strings.Cut(name, ",")
		if !strings.HasPrefix(mode, "mode=") {
			continue
		}
		if want.Crash != "" {
			// The original draws for ever where nothing fits.
			o := o
			o.Method = Random
			o.Interval = space.Interval{Min: exact.Most * 2, Max: exact.Most * 3, Step: exact.Most}
			if _, _, err := RunSums(f.space, sums, o); !errors.Is(err, ErrEmpty) {
				t.Errorf("%s: got %v, want ErrEmpty", name, err)
			}
			continue
		}
		expected, err := space.ParseCandidates(want.Output)
		if err != nil {
			t.Fatal(err)
		}
		b, err := newBins(f.flags.interval())
		if err != nil {
			t.Fatal(err)
		}
		for _, bin := range expected {
			for _, c := range bin.Candidates {
				if got := f.space.Model.Params(c.Arch); got != c.Params || !closeTo(scores.Of(c.Arch), c.Score, 1e-6) {
					t.Errorf("%s: %v has %d parameters and score %v, want %d and %v", name, c.Arch, got, scores.Of(c.Arch), c.Params, c.Score)
				}
				i := b.of(float64(c.Params) / 1e6)
				if i < 0 {
					continue // the original takes both ends of an interval
				}
				compared++
				if exact.Bins[i].Best < c.Score*(1-1e-6) {
					t.Errorf("%s: interval %s: exact finds %v, the original %v", name, bin.Key, exact.Bins[i].Best, c.Score)
				}
				if ours[mode].Bins[i].Found == 0 {
					t.Errorf("%s: nothing found in interval %s", name, bin.Key)
				}
			}
		}
	}
	if compared == 0 {
		t.Error("nothing compared")
	}
}

// The exact search against all that the fixture has: never below what the
// original's search found.
func TestFixtureExact(t *testing.T) {
	f := openFixture(t)
	o := f.options(t)
	o.Method = Exact
	_, report, err := Run(f.space, f.weights, f.grads, o)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range f.expected.Search.Intervals {
		if w.Best != nil && !(report.Bins[i].Best >= *w.Best*(1-1e-6)) {
			t.Errorf("interval %d: exact finds %v, the original %v", i, report.Bins[i].Best, *w.Best)
		}
	}
}
