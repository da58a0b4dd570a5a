package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

type point struct{ X, Y float64 }

// Size and margins of a chart in the units of its SVG. The right margin has room for the
// labels at the ends of the curves.
const (
	chartWidth, chartHeight = 640, 320
	left, right             = 60, 44
	top, bottom             = 16, 44
	labelGap                = 14 // least distance of two labels, so that they do not overlap
)

// chart is a plot on two linear axes, in SVG units.
type chart struct {
	Title          string // for readers that cannot see it
	XLabel, YLabel string
	XTicks, YTicks []tick
	Series         []series
	Width, Height  int
	Left, Right    float64 // of the plotting area
	Top, Bottom    float64
	MiddleX        float64
	MiddleY        float64
}

// tick is a place on an axis: At in SVG units.
type tick struct {
	At   float64
	Text string
}

// series is what a chart shows of one architecture. Paths are lists of SVG points.
type series struct {
	Class  string
	Label  string
	Faint  string // the points before smoothing
	Curve  string
	Marks  []mark
	LabelX float64
	LabelY float64
}

// mark is a single point with the text shown when it is pointed at.
type mark struct {
	X, Y float64
	Text string
}

// axis maps values from low to high to SVG units from start to end.
type axis struct {
	low, high, step float64
	start, end      float64
}

// newAxis covers the values with whole steps of 1, 2 or 5 times a power of ten, about
// five of them. Values that are not finite cannot be drawn and do not count.
func newAxis(values []float64, start, end float64) axis {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			low, high = min(low, v), max(high, v)
		}
	}
	switch {
	case low > high:
		low, high = 0, 1
	case low == high:
		pad := max(math.Abs(low)/10, 1e-3)
		low, high = low-pad, high+pad
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/5)))
	for _, factor := range []float64{2, 2.5, 2} { // 1, 2, 5, 10
		if (high-low)/step > 6 {
			step *= factor
		}
	}
	return axis{low: math.Floor(low/step) * step, high: math.Ceil(high/step) * step, step: step, start: start, end: end}
}

func (a axis) at(v float64) float64 {
	return a.start + (v-a.low)/(a.high-a.low)*(a.end-a.start)
}

func (a axis) ticks() []tick {
	digits := max(0, -int(math.Floor(math.Log10(a.step)+1e-9)))
	var ticks []tick
	for i := range int(math.Round((a.high-a.low)/a.step)) + 1 {
		v := a.low + float64(i)*a.step
		ticks = append(ticks, tick{round(a.at(v)), strconv.FormatFloat(v, 'f', digits, 64)})
	}
	return ticks
}

// round keeps a tenth of an SVG unit: finer than any screen, and short in the file.
func round(v float64) float64 { return math.Round(v*10) / 10 }

func newChart(title, xLabel, yLabel string, xs, ys []float64) (c chart, x, y axis) {
	x = newAxis(xs, left, chartWidth-right)
	y = newAxis(ys, chartHeight-bottom, top)
	c = chart{
		Title: title, XLabel: xLabel, YLabel: yLabel, XTicks: x.ticks(), YTicks: y.ticks(),
		Width: chartWidth, Height: chartHeight,
		Left: left, Right: chartWidth - right, Top: top, Bottom: chartHeight - bottom,
		MiddleX: (left + chartWidth - right) / 2, MiddleY: (top + chartHeight - bottom) / 2,
	}
	return c, x, y
}

// path is the points in SVG units; those that are not finite are left out.
func path(points []point, x, y axis) string {
	var b strings.Builder
	for _, p := range points {
		if math.IsNaN(p.Y) || math.IsInf(p.Y, 0) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%.1f,%.1f", x.at(p.X), y.at(p.Y))
	}
	return b.String()
}

// smooth is the mean of each point and its neighbours, as many on both sides: a
// fiftieth of the points, fewer at the ends. A mean over both sides does not lag
// behind, as one over the past would.
func smooth(points []point) []point {
	reach := len(points) / 50
	out := make([]point, len(points))
	for i, p := range points {
		side := min(reach, i, len(points)-1-i)
		sum := 0.0
		for _, q := range points[i-side : i+side+1] {
			sum += q.Y
		}
		out[i] = point{p.X, sum / float64(2*side+1)}
	}
	return out
}

// spread moves labels down until none covers another, then back up where the last
// ones left the plotting area.
func spread(list []series) {
	byHeight := make([]*series, len(list))
	for i := range list {
		byHeight[i] = &list[i]
	}
	slices.SortStableFunc(byHeight, func(a, b *series) int { return cmp.Compare(a.LabelY, b.LabelY) })
	for i := 1; i < len(byHeight); i++ {
		byHeight[i].LabelY = max(byHeight[i].LabelY, byHeight[i-1].LabelY+labelGap)
	}
	limit := float64(chartHeight - bottom)
	for _, s := range slices.Backward(byHeight) {
		s.LabelY = min(s.LabelY, limit)
		limit = s.LabelY - labelGap
	}
}
