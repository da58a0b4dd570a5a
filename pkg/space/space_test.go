package space

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"prenas/internal/fsys"
)

const published = "../../testdata/published"

func mustLoad(t *testing.T, name string) *Space {
	t.Helper()
	s, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPublishedWinnersCountExactly(t *testing.T) {
	winners := 0
	for _, name := range []string{"tiny", "small", "base"} {
		s := mustLoad(t, name)
		c, err := ReadCandidates(filepath.Join(published, name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, bin := range c {
			winners += len(bin.Candidates)
		}
	}
	if winners != 13 {
		t.Errorf("%d published winners, want 13", winners)
	}
}

// The published spaces' sizes, and the numbers of architectures that the
// original's enumeration visits.
func TestSpaceSizes(t *testing.T) {
	for _, c := range []struct {
		name     string
		original int64
		size     string
	}{
		{"tiny", 1770, "1056964608"},
		{"small", 57918, "76255974849870"},
	} {
		s := mustLoad(t, c.name)
		if got := s.CountIsomers(false); got.Cmp(big.NewInt(c.original)) != 0 {
			t.Errorf("%s: the original's enumeration has %v, want %d", c.name, got, c.original)
		}
		if got := s.Size().String(); got != c.size {
			t.Errorf("%s: size %s, want %s", c.name, got, c.size)
		}
	}
}

func TestSplitsAreCountedAsListed(t *testing.T) {
	for n := 1; n <= 5; n++ {
		for depth := range 7 {
			for _, all := range []bool{false, true} {
				list := Splits(n, depth, all)
				if got := CountSplits(n, depth, all); got.Cmp(big.NewInt(int64(len(list)))) != 0 {
					t.Errorf("%d choices, %d layers, all %v: counted %v, listed %d", n, depth, all, got, len(list))
				}
				seen := map[string]bool{}
				for _, counts := range list {
					sum := 0
					for _, c := range counts {
						sum += c
					}
					key := fmt.Sprint(counts)
					if sum != depth || seen[key] {
						t.Errorf("%d choices, %d layers: split %v", n, depth, counts)
					}
					seen[key] = true
				}
			}
		}
	}
}

func TestSplitsOfTheOriginal(t *testing.T) {
	got := Splits(3, 2, false)
	want := [][]int{{0, 1, 1}, {0, 2, 0}, {1, 1, 0}}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Splits(4, 1, false); got != nil {
		t.Errorf("4 choices of one layer: got %v, want none", got)
	}
}

func TestPublishedFilesAreWrittenByteForByte(t *testing.T) {
	path := filepath.Join(published, "tiny.json")
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseCandidates(want)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out.json")
	if err := fsys.WriteAtomic(fsys.OS, out, c.Write); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("written file differs from the published one:\n%s", got)
	}
}

func TestCandidatesRefused(t *testing.T) {
	good := `{"layer_num": 2, "mlp_ratio": [2, 2.5], "num_heads": [2, 2], "embed_dim": [72, 72], "num_params": 0.146854, "score": 447.5}`
	if _, err := ParseCandidates([]byte(`{"0.2": [` + good + `]}`)); err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) string { return `{"0.2": [` + strings.Replace(good, old, new, 1) + `]}` }
	for name, text := range map[string]string{
		"empty":           ``,
		"a list":          `[]`,
		"cut off":         `{"0.2": [` + good + `]`,
		"more after it":   `{} {}`,
		"repeated key":    `{"0.2": [], "0.20": []}`,
		"key no number":   `{"small": []}`,
		"key infinite":    `{"Inf": []}`,
		"unknown field":   replace(`"score"`, `"points"`),
		"missing field":   replace(`, "score": 447.5`, ``),
		"layers":          replace(`"layer_num": 2`, `"layer_num": 3`),
		"negative layers": replace(`"layer_num": 2`, `"layer_num": -2`),
		"mixed dims":      replace(`[72, 72]`, `[72, 80]`),
		"zero heads":      replace(`"num_heads": [2, 2]`, `"num_heads": [2, 0]`),
		"huge heads":      replace(`"num_heads": [2, 2]`, `"num_heads": [2, 99999]`),
		"zero ratio":      replace(`[2, 2.5]`, `[2, 0]`),
		"params no count": replace(`0.146854`, `0.1468545`),
		"fewer layers":    replace(`"score"`, `"layers": [3], "score"`),
		"descending":      replace(`"score"`, `"layers": [3, 1], "score"`),
		"layer twice":     replace(`"score"`, `"layers": [3, 3], "score"`),
		"huge layer":      replace(`"score"`, `"layers": [3, 99999], "score"`),
		"params negative": replace(`0.146854`, `-1.0`),
		"no object":       `{"0.2": [3]}`,
	} {
		if _, err := ParseCandidates([]byte(text)); !errors.Is(err, ErrCandidates) {
			t.Errorf("%s: got %v, want ErrCandidates", name, err)
		}
	}
	for _, c := range []struct{ text, want string }{
		{replace(`"num_heads"`, `"num_hedas"`), `candidate 0: unknown key "num_hedas"; did you mean num_heads?`},
		{replace(`"layer_num": 2`, `"layer_num": 2, "layer_num": 2`), "candidate 0: layer_num is given twice"},
		{replace(`"layer_num": 2`, `"layer_num": 1e30`), "candidate 0: layer_num: it wants a whole number of at most 64 bits, not the number 1e30"},
		{replace(`[2, 2]`, `2`), "candidate 0: num_heads: it wants a list, not the number"},
		{replace(`447.5`, `"much"`), "candidate 0: score: it wants a number, not the string"},
		{replace(`447.5`, `NaN`), "interval 0.2: it is not JSON, which has no NaN"},
		{`{"0.2": [` + good, "interval 0.2: the file ends here"},
		{`{"0.2": [` + good + `, ` + good + `]}`, "interval 0.2, candidate 0 and interval 0.2, candidate 1 are both e72-h2x2-r2_2.5: take one of them out"},
		{`{"0.2": [` + good + `], "0.4": [` + good + `]}`, "interval 0.2, candidate 0 and interval 0.4, candidate 0 are both e72-h2x2-r2_2.5: take one of them out"},
		{`{"0.2": 3}`, "interval 0.2: it wants a list, not the number"},
	} {
		if _, err := ParseCandidates([]byte(c.text)); !errors.Is(err, ErrCandidates) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q in it", err, c.want)
		}
	}
}

