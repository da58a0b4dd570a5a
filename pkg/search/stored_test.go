package search

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestStoredSumsAreTheSums(t *testing.T) {
	s, weights, grads := testSpace(t)
	for _, rare := range []bool{false, true} {
		sums, err := NewSums(s, weights, grads, rare)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(sums)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseSums(s, text)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back, sums) {
			t.Errorf("rare %v: stored sums differ", rare)
		}
	}
}

func TestStoredSumsOfAnotherSpace(t *testing.T) {
	s, weights, grads := testSpace(t)
	sums, err := NewSums(s, weights, grads, false)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(sums)
	if err != nil {
		t.Fatal(err)
	}
	other := *s
	other.EmbedDim = []int{8}
	for name, c := range map[string]string{
		"other cuts":    string(text),
		"no JSON":       "{",
		"nothing in it": "{}",
		"rows missing":  strings.ReplaceAll(string(text), `"sums":[[[`, `"sums":[[],[[`),
	} {
		into := s
		if name == "other cuts" {
			into = &other
		}
		if _, err := ParseSums(into, []byte(c)); !errors.Is(err, ErrWeights) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzParseSums(f *testing.F) {
	s, weights, grads := testSpace(f)
	sums, err := NewSums(s, weights, grads, true)
	if err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(sums)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"tensors":{"norm.weight":{"rows":[8,12],"cols":[1],"sums":[[]]}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if u, err := ParseSums(s, text); err == nil {
			if _, err := NewScores(s, u, ScoreMethod{base: "l1norm"}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
