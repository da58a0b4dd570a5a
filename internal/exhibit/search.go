package exhibit

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"prenas/internal/chart"
	"prenas/internal/printable"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// Search is what a search found, and what is known of it.
type Search struct {
	Candidates space.Candidates
	Space      *space.Space // nil: not known
	Cost       string       // that the intervals divide; empty: params
	Enumerated int64        // number of architectures that were looked at; 0: not known
	Settings   map[string]string
	Pairs      []Pair   // winners beside runners-up, by interval
	Notes      []string // what is not shown, and why
}

// Pair is the winner of an interval and the runner-up.
type Pair struct {
	Interval         string
	Proxy            string // that the explanation is of
	Winner, RunnerUp string
	Ranked           bool // another proxy ordered the shortlist, and candidates have that one's scores
	search.Explanation
}

// Sections of a search: the chosen architectures, their scores over costs with the front, and what the
// winner of each interval gained and gave up, compared with the runner-up.
func (s Search) Sections() ([]Section, error) {
	p := &page{}
	p.add("chosen", "Chosen architectures", "chosen", s.chosen())
	costs := []searchCost{{"Scores over parameters", "parameters, million", func(a space.Arch, params int64) (float64, bool) { return float64(params) / 1e6, true }}}
	if s.Space != nil {
		costs = append(costs, searchCost{"Scores over MACs", "MACs, million", func(a space.Arch, _ int64) (float64, bool) {
			if s.Space.Check(a) != nil {
				return 0, false
			}
			return float64(s.Space.Model.MACs(a)) / 1e6, true
		}})
	}
	var list []chart.Chart
	for _, c := range costs {
		list = append(list, s.scoresOver(c))
	}
	p.addCharts("scores", "Scores over costs", "The line joins the front: no chosen architecture that costs less has a higher score. Faint points are runners-up of their intervals.", s.Notes, list...)
	if len(s.Pairs) > 0 {
		p.add("margins", "What the winners gave up", "margins", s.margins())
	}
	return p.sections, p.err
}

// searchCost is what scores are drawn over.
type searchCost struct {
	title, label string
	of           func(a space.Arch, params int64) (float64, bool)
}

// chosenRow is a candidate's line.
type chosenRow struct{ Class, Label, Interval, Arch, Params, Score string }

// chosenTable is what the section of that name shows.
type chosenTable struct {
	Space, Cost string
	Enumerated  int64
	Search      []setting
	Rows        []chosenRow
	Left        int // that are not shown
}

func (s Search) chosen() chosenTable {
	t := chosenTable{Cost: cmp.Or(s.Cost, "params"), Enumerated: s.Enumerated}
	if s.Space != nil {
		t.Space = s.Space.Name
	}
	for key, value := range s.Settings {
		t.Search = append(t.Search, setting{key, value})
	}
	slices.SortFunc(t.Search, func(a, b setting) int { return cmp.Compare(a.Key, b.Key) })
	i := 0
	for _, bin := range s.Candidates {
		for _, c := range bin.Candidates {
			if i++; i > maxRows {
				t.Left++
				continue
			}
			t.Rows = append(t.Rows, chosenRow{chart.Class(i - 1), chart.Label(i - 1), search.NumberText(bin.Key), c.Arch.String(), millions(c.Params), strconv.FormatFloat(c.Score, 'g', 6, 64)})
		}
	}
	return t
}

// maxRows of a table, and maxMarks of a chart. More could not be read.
const (
	maxRows  = 200
	maxMarks = 5000
)

func (s Search) scoresOver(c searchCost) chart.Chart {
	one := chart.Chart{Title: c.title, XLabel: c.label, YLabel: "score"}
	var marks, losers []chart.Mark
	for _, bin := range s.Candidates {
		for _, a := range bin.Candidates {
			x, ok := c.of(a.Arch, a.Params)
			if ok && len(marks) < maxMarks {
				marks = append(marks, chart.Mark{Point: chart.Point{X: x, Y: a.Score}, Text: fmt.Sprintf("%s: score %.6g, interval %s", a.Arch, a.Score, search.NumberText(bin.Key))})
			}
		}
	}
	for _, e := range s.Pairs {
		arch, err := space.ParseArch(e.RunnerUp)
		if err != nil || s.Space == nil || s.Space.Check(arch) != nil || e.Ranked {
			continue // the explained scores are not those of the proxy that ordered the shortlist
		}
		if x, ok := c.of(arch, s.Space.Model.Params(arch)); ok {
			losers = append(losers, chart.Mark{Point: chart.Point{X: x, Y: e.RunnerUpScore}, Text: fmt.Sprintf("%s: score %.6g, runner-up of interval %s", e.RunnerUp, e.RunnerUpScore, search.NumberText(e.Interval))})
		}
	}
	one.Series = []chart.Series{{Class: "joined", Thick: frontOf(marks)}, {Name: "chosen", Class: chart.Class(0), Marks: marks}}
	if len(losers) > 0 {
		one.Series = append(one.Series, chart.Series{Name: "runner-up", Class: "joined", Marks: losers})
	}
	return one
}

// frontOf are the points of the front, by X: no other point has a lower X and at least the same Y.
func frontOf(marks []chart.Mark) (front []chart.Point) {
	var points []chart.Point
	for _, m := range marks {
		points = append(points, m.Point)
	}
	slices.SortFunc(points, func(a, b chart.Point) int { return cmp.Or(cmp.Compare(a.X, b.X), cmp.Compare(b.Y, a.Y)) })
	best := math.Inf(-1)
	for _, p := range points {
		if p.Y > best {
			front, best = append(front, p), p.Y
		}
	}
	return front
}

// margin is the table of an interval: how much each layer adds to the winner's lead.
type margin struct {
	Interval, Winner, RunnerUp, Proxy string
	Ahead                             string
	CostsMore                         string // parameters that the winner has more
	Rows                              []marginRow
}

type marginRow struct{ Layer, Winner, RunnerUp, Margin string }

func (s Search) margins() (list []margin) {
	for _, e := range s.Pairs {
		if len(list) == maxRows {
			break
		}
		m := margin{Interval: search.NumberText(e.Interval), Winner: e.Winner, RunnerUp: e.RunnerUp, Proxy: e.Proxy, Ahead: signed(e.WinnerScore - e.RunnerUpScore)}
		winner, werr := space.ParseArch(e.Winner)
		other, oerr := space.ParseArch(e.RunnerUp)
		if werr == nil && oerr == nil && s.Space != nil && s.Space.Check(winner) == nil && s.Space.Check(other) == nil {
			more := s.Space.Model.Params(winner) - s.Space.Model.Params(other)
			m.CostsMore = strconv.FormatInt(more, 10)
		}
		for _, l := range e.Layers {
			m.Rows = append(m.Rows, marginRow{l.Layer, choiceText(l.Winner), choiceText(l.RunnerUp), signed(l.Margin())})
		}
		m.Rows = append(m.Rows, marginRow{"outside of the layers", "", "", signed(e.Trunk.Margin())})
		list = append(list, m)
	}
	return list
}

func signed(v float64) string { return fmt.Sprintf("%+.6g", v) }

// choiceText are the choices of a layer, for people.
func choiceText(c search.Choices) string {
	switch {
	case c.Kernel > 0:
		return fmt.Sprintf("kernel %d, expansion %v", c.Kernel, c.Expand)
	case c.NumHeads > 0:
		return fmt.Sprintf("%s, ratio %v", printable.Count(c.NumHeads, "head"), c.MLPRatio)
	}
	return "no such layer"
}