func TestPythonFloat(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.0", 6: "6.0", 0.15000000000000002: "0.15000000000000002", 1010076.75: "1010076.75",
		1e16: "1e+16", 123456789012345680: "1.2345678901234568e+17", 1e15: "1000000000000000.0", 0.0001: "0.0001", 0.00001: "1e-05", -5.0075e-06: "-5.0075e-06",
	} {
		if got := pythonFloat(v); got != want {
			t.Errorf("%v: got %s, want %s", v, got, want)
		}
	}
}

func TestArchText(t *testing.T) {
	for text, want := range map[string]Arch{
		"e192-h4x3_3-r4_3.5x2_4":     {EmbedDim: 192, NumHeads: []int{4, 4, 4, 3}, MLPRatio: []float64{4, 3.5, 3.5, 4}},
		"e48-h1-r2":                  {EmbedDim: 48, NumHeads: []int{1}, MLPRatio: []float64{2}},
		"e48-h1x4_2-r2x5-l0to2_5to6": {EmbedDim: 48, NumHeads: []int{1, 1, 1, 1, 2}, MLPRatio: []float64{2, 2, 2, 2, 2}, Layers: []int{0, 1, 2, 5, 6}},
		"e48-h1x2-r2x2-l3_11":        {EmbedDim: 48, NumHeads: []int{1, 1}, MLPRatio: []float64{2, 2}, Layers: []int{3, 11}},
	} {
		got, err := ParseArch(text)
		if err != nil || !got.Equal(want) || want.String() != text {
			t.Errorf("%s: parsed %v (%v), written %s", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "e48", "e48-h1", "e48-h1-r2-", "h1-e48-r2", "e0-h1-r2", "e048-h1-r2", "e+48-h1-r2", "e48-h0-r2", "e48-h1-r0", "e48-h1-rNaN", "e48-h1-rInf",
		"e48-h1_1-r2x2", "e48-h1x1-r2", "e48-h1x0-r2", "e48-h1x2-r2", "e48-h1x2_1-r2x3", "e48-h1-r2.0", "e48-h1-r2e0", "e48-h1-r0x1p2",
		"e48-h1x9223372036854775807-r2", "e48-h1_2x9223372036854775807-r2x2", "e99999999999999999999-h1-r2", "E48-H1-R2", " e48-h1-r2", "e48-h1-r2\n",
		"e48-h1-r2-l0", "e48-h1x2-r2x2-l0to1", "e48-h1x2-r2x2-l3", "e48-h1x2-r2x2-l3_2", "e48-h1x2-r2x2-l3_4", "e48-h1-r2-l1to1", "e48-h1-r2-l", "e48-h1-r2-l-1",
		"e48-h1-r2-l01", "e48-h1-r2-l1024", "e48-h1x2-r2x2-l1_1", "e48-h1-r2-l1to99999999999999999999", "e48-h1-r2-l2-l2",
	} {
		if a, err := ParseArch(text); !errors.Is(err, ErrArch) {
			t.Errorf("%q: parsed as %v, %v", text, a, err)
		}
	}
}

func TestArchTextIsUnique(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		depth := rapid.IntRange(1, 20).Draw(t, "depth")
		a := Arch{
			EmbedDim: rapid.IntRange(1, 2000).Draw(t, "embed"),
			NumHeads: rapid.SliceOfN(rapid.IntRange(1, 3), depth, depth).Draw(t, "heads"),
			MLPRatio: rapid.SliceOfN(rapid.SampledFrom([]float64{0.1, 3, 3.5, 4, 1.0 / 3}), depth, depth).Draw(t, "ratios"),
		}
		a = a.Keeping(slices.Sorted(slices.Values(rapid.SliceOfNDistinct(rapid.IntRange(0, 30), depth, depth, rapid.ID[int]).Draw(t, "layers"))))
		back, err := ParseArch(a.String())
		if err != nil || !back.Equal(a) {
			t.Fatalf("%v came back as %v, %v", a, back, err)
		}
	})
}

