package chart

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Size and margins of a chart in the units of its SVG. The right margin has room for the
// labels at the ends of the curves.
const (
	chartWidth, chartHeight = 640, 320
	left, right             = 60, 44
	top, bottom             = 16, 44
	labelGap                = 14 // least distance of two labels, so that they do not overlap
)

// tick is a place on an axis: At in SVG units.
type tick struct {
	At   float64
	Text string
}

// axis maps values from low to high to SVG units from start to end.
type axis struct {
	low, high, step float64
	start, end      float64
}

// largest value that is drawn: the span of an axis must be a number too.
const largest = 1e300

// newAxis covers the values with whole steps of 1, 2 or 5 times a power of ten, about
// five of them. Values that are not finite cannot be drawn and do not count.
func newAxis(values []float64, start, end float64) axis {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if finite(v) {
			v = max(-largest, min(v, largest))
			low, high = min(low, v), max(high, v)
		}
	}
	if low > high {
		low, high = 0, 1
	}
	// Values that are the same but for their last bits are one.
	if pad := max(math.Abs(low), math.Abs(high)) * 1e-9; high-low <= pad {
		pad = max(math.Abs(low)/10, 1e-3)
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
	return a.start + (max(a.low, min(v, a.high))-a.low)/(a.high-a.low)*(a.end-a.start)
}

func (a axis) ticks() []tick {
	digits, form := max(0, -int(math.Floor(math.Log10(a.step)+1e-9))), byte('f')
	if most := max(math.Abs(a.low), math.Abs(a.high)); digits > 4 || most >= 1e6 {
		digits, form = max(0, int(math.Ceil(math.Log10(most/a.step)-1e-9))), 'e'
	}
	var ticks []tick
	for i := range int(math.Round((a.high-a.low)/a.step)) + 1 {
		v := a.low + float64(i)*a.step
		if math.Abs(v) < a.step/1000 {
			v = 0 // not the -0 or the 1e-17 that steps add up to
		}
		text := strconv.FormatFloat(v, form, digits, 64)
		if v == 0 && form == 'e' {
			text = "0"
		}
		ticks = append(ticks, tick{Round(a.at(v)), text})
	}
	return ticks
}

// Round keeps a tenth of an SVG unit: finer than any screen, and short in the file.
func Round(v float64) float64 { return math.Round(v*10) / 10 }

// path is the points in SVG units; those that are not finite are left out.
func path(points []Point, x, y axis) string {
	var b strings.Builder
	for _, p := range points {
		if !finite(p.X, p.Y) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%.1f,%.1f", x.at(p.X), y.at(p.Y))
	}
	return b.String()
}

// most points of a line that are drawn: two to a unit of the plotting area.
const mostPoints = 2 * (chartWidth - left - right)

// thin keeps of a long line, of each stretch that is half a unit wide, the lowest and the
// highest point: what is drawn is the same.
func thin(points []Point) []Point {
	if len(points) <= mostPoints {
		return points
	}
	stretches := mostPoints / 2
	var kept []Point
	for i := range stretches {
		from, to := i*len(points)/stretches, (i+1)*len(points)/stretches
		low, high := -1, -1
		for k := from; k < to; k++ {
			if !finite(points[k].X, points[k].Y) {
				continue
			}
			if low < 0 || points[k].Y < points[low].Y {
				low = k
			}
			if high < 0 || points[k].Y > points[high].Y {
				high = k
			}
		}
		if low < 0 {
			continue
		}
		kept = append(kept, points[min(low, high)])
		if low != high {
			kept = append(kept, points[max(low, high)])
		}
	}
	return kept
}

// Smooth is the mean of each point and its neighbours, as many on both sides: a
// fiftieth of the points, fewer at the ends. A mean over both sides does not lag
// behind, as one over the past would.
func Smooth(points []Point) []Point {
	reach := len(points) / 50
	before := make([]float64, len(points)+1) // sums of the values before each point
	for i, p := range points {
		before[i+1] = before[i] + p.Y
	}
	out := make([]Point, len(points))
	for i, p := range points {
		side := min(reach, i, len(points)-1-i)
		out[i] = Point{p.X, (before[i+side+1] - before[i-side]) / float64(2*side+1)}
	}
	return out
}

// spread moves labels down until none covers another, then back up where the last
// ones left the plotting area. Labels of single points stay where they are.
func spread(list []drawnSeries) {
	var byHeight []*drawnSeries
	for i := range list {
		if list[i].ShowsLabel && list[i].HasCurve {
			byHeight = append(byHeight, &list[i])
		}
	}
	slices.SortStableFunc(byHeight, func(a, b *drawnSeries) int { return cmp.Compare(a.LabelY, b.LabelY) })
	for i := 1; i < len(byHeight); i++ {
		byHeight[i].LabelY = max(byHeight[i].LabelY, byHeight[i-1].LabelY+labelGap)
	}
	limit := float64(chartHeight - bottom)
	for _, s := range slices.Backward(byHeight) {
		s.LabelY = min(s.LabelY, limit)
		limit = s.LabelY - labelGap
	}
}
