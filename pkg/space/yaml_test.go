package space

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const goodSpace = `SUPERNET:
  MLP_RATIO: 4.0
  NUM_HEADS: 4
  EMBED_DIM: 256
  DEPTH: 14
SEARCH_SPACE:
  MLP_RATIO: [4, 3.5]
  NUM_HEADS: [4, 3]
  DEPTH: [12, 14, 13]
  EMBED_DIM: [240, 192]
`

func TestParseKeepsTheFilesOrder(t *testing.T) {
	s, err := Parse("mine", "mine.yaml", []byte(goodSpace))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.MLPRatio, []float64{4, 3.5}) || !slices.Equal(s.Depth, []int{12, 14, 13}) || !slices.Equal(s.EmbedDim, []int{240, 192}) {
		t.Errorf("got %+v", s)
	}
	if !reflect.DeepEqual(s.Model, DefaultModel()) || s.ModelGiven || s.Interval != (Interval{}) || s.Supernet != (Supernet{EmbedDim: 256, Depth: 14, NumHeads: 4, MLPRatio: 4}) {
		t.Errorf("got %+v", s)
	}
}

func TestParseRefuses(t *testing.T) {
	with := func(old, new string) string { return strings.Replace(goodSpace, old, new, 1) }
	for _, c := range []struct {
		text string
		err  error
		says string
	}{
		{"", ErrSyntax, "empty"},
		{"# only a comment\n", ErrSyntax, "empty"},
		{"- 1\n", ErrSyntax, "line 1"},
		{"a: [", ErrSyntax, "line 1"},
		{goodSpace + "---\na: 1\n", ErrSyntax, "document"},
		{with("  DEPTH: 14", "  DEPHT: 14"), ErrSyntax, "line 5: malformed space file: unknown key SUPERNET.DEPHT; did you mean DEPTH?"},
		{with("SUPERNET:", "supernet:"), ErrSyntax, "did you mean SUPERNET?"},
		{with("  DEPTH: 14\n", ""), ErrSyntax, "SUPERNET.DEPTH is missing"},
		{with("  DEPTH: 14\n", "  DEPTH: 14\n  DEPTH: 13\n"), ErrSyntax, "line 6"},
		{with("DEPTH: 14", "DEPTH: 14.5"), ErrSyntax, "wants an integer"},
		{with("DEPTH: 14", "DEPTH: deep"), ErrSyntax, `got "deep"`},
		{with("DEPTH: 14", "DEPTH:"), ErrSyntax, "got nothing"},
		{with("DEPTH: 14", "DEPTH: 99999999999999999999"), ErrSyntax, "wants an integer"},
		{with("[12, 14, 13]", "12"), ErrSyntax, "wants a list"},
		{with("[12, 14, 13]", "[]"), ErrSpace, "DEPTH is empty"},
		{with("[12, 14, 13]", "[12, 12]"), ErrSpace, "twice"},
		{with("  DEPTH: [12, 14, 13]\n", "  DEPTH: [12, 14, 13]\n  LAYERS: [0, 1, 3]\n"), ErrSpace, "SEARCH_SPACE.LAYERS is [0 1 3]; it must have each block of the supernet once, from 0 to 13"},
		{with("  DEPTH: [12, 14, 13]\n", "  DEPTH: [12, 14, 13]\n  LAYERS: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 13]\n"), ErrSpace, "each block of the supernet once"},
		{with("  DEPTH: [12, 14, 13]\n", "  DEPTH: [12, 14, 13]\n  LAYERS: []\n"), ErrSpace, "each block of the supernet once"},
		{with("[12, 14, 13]", "[12, 15]"), ErrSpace, "more than the supernet's 14"},
		{with("[12, 14, 13]", "[12, 0]"), ErrSpace, "above 0"},
		{with("[4, 3.5]", "[4, .nan]"), ErrSpace, "above 0"},
		{with("[4, 3.5]", "[4, 0.001]"), ErrSpace, "no hidden unit"},
		{with("MLP_RATIO: 4.0", "MLP_RATIO: .inf"), ErrSpace, "SUPERNET.MLP_RATIO"},
		{with("EMBED_DIM: 256", "EMBED_DIM: 240"), ErrSpace, "need SUPERNET.EMBED_DIM to be at least 256"},
		{goodSpace + "MODEL: {IMAGE_SIZE: 225}\n", ErrSpace, "multiple of PATCH_SIZE"},
		{goodSpace + "MODEL: {IMAGE_SIZE: -224}\n", ErrSpace, "IMAGE_SIZE"},
		{goodSpace + "MODEL: {QKV_BIAS: 3}\n", ErrSyntax, "true or false"},
		{goodSpace + "MODEL: {QKV_BIASES: true}\n", ErrSyntax, "did you mean QKV_BIAS?"},
		{goodSpace + "INTERVAL: {MIN: 5, MAX: 4, STEP: 1}\n", ErrSpace, "INTERVAL"},
		{goodSpace + "INTERVAL: {MIN: 5, MAX: 6, STEP: 0}\n", ErrSpace, "INTERVAL"},
		{goodSpace + "INTERVAL: {MIN: .nan, MAX: 6, STEP: 1}\n", ErrSpace, "finite"},
		{"a: &a [*a]\n", ErrSyntax, "unknown key"},
	} {
		_, err := Parse("mine", "mine.yaml", []byte(c.text))
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "mine.yaml: ") {
			t.Errorf("%q:\ngot  %v\nwant %q", c.text, err, c.says)
		}
	}
}

func TestLoadNames(t *testing.T) {
	if _, err := Load("tinny"); !errors.Is(err, ErrUnknownSpace) || !strings.HasSuffix(err.Error(), "; did you mean tiny?") {
		t.Errorf("got %v", err)
	}
	path := filepath.Join(t.TempDir(), "my.space.yaml")
	if err := os.WriteFile(path, []byte(goodSpace), 0o644); err != nil {
		t.Fatal(err)
	}
	if s := mustLoad(t, path); s.Name != "my.space" {
		t.Errorf("named %q", s.Name)
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("a folder is no space")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(goodSpace))
	f.Add([]byte(goodSpace + "MODEL: {IMAGE_SIZE: 28, PATCH_SIZE: 4}\nINTERVAL: {MIN: 1, MAX: 2, STEP: 1}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("f", "f", text)
		if err != nil {
			if !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrSpace) {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		if err := s.Check(s.Largest()); err != nil {
			t.Error(err)
		}
		if s.Model.Params(s.Smallest()) <= 0 || s.Model.MACs(s.Largest()) <= 0 {
			t.Errorf("counts out of range: %+v", s)
		}
	})
}
