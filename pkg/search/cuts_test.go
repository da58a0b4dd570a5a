package search

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"prenas/pkg/space"
)

// Where the cost of an architecture is the sum of its cuts', the score is that cost, up to what
// all architectures have in common.
func TestCutsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := randomSpace(t)
		if s.Model.IsConv() {
			return
		}
		largest, whole := s.Largest(), s.Supernet
		asked := 0
		cost := func(a space.Arch) float64 {
			sum := 0.5 * float64(whole.EmbedDim-a.EmbedDim)
			for block := range whole.Depth {
				i := a.At(block)
				if i < 0 {
					sum += 1.5 // the blocks of a depth share what it costs
					continue
				}
				weight := float64(1 + block)
				sum += weight*float64(largest.NumHeads[0]-a.NumHeads[i]) + 0.25*weight*(largest.MLPRatio[0]-a.MLPRatio[i])
			}
			return sum
		}
		table, err := CutsTable(s, func(a space.Arch) (float64, error) {
			if asked++; !a.Equal(a.Keeping(s.Keeps(a.Depth()))) {
				t.Fatalf("%s is not of the space", a)
			}
			return cost(a), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if asked != CutsCount(s) {
			t.Fatalf("%d divergences of %d", asked, CutsCount(s))
		}
		method, err := ParseScoreMethod("cuts")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewScores(s, nil, method); !errors.Is(err, ErrWeights) {
			t.Fatalf("without a table: %v", err)
		}
		scores, err := NewScores(s, nil, method.With(table))
		if err != nil {
			t.Fatal(err)
		}
		checked := 0
		everyPick(scores.grid, func(p pick) {
			if checked++; checked > 100 {
				return
			}
			a := scores.grid.arch(p)
			if got, want := scores.Of(a)-scores.Of(largest), -(cost(a) - cost(largest)); !(math.Abs(got-want) <= 1e-9) {
				t.Fatalf("%s: %v, want %v", a, got, want)
			}
		})
		stopped := errors.New("stopped")
		if _, err := CutsTable(s, func(space.Arch) (float64, error) { return 0, stopped }); !errors.Is(err, stopped) {
			t.Fatalf("an error is lost: %v", err)
		}
	})
}
