package trainstep

import (
	"slices"

	"prenas/internal/ranks"
)

// sheet is rows of values, cut into blocks of columns that lie one after the other: block i is
// [rows, cuts[i+1]-cuts[i]]. So the block of a rank is sent as it lies.
type sheet struct {
	rows   int
	cuts   []int // ascending; the first column is number cuts[0]
	values []float32
}

func newSheet(rows int, cuts []int) sheet {
	s := sheet{rows: rows, cuts: cuts}
	s.values = make([]float32, s.size())
	return s
}

func (s sheet) size() int { return s.rows * (s.cuts[len(s.cuts)-1] - s.cuts[0]) }

// blocks are their places in the values.
func (s sheet) blocks() []ranks.Run {
	var all []ranks.Run
	for i := range s.cuts[1:] {
		all = append(all, ranks.Run{From: s.rows * (s.cuts[i] - s.cuts[0]), To: s.rows * (s.cuts[i+1] - s.cuts[0])})
	}
	return all
}

// put copies values to a row, from a column on, and returns the column behind them.
func (s sheet) put(row, column int, values []float32) (next int) {
	for len(values) > 0 {
		after, _ := slices.BinarySearch(s.cuts, column+1)
		from, to := s.cuts[after-1], s.cuts[after] // of the block that has the column
		at := s.rows*(from-s.cuts[0]) + row*(to-from) + column - from
		n := copy(s.values[at:][:to-column], values)
		values, column = values[n:], column+n
	}
	return column
}

// row copies a row to to, and returns its length.
func (s sheet) row(row int, to []float32) (n int) {
	for i := range s.cuts[1:] {
		width := s.cuts[i+1] - s.cuts[i]
		n += copy(to[n:], s.values[s.rows*(s.cuts[i]-s.cuts[0])+row*width:][:width])
	}
	return n
}

// cut is where n shares of a span, as even as can be, begin, and where the last ends.
func cut(s span, n int) []int {
	var cuts []int
	for i := range n + 1 {
		cuts = append(cuts, s.from+(s.to-s.from)*i/n)
	}
	return cuts
}

// clamp brings cuts into a span.
func (s span) clamp(cuts []int) []int {
	var within []int
	for _, c := range cuts {
		within = append(within, min(max(c, s.from), s.to))
	}
	return within
}
