package chart

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// defaultRows of a table.
const defaultRows = 100

// table has the numbers of a chart: a row for each place on the X axis, a column for each series.
type table struct {
	Columns []string
	Rows    []tableRow
	Note    string // what is left out
}

type tableRow struct {
	X     string
	Cells []string
}

// table of what is drawn thick, of single points, and of what is drawn thin where nothing is
// drawn thick.
func (c Chart) table() table {
	var t table
	cells := map[float64][]string{}
	for _, s := range c.Series {
		if s.Name != "" {
			t.Columns = append(t.Columns, s.Name)
		}
	}
	column := 0
	for _, s := range c.Series {
		if s.Name == "" {
			continue
		}
		put := func(x float64, text string) {
			if cells[x] == nil {
				cells[x] = make([]string, len(t.Columns))
			}
			cells[x][column] = text
		}
		points := s.Thick
		if len(s.Faint) > 0 {
			points = s.Faint // as measured, not as smoothed
		}
		for _, p := range points {
			if finite(p.X, p.Y) {
				put(p.X, number(p.Y))
			}
		}
		for _, m := range s.Marks {
			if !finite(m.X, m.Y) {
				continue
			}
			text := number(m.Y)
			if m.Low < m.High {
				text += fmt.Sprintf(" (%s to %s)", number(m.Low), number(m.High))
			}
			put(m.X, text)
		}
		column++
	}
	xs := slices.Sorted(maps.Keys(cells))
	rows := c.Rows
	if rows < 1 {
		rows = defaultRows
	}
	every := (len(xs) + rows - 1) / rows
	for i, x := range xs {
		if every < 2 || i%every == 0 || i == len(xs)-1 {
			t.Rows = append(t.Rows, tableRow{number(x), cells[x]})
		}
	}
	if every > 1 {
		t.Note = fmt.Sprintf("Of %d rows one of %d is shown, and the last.", len(xs), every)
	}
	return t
}

// number with six digits.
func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
