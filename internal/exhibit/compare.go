package exhibit

import (
	"fmt"
	"slices"

	"prenas/internal/chart"
	"prenas/internal/rundir"
)

// Named is a run with the name that it has beside others.
type Named struct {
	Name string
	*Run
}

// MostCompared is how many runs are shown beside each other, at most: more could not be told apart.
const MostCompared = 12

// CompareSections shows runs side by side: their curves over one another, their fronts in one
// plot, and what differs in their manifests.
func CompareSections(runs []Named) ([]Section, error) {
	p := &page{}
	p.add("runs", "Runs", "runs", compared(runs))
	var fronts []chart.Chart
	for _, title := range costTitles(runs) {
		fronts = append(fronts, frontsOf(runs, title))
	}
	p.addCharts("front", "Accuracy over what a model costs", "With 95 % intervals. Figures of different images cannot be compared: the table of runs says what each are of.", nil, fronts...)
	p.addCharts("training", "Training", "Means over the architectures of each run; of the training loss smoothed over neighbouring intervals.", nil,
		curves(runs, "Training loss", "training loss", true, func(r *Run) []chart.Point {
			return r.intervals(func(line rundir.TrainLine) (float64, bool) {
				return line.Loss, len(line.Archs) > 0 // without architectures no update was applied, and there is no loss
			})
		}),
		heldCurves(runs),
		curves(runs, "Learning rate", "learning rate", false, func(r *Run) []chart.Point { return r.intervals(r.lr) }),
		curves(runs, "Speed", "images a second", false, func(r *Run) []chart.Point { return r.intervals(r.rate) }))
	p.add("settings", "What differs in their configurations", "differences", differences(runs))
	return p.sections, p.err
}

// comparedRun is a run's line of the table of runs.
type comparedRun struct {
	Class, Label, Name, Of string
	State
}

func compared(runs []Named) (list []comparedRun) {
	for i, r := range runs {
		list = append(list, comparedRun{chart.Class(i), chart.Label(i), r.Name, r.of(), r.State()})
	}
	return list
}

func curves(runs []Named, title, label string, smooth bool, of func(*Run) []chart.Point) chart.Chart {
	c := chart.Chart{Title: title, XLabel: "updates", YLabel: label}
	for i, r := range runs {
		points := of(r.Run)
		if len(points) == 0 {
			continue
		}
		s := chart.Series{Name: r.Name, Label: chart.Label(i), Class: chart.Class(i), Thick: points}
		if smooth {
			s.Faint, s.Thick = points, chart.Smooth(points)
		}
		c.Series = append(c.Series, s)
	}
	return c
}

// heldCurves are the courses of held-out accuracy, each with the interval of its last point.
func heldCurves(runs []Named) chart.Chart {
	c := curves(runs, "Held-out accuracy", "mean held-out top-1, %; bars: 95 % intervals of the last", false, func(r *Run) (points []chart.Point) {
		for _, line := range r.journals.Eval {
			points = append(points, chart.Point{X: float64(line.Step), Y: 100 * line.Top1})
		}
		return points
	})
	for i := range c.Series {
		at := slices.IndexFunc(runs, func(r Named) bool { return r.Name == c.Series[i].Name })
		c.Series[i].Marks = runs[at].lastHeld(c.Series[i].Name, c.Series[i].Thick)
	}
	return c
}

// costTitles are the titles of the costs that all runs know.
func costTitles(runs []Named) (titles []string) {
	for i, r := range runs {
		var own []string
		for _, c := range r.costs() {
			own = append(own, c.title)
		}
		if i == 0 {
			titles = own
			continue
		}
		titles = slices.DeleteFunc(titles, func(t string) bool { return !slices.Contains(own, t) })
	}
	return titles
}

// frontsOf is a chart of the fronts of all runs over the cost with that title.
func frontsOf(runs []Named, title string) chart.Chart {
	c := chart.Chart{Title: title, YLabel: "top-1, %"}
	for i, r := range runs {
		for _, one := range r.costs() {
			if one.title != title {
				continue
			}
			c.XLabel = one.label
			joined, marks := r.front(one)
			if len(joined) > 0 {
				c.Series = append(c.Series, chart.Series{Name: r.Name, Label: chart.Label(i), Class: chart.Class(i), Thick: joined, Marks: marks})
			}
		}
	}
	return c
}

// difference is a key whose value is not the same in all manifests.
type difference struct {
	Key    string
	Values []string // by run; empty where it is missing
}

// compareTable has a column for each run.
type compareTable struct {
	Labels []string
	Rows   []difference
	Same   int // number of keys with the same value in all
}

func differences(runs []Named) compareTable {
	t := compareTable{}
	values := map[string][]string{}
	var order []string
	for i, r := range runs {
		t.Labels = append(t.Labels, fmt.Sprintf("%s %s", chart.Label(i), r.Name))
		for _, s := range settings(r.manifest) {
			if values[s.Key] == nil {
				values[s.Key] = make([]string, len(runs))
				order = append(order, s.Key)
			}
			values[s.Key][i] = s.Value
		}
	}
	for _, key := range order {
		list := values[key]
		if slices.ContainsFunc(list, func(v string) bool { return v != list[0] }) {
			t.Rows = append(t.Rows, difference{key, list})
		} else {
			t.Same++
		}
	}
	return t
}
