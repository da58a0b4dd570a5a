package space

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// ordered is a space whose block 1 is the first to go, and then block 3.
func ordered(t *testing.T) *Space {
	t.Helper()
	s, err := Parse("ordered", "ordered.yaml", []byte(`
SUPERNET: {EMBED_DIM: 64, DEPTH: 4, NUM_HEADS: 2, MLP_RATIO: 4}
SEARCH_SPACE: {EMBED_DIM: [32, 64], DEPTH: [2, 3], NUM_HEADS: [1, 2], MLP_RATIO: [2, 4], LAYERS: [2, 0, 3, 1]}
MODEL: {HEAD_DIM: 32}
`))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// An architecture of a depth keeps the most important blocks, in the order of the supernet.
func TestLayersMostImportantFirst(t *testing.T) {
	s := ordered(t)
	for depth, want := range map[int][]int{1: {2}, 2: {0, 2}, 3: {0, 2, 3}, 4: {0, 1, 2, 3}} {
		if got := s.Keeps(depth); !slices.Equal(got, want) {
			t.Errorf("depth %d keeps %v, want %v", depth, got, want)
		}
	}
	if got := s.Smallest().String(); got != "e32-h1x2-r2x2-l0_2" {
		t.Errorf("the smallest is %s", got)
	}
	if got := s.Largest().String(); got != "e64-h2x3-r4x3-l0_2to3" {
		t.Errorf("the largest is %s", got)
	}
	if got := s.Whole().String(); got != "e64-h2x4-r4x4" {
		t.Errorf("the whole is %s", got)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		if a := s.Draw(r); s.Check(a) != nil {
			t.Fatalf("%s was drawn: %v", a, s.Check(a))
		}
	}
	for _, layers := range [][]int{nil, {0, 3}, {1, 2}} {
		a := Arch{EmbedDim: 32, NumHeads: []int{1, 1}, MLPRatio: []float64{2, 2}, Layers: layers}
		if err := s.Check(a); !errors.Is(err, ErrArch) || !strings.Contains(err.Error(), "[0 2]") {
			t.Errorf("%s: %v", a, err)
		}
	}
	a := s.Smallest()
	for i, block := range []int{0, 2} {
		if a.Layer(i) != block || a.At(block) != i {
			t.Errorf("layer %d is block %d; block %d is layer %d", i, a.Layer(i), block, a.At(block))
		}
	}
	if a.At(1) >= 0 || a.At(3) >= 0 || a.Alone().At(1) != 1 || a.Alone().At(2) >= 0 {
		t.Errorf("%s has blocks that it has not", a)
	}
}

// The blocks that are kept go through all files.
func TestLayersInFiles(t *testing.T) {
	s := ordered(t)
	var c Candidates
	for i, a := range []Arch{s.Smallest(), s.Largest()} {
		c = append(c, Bin{Key: BinKey(float64(i + 1)), Candidates: []Candidate{{Arch: a, Params: s.Model.Params(a)}}})
	}
	text, err := c.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte("\"layers\": [\n        0,\n        2\n      ]")) {
		t.Errorf("the file does not say the blocks:\n%s", text)
	}
	back, err := ParseCandidates(text)
	if err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("came back as %+v, %v", back, err)
	}
	if err := back.Check(s); err != nil {
		t.Error(err)
	}

	asJSON, err := json.Marshal(s)
	var read Space
	if err == nil {
		err = json.Unmarshal(asJSON, &read)
	}
	if err != nil || !slices.Equal(read.Layers, s.Layers) {
		t.Errorf("through JSON: %v, %v", err, read.Layers)
	}

	// The space reduced to the smallest and the largest has no choices of block 1, and only
	// one of embedding dim 32 of block 0.
	path := filepath.Join(t.TempDir(), "reduced.yaml")
	if err := writeYAML(c.Choices(), path, s); err != nil {
		t.Fatal(err)
	}
	reduced, err := Load(path)
	if err != nil {
		file, _ := os.ReadFile(path)
		t.Fatalf("%v in\n%s", err, file)
	}
	if err := c.Check(reduced); err != nil {
		t.Error(err)
	}
	if got := reduced.Reduced.NumHeads[32]; !reflect.DeepEqual(got, [][]int{{1}, nil, {1}}) {
		t.Errorf("heads at 32 are %v", got)
	}
	if reduced.Size().Int64() != 2 || reduced.HasHeads(64, 1, 2) || !reduced.HasHeads(64, 3, 2) {
		t.Errorf("%s architectures, of %+v", reduced.Size(), reduced.Reduced)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		if a := reduced.Draw(r); reduced.Check(a) != nil {
			t.Fatalf("%s was drawn: %v", a, reduced.Check(a))
		}
	}
}
