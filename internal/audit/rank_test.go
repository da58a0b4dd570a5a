package audit

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/stat"
	"pgregory.net/rapid"

	"prenas/internal/rng"
)

// By hand from the definitions.
func TestRankCorrelations(t *testing.T) {
	for _, c := range []struct {
		x, y     []float64
		tau, rho float64
	}{
		{[]float64{1, 2, 3}, []float64{10, 20, 30}, 1, 1},
		{[]float64{1, 2, 3}, []float64{3, 2, 1}, -1, -1},
		{[]float64{1, 2, 3, 4}, []float64{1, 3, 2, 4}, 4.0 / 6, 0.8},
		// Pairs: 5 not tied in x, 5 in y, 4 in both and all agree.
		{[]float64{1, 1, 2, 3}, []float64{1, 2, 2, 3}, 0.8, 5.0 / 6},
		{[]float64{5, 5, 5}, []float64{1, 2, 3}, 0, 0},
		{[]float64{1}, []float64{1}, 0, 0},
		{nil, nil, 0, 0},
	} {
		if got := Kendall(c.x, c.y); !(math.Abs(got-c.tau) <= 1e-12) {
			t.Errorf("Kendall(%v, %v) = %v, want %v", c.x, c.y, got, c.tau)
		}
		if got := Spearman(c.x, c.y); !(math.Abs(got-c.rho) <= 1e-12) {
			t.Errorf("Spearman(%v, %v) = %v, want %v", c.x, c.y, got, c.rho)
		}
	}
}

// Without ties tau-b is tau-a, which gonum has, and rho is 1 - 6Σd²/(n³-n).
func TestRankCorrelationsWithoutTies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 40).Draw(t, "n")
		r := rng.New(rapid.Uint64().Draw(t, "seed"), "ranks")
		x, y := make([]float64, n), make([]float64, n)
		var squares float64
		px, py := r.Perm(n), r.Perm(n)
		for i := range n {
			x[i], y[i] = math.Exp(float64(px[i])), float64(py[i])
			squares += float64((px[i] - py[i]) * (px[i] - py[i]))
		}
		if got, want := Kendall(x, y), stat.Kendall(x, y, nil); !(math.Abs(got-want) <= 1e-12) {
			t.Errorf("tau %v, gonum has %v", got, want)
		}
		size := float64(n)
		if got, want := Spearman(x, y), 1-6*squares/(size*size*size-size); !(math.Abs(got-want) <= 1e-9) {
			t.Errorf("rho %v, want %v", got, want)
		}
	})
}
