package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"prenas/internal/space"
)

// page is what page.html shows.
type page struct {
	Space, Split string
	Images, Step int
	Rows         []row
	Accuracy     chart
	Loss         *chart // nil: no metrics line yet
	Pictures     []picture
	Settings     []setting
}

// row is an architecture's line of the headline table.
type row struct {
	Class, Label                            string
	Bin, Arch                               string
	Params, MACs, Top1, Top5, Rate, ScoreOf string
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
		Space: r.results.Space, Split: r.results.Split, Images: r.results.Images, Step: r.results.Step,
		Accuracy: accuracyChart(r), Loss: lossChart(r), Pictures: pictures(r.archs), Settings: settings(r.manifest),
	}
	for i, a := range r.results.Archs {
		p.Rows = append(p.Rows, row{
			Class: class(i), Label: label(i), Bin: shortNumber(a.Bin), Arch: a.Arch,
			Params: millions(a.Params), MACs: millions(a.MACs),
			Top1: percent(a.Top1), Top5: percent(a.Top5), Rate: strconv.FormatFloat(a.Rate, 'f', 0, 64),
			ScoreOf: strconv.FormatFloat(r.scores[i], 'g', 6, 64),
		})
	}
	return p
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
			Marks:  []mark{{round(x.at(p.X)), round(y.at(p.Y)), fmt.Sprintf("%s: %.3f million parameters, %.2f %%", r.results.Archs[i].Arch, p.X, p.Y)}},
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

// picture is an architecture drawn layer by layer:
//
//	■   ■           heads: a square each
//	■ ■ ■ ■
//	4 3 4 3
//	─────────
//	█ █ █ ▄         MLP: a bar as wide as a layer, as high as its ratio
//	4 4 4 3.5
type picture struct {
	Class, Label, Arch  string
	EmbedDim, Depth     int
	Width, Height       int
	HeadsText, BarsText float64 // heights of the two lines of numbers
	Layers              []layer
}

type layer struct {
	X, Middle float64
	Squares   []float64 // their upper edges
	Bar       float64   // upper edge of the bar
	BarHeight float64
	Heads     int
	Ratio     string
	Number    int
}

// Measures of a picture in SVG units.
const (
	pictureLeft = 52
	square      = 12
	column      = 30
	barUnit     = 14 // height of a ratio of 1
)

// pictures draws all architectures on one scale, so that they can be compared.
func pictures(archs []space.Arch) []picture {
	heads, ratio := 0, 0.0
	for _, a := range archs {
		heads, ratio = max(heads, slices.Max(a.NumHeads)), max(ratio, slices.Max(a.MLPRatio))
	}
	headsBase := float64(heads*(square+2) + 4)
	barsTop := headsBase + 26
	barsBase := barsTop + ratio*barUnit
	var list []picture
	for i, a := range archs {
		p := picture{
			Class: class(i), Label: label(i), Arch: a.String(), EmbedDim: a.EmbedDim, Depth: a.Depth(),
			Width: pictureLeft + a.Depth()*column, Height: int(math.Ceil(barsBase)) + 20,
			HeadsText: headsBase + 12, BarsText: round(barsBase) + 14,
		}
		for l := range a.Depth() {
			x := float64(pictureLeft + l*column)
			drawn := layer{
				X: x, Middle: x + column/2 - 3, Heads: a.NumHeads[l], Number: l,
				Ratio: strconv.FormatFloat(a.MLPRatio[l], 'g', 4, 64),
				Bar:   round(barsBase - a.MLPRatio[l]*barUnit), BarHeight: round(a.MLPRatio[l] * barUnit),
			}
			for h := range a.NumHeads[l] {
				drawn.Squares = append(drawn.Squares, headsBase-float64((h+1)*(square+2)))
			}
			p.Layers = append(p.Layers, drawn)
		}
		list = append(list, p)
	}
	return list
}