func FuzzParseArch(f *testing.F) {
	f.Add("e192-h4x3_3-r4_3.5x2_4")
	f.Add("e48-h1x999-r2x999")
	f.Add("e48-h1x4-r2x4-l0to1_4_9")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseArch(text)
		if err == nil && a.String() != text {
			t.Errorf("%q is accepted and written as %q", text, a)
		}
	})
}

func FuzzParseCandidates(f *testing.F) {
	f.Add([]byte(`{"0.2": [{"layer_num": 1, "mlp_ratio": [2], "num_heads": [2], "embed_dim": [72], "num_params": 0.146854, "score": 447.5}]}`))
	f.Add([]byte(`{"1e400": []}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseCandidates(text)
		if err != nil {
			return
		}
		again, err := c.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseCandidates(again)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, again)
		}
		twice, err := back.MarshalText()
		if err != nil || !bytes.Equal(again, twice) {
			t.Errorf("written differently the second time: %v", err)
		}
	})
}

// An editor may have put a byte order mark before a candidates file, or made it UTF-16.
func TestCandidatesInOtherCodings(t *testing.T) {
	plain, err := os.ReadFile(filepath.Join(published, "tiny.json"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := ParseCandidates(plain)
	if err != nil {
		t.Fatal(err)
	}
	wide := []byte("\xff\xfe")
	for _, b := range plain { // ASCII
		wide = append(wide, b, 0)
	}
	for coding, text := range map[string][]byte{"UTF-8 with a mark": append([]byte("\xef\xbb\xbf"), plain...), "UTF-16": wide} {
		if got, err := ParseCandidates(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v", coding, err)
		}
	}
}

func TestReducedSpaceFile(t *testing.T) {
	c, err := ReadCandidates(filepath.Join(published, "tiny.json"))
	if err != nil {
		t.Fatal(err)
	}
	r := c.Choices()
	if !slices.Equal(r.EmbedDim, []int{192, 216, 240}) || !slices.Equal(r.Depth[240], []int{12, 14}) || len(r.NumHeads[240]) != 14 || !slices.Equal(r.NumHeads[192][0], []int{4}) {
		t.Errorf("got %+v", r)
	}
	path := filepath.Join(t.TempDir(), "reduced.yaml")
	tiny := mustLoad(t, "tiny")
	if err := writeYAML(r, path, tiny); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"SUPERNET:", "    EMBED_DIM: [192, 216, 240]", "        240: [12, 14]"} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("there is no line %q in\n%s", line, text)
		}
	}
	// It is a space file like any other, of what the candidates use and no more.
	s, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(s); err != nil {
		t.Error(err)
	}
	if s.Interval != tiny.Interval || !reflect.DeepEqual(s.Model, tiny.Model) || s.Supernet != tiny.Supernet {
		t.Errorf("got %+v of %+v", s, tiny)
	}
	if !reflect.DeepEqual(*s.Reduced, r) {
		t.Errorf("read %+v, written %+v", *s.Reduced, r)
	}
	again := filepath.Join(t.TempDir(), "again.yaml")
	if err := writeYAML(*s.Reduced, again, s); err != nil {
		t.Fatal(err)
	}
	if twice, err := os.ReadFile(again); err != nil || !bytes.Equal(twice, text) {
		t.Errorf("%v: written anew it is\n%s\nnot\n%s", err, twice, text)
	}
	kept, whole := s.Size().Int64(), tiny.Size()
	if kept >= whole.Int64() && whole.IsInt64() {
		t.Errorf("%d architectures of %d", kept, whole)
	}
	drawn := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		if a := s.Draw(drawn); s.Check(a) != nil {
			t.Fatalf("%s was drawn: %v", a, s.Check(a))
		}
	}
	if err := s.Check(uniform(192, 13, 4, 4)); !errors.Is(err, ErrArch) {
		t.Errorf("an architecture that no candidate has: %v", err)
	}
	// The same in JSON, as in a manifest.
	asJSON, err := json.Marshal(s)
	var read Space
	if err == nil {
		err = json.Unmarshal(asJSON, &read)
	}
	if err != nil || !reflect.DeepEqual(read.Reduced, s.Reduced) {
		t.Errorf("through JSON: %v, %+v", err, read.Reduced)
	}
	for fault, broken := range map[string]string{
		"either all":      strings.Replace(string(text), "        192: [12]\n        216: [12]\n        240: [12, 14]", "        [12, 14]", 1),
		"192":             strings.Replace(string(text), "EMBED_DIM: [192, 216, 240]", "EMBED_DIM: [216, 240]", 1),
		"no depth":        strings.Replace(string(text), "        192: [12]\n", "        192: []\n", 1),
		"up to number 12": strings.Replace(string(text), "        192: [12]\n", "        192: [13]\n", 1),
	} {
		if _, err := Parse("reduced", "reduced.yaml", []byte(broken)); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%s: got %v of\n%.300s", fault, err, broken)
		}
	}
}

func TestCheck(t *testing.T) {
	s := mustLoad(t, "tiny")
	if err := s.Check(s.Largest()); err != nil {
		t.Error(err)
	}
	for what, a := range map[string]Arch{
		"256":   uniform(256, 12, 3, 4),
		"11":    uniform(240, 11, 3, 4),
		"heads": uniform(240, 12, 2, 4),
		"ratio": uniform(240, 12, 3, 3),
		"10":    {EmbedDim: 240, NumHeads: slices.Repeat([]int{3}, 12), MLPRatio: slices.Repeat([]float64{4}, 10)},
	} {
		if err := s.Check(a); !errors.Is(err, ErrArch) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// The paper gives 1.4, 5.1 and 11 G, counting relative positions its own way.
func TestMACsOfPublishedWinners(t *testing.T) {
	for _, w := range []struct {
		space, key string
		giga       float64
	}{{"tiny", "6.0", 1.4}, {"small", "23.0", 5.1}, {"base", "54.0", 11}} {
		c, err := ReadCandidates(filepath.Join(published, w.space+".json"))
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(c, func(b Bin) bool { return b.Key == w.key })
		got := float64(mustLoad(t, w.space).Model.MACs(c[at].Candidates[0].Arch)) / 1e9
		if !(math.Abs(got/w.giga-1) <= 0.05) {
			t.Errorf("%s %s: %v G multiply-accumulates, want %v", w.space, w.key, got, w.giga)
		}
	}
}

func TestParamsAndMACsByHand(t *testing.T) {
	// One layer, one head of 2 features, dim 4, hidden 8; 4 patches of 1 pixel.
	m := Model{ImageSize: 2, PatchSize: 1, Channels: 1, NumClasses: 3, HeadDim: 2, RelativePosition: true, MaxRelativePosition: 1, QKVBias: true}
	a := uniform(4, 1, 1, 2)
	trunk := (4*1 + 4) + 4*(2+4) + 2*4 + (3*4 + 3)
	block := (6*4 + 6) + (4*2 + 4) + (8*4 + 8) + (4*8 + 4) + 4*4 + 4*4*2
	if got := m.Params(a); got != int64(trunk+block) {
		t.Errorf("%d parameters, want %d", got, trunk+block)
	}
	tokens := 5
	macs := 4*4 + 4*3 + tokens*(6*4+2*4+2*4*8) + 2*tokens*tokens*2 + 4*tokens*4*2
	if got := m.MACs(a); got != int64(macs) {
		t.Errorf("%d multiply-accumulates, want %d", got, macs)
	}
}

func rapidRand(t *rapid.T) *rand.Rand {
	return rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
}

func writeYAML(r Reduced, path string, s *Space) error {
	return fsys.WriteAtomic(fsys.OS, path, func(w io.Writer) error { return r.WriteYAML(w, s) })
}
