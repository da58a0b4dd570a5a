package search

import (
	"cmp"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"prenas/pkg/space"
)

// In a reduced space every method finds what is in it, and Exact the best of it.
func TestReducedSpace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := randomSpace(t)
		if s.Model.IsConv() {
			return
		}
		seed := rapid.Uint64().Draw(t, "seed")
		var all []pick
		g := newGrid(s)
		everyPick(g, func(p pick) { all = append(all, p) })
		var used []space.Candidate
		for range rapid.IntRange(1, 4).Draw(t, "used") {
			used = append(used, space.Candidate{Arch: g.arch(all[rapid.IntRange(0, len(all)-1).Draw(t, "arch")])})
		}
		reduced := (space.Candidates{{Key: "1.0", Candidates: used}}).Choices()
		whole := *s
		s.EmbedDim, s.Reduced = reduced.EmbedDim, &reduced
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		sums, err := NewSums(s, supernetTensors(&whole, seed), supernetTensors(&whole, seed+1), false)
		if err != nil {
			t.Fatal(err)
		}
		scores, err := NewScores(s, sums, ScoreMethod{base: "taylor6"})
		if err != nil {
			t.Fatal(err)
		}
		cost := ParamsCost(s)
		least, most := cost.span(newGrid(s))
		var want []float64
		smallest, largest := math.Inf(1), 0.0
		everyPick(newGrid(s), func(p pick) {
			if a := newGrid(s).arch(p); s.Check(a) == nil {
				want = append(want, scores.of(p))
				smallest, largest = min(smallest, cost.of(p)), max(largest, cost.of(p))
			}
		})
		if least != smallest || most != largest || s.Size().Int64() != int64(len(want)) {
			t.Fatalf("spans %v to %v, want %v to %v; %v architectures, want %d", least, most, smallest, largest, s.Size(), len(want))
		}
		slices.SortFunc(want, func(a, b float64) int { return cmp.Compare(b, a) })
		interval := space.Interval{Min: least / 1e6, Max: (most + 1) / 1e6, Step: (most + 1 - least) / 1e6 * 0.9999}
		for _, o := range []Options{{Method: Exact}, {Method: Random, Population: 20}, {Method: Evolution, Population: 6, Generations: 3}, {AllSplits: true}} {
			o.Interval, o.Seed, o.Top = interval, seed, 3
			got, _, err := RunSums(s, sums, o)
			if err != nil {
				if o.Method == "" { // its isomers may all be others
					continue
				}
				t.Fatalf("%s: %v", o.Method, err)
			}
			if err := got.Check(s); err != nil {
				t.Fatalf("%s: %v", o.Method, err)
			}
			if best := got[0].Candidates[0].Score; o.Method == Exact && best != want[0] || best > want[0] {
				t.Fatalf("%s: the best has %v, of all it is %v", o.Method, best, want[0])
			}
		}
	})
}
