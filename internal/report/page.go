package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"prenas/internal/evaluate"
	"prenas/pkg/search"
)

// page is what page.html shows.
type page struct {
	Space    string
	Of       string   // what the figures are of
	Budget   string   // what the intervals' bounds are of: "params M"
	Asked    []string // titles of what was asked for beside parameters and MACs
	On       []string // what that was measured on
	Step     int
	Rows     []row
	Accuracy chart
	Loss     *chart // nil: no metrics line yet
	Notes    []string
	Doubts   []string
	Classes  []classes
	Legend   string // of the pictures
	Pictures []picture
	Settings []setting
}

// row is an architecture's line of the headline table.
type row struct {
	Class, Label                                    string
	Bin, Arch                                       string
	Params, MACs, Top1, Within, Top5, Rate, ScoreOf string
	Asked                                           []string // by page.Asked
}

// setting is a value of the manifest, named by its path.
type setting struct{ Key, Value string }

// colours is the number of series colours in page.html; more architectures share them,
// and keep their own labels.
const colours = 8

func class(i int) string { return "s" + strconv.Itoa(i%colours) }

// label names an architecture in the pictures: A to Z, then by number.
func label(i int) string {
	if i < 26 {
		return string(rune('A' + i))
	}
	return strconv.Itoa(i + 1)
}

func newPage(r *run) page {
	p := page{
		Space: r.results.Space, Step: r.results.Step, Of: r.results.Of(),
		Accuracy: accuracyChart(r), Loss: lossChart(r), Notes: r.notes, Doubts: r.doubts, Classes: classesOf(r.results), Legend: legend(r.archs), Pictures: pictures(r.archs), Settings: settings(r.manifest),
	}
	p.Budget = "params M"
	for i, a := range r.results.Asked {
		if i == 0 {
			p.Budget = a.Title()
		}
		if a.Cost == "params" || a.Cost == "macs" {
			continue
		}
		p.Asked = append(p.Asked, a.Title())
		if a.On != "" {
			p.On = append(p.On, a.Cost+": "+a.On)
		}
	}
	for i, a := range r.results.Archs {
		p.Rows = append(p.Rows, row{
			Class: class(i), Label: label(i), Bin: shortNumber(a.Bin), Arch: a.Arch,
			Params: millions(a.Params), MACs: millions(a.MACs),
			Top1: percent(a.Top1), Within: evaluate.Range(a.Top1, r.results.Images), Top5: percent(a.Top5), Rate: strconv.FormatFloat(a.Rate, 'f', 0, 64),
			ScoreOf: strconv.FormatFloat(r.scores[i], 'g', 6, 64),
			Asked:   asked(r.results.Asked, a.Arch),
		})
	}
	return p
}

// asked is what an architecture takes of what has a column of its own.
func asked(list []search.Asked, arch string) (values []string) {
	for _, a := range list {
		if a.Cost != "params" && a.Cost != "macs" {
			values = append(values, strconv.FormatFloat(a.Archs[arch], 'g', 4, 64))
		}
	}
	return values
}

func millions(n int64) string { return strconv.FormatFloat(float64(n)/1e6, 'f', 3, 64) }

func percent(fraction float64) string { return strconv.FormatFloat(100*fraction, 'f', 2, 64) }

// accuracyChart is top-1 over parameters; the line joins the architectures by size.
func accuracyChart(r *run) chart {
	var points []point
	var xs, ys []float64
	for _, a := range r.results.Archs {
		points = append(points, point{float64(a.Params) / 1e6, 100 * a.Top1})
		xs, ys = append(xs, float64(a.Params)/1e6), append(ys, 100*a.Top1)
	}
	c, x, y := newChart("Top-1 accuracy over parameters", "parameters, million", "top-1, %", xs, ys)
	bySize := slices.Clone(points)
	slices.SortStableFunc(bySize, func(a, b point) int { return cmp.Compare(a.X, b.X) })
	c.Series = append(c.Series, series{Class: "joined", Curve: path(bySize, x, y)})
	for i, p := range points {
		c.Series = append(c.Series, series{
			Class: class(i), Label: label(i),
			Marks:  []mark{{round(x.at(p.X)), round(y.at(p.Y)), fmt.Sprintf("%s: %.3f million parameters, %.2f %%, 95 %% interval %s", r.results.Archs[i].Arch, p.X, p.Y, evaluate.Range(p.Y/100, r.results.Images))}},
			LabelX: round(x.at(p.X)) + 8, LabelY: round(y.at(p.Y)) - 8,
		})
	}
	return c
}

// lossChart has a curve per architecture: its mean training loss in each interval, and
// over it the same smoothed.
func lossChart(r *run) *chart {
	var xs, ys []float64
	for _, a := range r.results.Archs {
		for _, p := range r.losses[a.Arch] {
			xs, ys = append(xs, p.X), append(ys, p.Y)
		}
	}
	if len(xs) == 0 {
		return nil
	}
	c, x, y := newChart("Training loss per architecture", "updates", "training loss", xs, ys)
	for i, a := range r.results.Archs {
		points := r.losses[a.Arch]
		if len(points) == 0 {
			continue
		}
		curve := smooth(points)
		end := curve[len(curve)-1]
		c.Series = append(c.Series, series{
			Class: class(i), Label: label(i), Faint: path(points, x, y), Curve: path(curve, x, y),
			LabelX: round(x.at(end.X)) + 8, LabelY: round(y.at(end.Y)) + 4,
		})
	}
	spread(c.Series)
	return &c
}

// shortNumber shows an interval's key, a float64 in full, with six digits.
func shortNumber(key string) string {
	v, err := strconv.ParseFloat(key, 64)
	if err != nil {
		return key
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// settings is the manifest as a flat list: "recipe.optimizer.lr", "0.001". The file's
// order stays; a list is one value.
func settings(manifest json.RawMessage) []setting { return flatten(nil, "", manifest) }

func flatten(list []setting, key string, value json.RawMessage) []setting {
	dec := json.NewDecoder(bytes.NewReader(value))
	token, err := dec.Token()
	if err != nil || token != json.Delim('{') {
		var text string
		if json.Unmarshal(value, &text) != nil {
			var compact bytes.Buffer
			if json.Compact(&compact, value) != nil {
				return list
			}
			text = compact.String()
		}
		return append(list, setting{key, text})
	}
	// By token, because a map would lose the file's order.
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return list
		}
		var inner json.RawMessage
		if dec.Decode(&inner) != nil {
			return list
		}
		path := name.(string)
		if key != "" {
			path = key + "." + path
		}
		list = flatten(list, path, inner)
	}
	return list
}
