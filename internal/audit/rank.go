package audit

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
)

// Kendall's tau-b of two lists of the same length: concordant less discordant
// pairs over the geometric mean of the pairs not tied in either list (Kendall,
// The treatment of ties in ranking problems, 1945). It is 0 where one list is
// constant and so orders nothing.
func Kendall(x, y []float64) float64 {
	var agree, untiedX, untiedY int
	for i := range x {
		for j := range i {
			dx, dy := sign(x[i]-x[j]), sign(y[i]-y[j])
			agree += dx * dy
			untiedX += dx * dx
			untiedY += dy * dy
		}
	}
	if untiedX == 0 || untiedY == 0 {
		return 0
	}
	return float64(agree) / math.Sqrt(float64(untiedX)*float64(untiedY))
}

func sign(x float64) int {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

// Spearman's rho: the correlation of ranks, equal values sharing their mean
// rank. It is 0 where one list is constant.
func Spearman(x, y []float64) float64 {
	rho := stat.Correlation(Ranks(x), Ranks(y), nil)
	if math.IsNaN(rho) {
		return 0
	}
	return rho
}

// Ranks of values from 0, the lowest; equal values have the mean of their ranks.
func Ranks(x []float64) []float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return sign(x[a] - x[b]) })
	out := make([]float64, len(x))
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && x[order[to]] == x[order[from]] {
			to++
		}
		for _, i := range order[from:to] {
			out[i] = float64(from+to-1) / 2
		}
		from = to
	}
	return out
}
