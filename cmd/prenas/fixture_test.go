package main

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"prenas/internal/fixture"
	"prenas/pkg/space"
)

// The command, given a fixture's space, weights and images, writes the candidates file
// that the published code wrote for them.
func TestFixtureSearchFromOutside(t *testing.T) {
	f := fixture.Open(t)
	var config struct {
		Flags struct {
			Score string  `json:"score_method"`
			Heads string  `json:"block_score_method_for_head"`
			MLP   string  `json:"block_score_method_for_mlp"`
			Top   int     `json:"cand_per_interval"`
			Step  float64 `json:"param_interval"`
			Min   float64 `json:"min_param_limits"`
			Max   float64 `json:"param_limits"`
		} `json:"flags"`
	}
	f.JSON("config.json", &config)
	var expected struct {
		Search struct {
			Output json.RawMessage `json:"output"`
		} `json:"search_iteration"`
	}
	f.JSON("expected.json", &expected)
	want, err := space.ParseCandidates(expected.Search.Output)
	if err != nil {
		t.Fatal(err)
	}

	out := filepath.Join(t.TempDir(), "candidates.json")
	file := func(name string) string { return filepath.Join(f.Dir, name) }
	flags := config.Flags
	root := newRoot()
	root.SetArgs([]string{
		"search", "--quiet", "--space", file("space.yaml"), "--weights", file("weights.safetensors"), "--inputs", file("inputs.safetensors"),
		"--proxy", flags.Score, "--head-scores", flags.Heads, "--mlp-scores", flags.MLP, "--top", fmt.Sprint(flags.Top),
		"--min-params", fmt.Sprint(flags.Min), "--max-params", fmt.Sprint(flags.Max), "--interval", fmt.Sprint(flags.Step), "--out", out,
	})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := space.ReadCandidates(out)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d intervals, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if g.Key != w.Key || len(g.Candidates) != len(w.Candidates) {
			t.Fatalf("interval %s with %d candidates, want %s with %d", g.Key, len(g.Candidates), w.Key, len(w.Candidates))
		}
		for k, c := range w.Candidates {
			a := g.Candidates[k]
			if !a.Arch.Equal(c.Arch) || a.Params != c.Params || !(math.Abs(a.Score-c.Score) <= 1e-4*math.Abs(c.Score)) {
				t.Errorf("interval %s, candidate %d: got %+v, want %+v", w.Key, k, a, c)
			}
		}
	}
}
