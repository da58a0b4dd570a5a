package chart

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAxis(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   []string
	}{
		{[]float64{0.13, 0.42}, []string{"0.10", "0.15", "0.20", "0.25", "0.30", "0.35", "0.40", "0.45"}},
		{[]float64{88.1, 90.7}, []string{"88.0", "88.5", "89.0", "89.5", "90.0", "90.5", "91.0"}},
		{[]float64{100, 2000}, []string{"0", "500", "1000", "1500", "2000"}},
		{[]float64{5}, []string{"4.4", "4.6", "4.8", "5.0", "5.2", "5.4", "5.6"}},
		{nil, []string{"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"}},
		{[]float64{math.NaN(), math.Inf(1), 1, 2}, []string{"1.0", "1.2", "1.4", "1.6", "1.8", "2.0"}},
	} {
		a := newAxis(test.values, 0, 100)
		var got []string
		for _, tick := range a.ticks() {
			got = append(got, tick.Text)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("ticks of %v (-want +got):\n%s", test.values, diff)
		}
	}
}

func TestSpreadKeepsLabelsApart(t *testing.T) {
	list := []drawnSeries{{LabelY: 270}, {LabelY: 272}, {LabelY: 20}, {LabelY: 271}}
	for i := range list {
		list[i].HasCurve, list[i].ShowsLabel = true, true
	}
	spread(list)
	for i, a := range list {
		for _, b := range list[i+1:] {
			if math.Abs(a.LabelY-b.LabelY) < labelGap {
				t.Errorf("labels at %v and %v overlap", a.LabelY, b.LabelY)
			}
		}
		if a.LabelY > chartHeight-bottom {
			t.Errorf("label at %v is below the plot", a.LabelY)
		}
	}
}

func TestSmoothKeepsAStraightLine(t *testing.T) {
	var line []Point
	for i := range 200 {
		line = append(line, Point{float64(i), 3 * float64(i)})
	}
	for i, p := range Smooth(line) {
		if math.Abs(p.Y-line[i].Y) > 1e-9 {
			t.Fatalf("point %d is %v, want %v", i, p.Y, line[i].Y)
		}
	}
}
