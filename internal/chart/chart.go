package chart

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// CSS is the style of charts and of the text around them.
//
//go:embed chart.css
var CSS string

//go:embed chart.html
var chartText string

var chartTemplate = template.Must(template.New("chart").Parse(chartText))

// Chart is a plot on two linear axes.
type Chart struct {
	Title          string // for readers that cannot see it, and over its table
	XLabel, YLabel string // with units
	Series         []Series
	Rules          []Rule
	// Rows are how many lines of the table there are at most; 0: 100. Between them points are
	// left out evenly, and the table says so.
	Rows int
}

// Series is what a chart shows of one thing. What is not finite is not drawn.
type Series struct {
	Name  string // in full
	Label string // at the end of the curve; short
	Class string // of CSS: a colour, of Class, or "joined" for a line behind
	Thick []Point
	Faint []Point // drawn thin behind: what the thick curve was smoothed from
	Marks []Mark  // single points
}

// Rule is a vertical line at X, with a label at its top.
type Rule struct {
	X     float64
	Label string
}

// Point in the units of the axes.
type Point struct{ X, Y float64 }

// Mark is a single point with its interval, and the text that is shown when it is pointed at.
// An interval that is not wider than 0 is not drawn.
type Mark struct {
	Point
	Low, High float64 // of Y
	Text      string
}

// Colours is how many colours of series there are; more series share them, and keep their own labels.
const Colours = 8

// Class is the CSS class that has the colour of the i-th series.
func Class(i int) string { return "s" + strconv.Itoa(i%Colours) }

// Label names the i-th series: A to Z, then by number.
func Label(i int) string {
	if i < 26 {
		return string(rune('A' + i))
	}
	return strconv.Itoa(i + 1)
}

// drawn is a Chart in SVG units, as chart.html shows it.
type drawn struct {
	Chart
	XTicks, YTicks []tick
	Series         []drawnSeries
	Rules          []tick
	Width, Height  int
	Left, Right    float64 // of the plotting area
	Top, Bottom    float64
	MiddleX        float64
	MiddleY        float64
	Table          table
}

type drawnSeries struct {
	Series
	Lines      []line
	Dots       []dot
	LabelX     float64
	LabelY     float64
	HasCurve   bool
	ShowsLabel bool
}

// line is a polyline; Points are those of SVG.
type line struct{ Class, Points string }

type dot struct {
	X, Y, Low, High float64
	HasInterval     bool
	Text            string
}

// HTML is the chart as a figure.
func (c Chart) HTML() (template.HTML, error) {
	var b bytes.Buffer
	if err := chartTemplate.Execute(&b, c.draw()); err != nil {
		return "", fmt.Errorf("chart %q: %w", c.Title, err)
	}
	return template.HTML(b.String()), nil
}

// SVG is the picture alone, as a file of its own that takes the colours of the page's reader.
func (c Chart) SVG() ([]byte, error) {
	figure, err := c.HTML()
	if err != nil {
		return nil, err
	}
	_, svg, _ := strings.Cut(string(figure), "<svg ")
	svg, _, _ = strings.Cut(svg, "</svg>")
	open, drawn, _ := strings.Cut(svg, ">")
	return fmt.Appendf(nil, "<svg xmlns=\"http://www.w3.org/2000/svg\" %s>\n<style><![CDATA[\n%s]]></style>%s</svg>\n", open, CSS, drawn), nil
}

func (c Chart) draw() drawn {
	var xs, ys []float64
	for _, s := range c.Series {
		for _, list := range [][]Point{s.Thick, s.Faint} {
			for _, p := range list {
				xs, ys = append(xs, p.X), append(ys, p.Y)
			}
		}
		for _, m := range s.Marks {
			xs, ys = append(xs, m.X), append(ys, m.Y)
			if m.Low < m.High {
				ys = append(ys, m.Low, m.High)
			}
		}
	}
	x, y := newAxis(xs, left, chartWidth-right), newAxis(ys, chartHeight-bottom, top)
	d := drawn{
		Chart: c, XTicks: x.ticks(), YTicks: y.ticks(), Width: chartWidth, Height: chartHeight,
		Left: left, Right: chartWidth - right, Top: top, Bottom: chartHeight - bottom,
		MiddleX: (left + chartWidth - right) / 2, MiddleY: (top + chartHeight - bottom) / 2,
		Table: c.table(),
	}
	for _, s := range c.Series {
		v := drawnSeries{Series: s, HasCurve: len(s.Thick) > 0}
		if len(s.Faint) > 0 {
			v.Lines = append(v.Lines, line{"faint", path(thin(s.Faint), x, y)})
		}
		if len(s.Thick) > 0 {
			v.Lines = append(v.Lines, line{"curve", path(thin(s.Thick), x, y)})
			end := s.Thick[len(s.Thick)-1]
			v.LabelX, v.LabelY = Round(x.at(end.X))+8, Round(y.at(end.Y))+4
			v.ShowsLabel = s.Label != "" && finite(end.X, end.Y)
		}
		for _, m := range s.Marks {
			if !finite(m.X, m.Y) {
				continue
			}
			e := dot{X: Round(x.at(m.X)), Y: Round(y.at(m.Y)), Text: m.Text, HasInterval: m.Low < m.High && finite(m.Low, m.High)}
			if e.HasInterval {
				e.Low, e.High = Round(y.at(m.Low)), Round(y.at(m.High))
			}
			v.Dots = append(v.Dots, e)
			if len(s.Thick) == 0 {
				v.LabelX, v.LabelY, v.ShowsLabel = e.X+8, e.Y-8, s.Label != ""
			}
		}
		d.Series = append(d.Series, v)
	}
	for _, r := range c.Rules {
		if finite(r.X) && r.X >= x.low && r.X <= x.high {
			d.Rules = append(d.Rules, tick{Round(x.at(r.X)), r.Label})
		}
	}
	spread(d.Series)
	return d
}

func finite(values ...float64) bool {
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}
