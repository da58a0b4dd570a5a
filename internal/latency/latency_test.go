package latency

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"prenas/internal/engine/enginetest"
	"prenas/internal/fixture"
	"prenas/internal/strictjson"
	"prenas/pkg/space"
)

func littleSpace(t testing.TB) *space.Space {
	t.Helper()
	s, err := space.Parse("little", "little.yaml", []byte(`
SUPERNET: {EMBED_DIM: 16, DEPTH: 4, NUM_HEADS: 3, MLP_RATIO: 2}
SEARCH_SPACE: {EMBED_DIM: [16, 8], DEPTH: [2, 4], NUM_HEADS: [3, 1, 2], MLP_RATIO: [2, 1]}
MODEL: {IMAGE_SIZE: 4, PATCH_SIZE: 2, CHANNELS: 1, NUM_CLASSES: 3, HEAD_DIM: 4, MAX_RELATIVE_POSITION: 2}
`))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// On a machine whose times add up, parts give them back for any architecture.
func TestPartsAddUpToWhatWasMeasured(t *testing.T) {
	s := littleSpace(t)
	truth := func(a space.Arch) float64 {
		e := float64(a.EmbedDim)
		ms := 3 + e/8
		for l := range a.NumHeads {
			ms += 1 + e/16 + 0.5*float64(a.NumHeads[l]*a.NumHeads[l]) + e*math.Sqrt(a.MLPRatio[l])
		}
		return ms
	}
	p := &Profile{Batch: 1, Layers: 4, NumHeads: []int{1, 2, 3}, MLPRatio: []float64{1, 2}}
	for _, dim := range s.EmbedDim {
		var times []float64
		for _, a := range p.models(dim) {
			times = append(times, truth(a))
		}
		p.Dims = append(p.Dims, p.parts(dim, times))
	}
	if !p.serves(s) {
		t.Fatalf("%+v does not serve its own space", p)
	}
	for _, a := range Draw(s, 40, 1) {
		if got, want := p.Predict(a), truth(a); !(math.Abs(got-want) <= 1e-9*want) {
			t.Errorf("%s: predicted %v, want %v", a, got, want)
		}
	}
}

func TestProfileOfOtherChoicesDoesNotServe(t *testing.T) {
	s := littleSpace(t)
	whole := Profile{NumHeads: []int{1, 2, 3}, MLPRatio: []float64{1, 2}, Dims: []Dim{
		{EmbedDim: 8, Heads: make([]float64, 3), MLP: make([]float64, 2)}, {EmbedDim: 16, Heads: make([]float64, 3), MLP: make([]float64, 2)},
	}}
	if !whole.serves(s) {
		t.Fatal("the whole profile does not serve")
	}
	for name, spoil := range map[string]func(p *Profile){
		"a dim is missing":   func(p *Profile) { p.Dims = p.Dims[1:] },
		"heads are missing":  func(p *Profile) { p.NumHeads = []int{1, 3} },
		"ratios are others":  func(p *Profile) { p.MLPRatio = []float64{1, 3} },
		"a part is cut away": func(p *Profile) { p.Dims[0].MLP = p.Dims[0].MLP[:1] },
	} {
		p := whole
		p.Dims = slices.Clone(whole.Dims)
		if spoil(&p); p.serves(s) {
			t.Errorf("%s: it serves", name)
		}
	}
}

// A measurement is made once; what was kept, and is damaged, is made anew.
func TestMeasurementIsKept(t *testing.T) {
	ctx, e, s, dir := context.Background(), enginetest.Test(t), littleSpace(t), t.TempDir()
	s.EmbedDim, s.NumHeads = []int{8}, []int{1, 2}
	first, path, err := Cached(ctx, e, s, 1, dir, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !first.serves(s) || first.Layers != 4 || first.Dims[0].Trunk+first.Dims[0].Block <= 0 {
		t.Errorf("got %+v", first)
	}
	again, other, err := Cached(ctx, e, s, 1, dir, false, func(int, int) { t.Error("measured again") })
	if err != nil || other != path || !reflect.DeepEqual(again, first) {
		t.Errorf("got %+v from %s, %v; want %+v from %s", again, other, err, first, path)
	}
	if key(e, s, 2) == key(e, s, 1) {
		t.Error("two batches have one key")
	}
	if err := os.WriteFile(path, []byte(`{"batch": 1`), 0o644); err != nil {
		t.Fatal(err)
	}
	mended, _, err := Cached(ctx, e, s, 1, dir, false, nil)
	if err != nil || !mended.serves(s) {
		t.Errorf("damaged file: got %+v, %v", mended, err)
	}
	checked, err := mended.Check(ctx, e, s, Draw(s, 3, 0))
	if err != nil || len(checked.Rows) != 3 || checked.Rows[0].Measured <= 0 || checked.Rows[0].Arch != s.Smallest().String() {
		t.Errorf("checked %+v, %v", checked, err)
	}
}

func TestMeasureRefuses(t *testing.T) {
	if _, err := Measure(context.Background(), nil, littleSpace(t), 0, nil); !errors.Is(err, ErrLatency) {
		t.Errorf("no images: got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Measure(ctx, enginetest.Test(t), littleSpace(t), 1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

// No stored profile, whatever it holds, makes a panic, and none gives a key twice.
func TestAlteredProfiles(t *testing.T) {
	s := littleSpace(t)
	text := []byte(`{"machine": "m", "batch": 1, "layers": 4, "num_heads": [1, 2, 3], "mlp_ratio": [1, 2], "dims": [` +
		`{"embed_dim": 8, "trunk_ms": 1, "block_ms": 2, "heads_ms": [0, 1, 2], "mlp_ms": [0, 1]},` +
		`{"embed_dim": 16, "trunk_ms": 1, "block_ms": 2, "heads_ms": [0, 1, 2], "mlp_ms": [0, 1]}]}`)
	if p, err := parse("profile.json", text); err != nil || !p.serves(s) {
		t.Fatal(p, err)
	}
	fixture.Mutated(t, text, func(what string, text []byte) {
		p, err := parse("profile.json", text)
		switch {
		case strings.HasSuffix(what, fixture.Twice):
			if !errors.Is(err, strictjson.ErrTwice) {
				t.Errorf("%s: %v", what, err)
			}
		case err != nil && !errors.Is(err, ErrLatency):
			t.Errorf("%s: %v", what, err)
		case err == nil && p.serves(s):
			for _, a := range []space.Arch{s.Smallest(), s.Largest()} {
				if ms := p.Predict(a); math.IsNaN(ms) || math.IsInf(ms, 0) {
					t.Errorf("%s: %v milliseconds", what, ms)
				}
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"machine":"m","batch":1,"layers":4,"num_heads":[1],"mlp_ratio":[1],"dims":[{"embed_dim":8,"trunk_ms":1,"block_ms":2,"heads_ms":[0],"mlp_ms":[0]}]}`))
	f.Add([]byte(`{"batch":1,"layers":4,"num_heads":[1,2,3],"mlp_ratio":[1,2],"dims":[{"embed_dim":8},{"embed_dim":16}]}`))
	f.Add([]byte(`null`))
	s := littleSpace(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parse("profile.json", text)
		if err != nil {
			if !errors.Is(err, ErrLatency) {
				t.Errorf("got %v", err)
			}
			return
		}
		if p.serves(s) {
			p.Predict(s.Largest()) // must not fail on what serves
		}
		if _, err := json.Marshal(p); err != nil {
			t.Error(err)
		}
	})
}
