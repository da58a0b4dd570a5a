package chart

import (
	"bytes"
	"encoding/xml"
	"io"
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
	smooth := Smooth(line)
	if len(smooth) != len(line) {
		t.Fatalf("%d points became %d", len(line), len(smooth))
	}
	for i, p := range smooth {
		if p.X != line[i].X || !(math.Abs(p.Y-line[i].Y) <= 1e-9) {
			t.Fatalf("point %d is %v, want %v", i, p, line[i])
		}
	}
}

// A picture by itself is whole XML with its own style, and has what the chart has.
func TestSVGStandsAlone(t *testing.T) {
	c := Chart{Title: "a < b", XLabel: "x", YLabel: "y", Series: []Series{
		{Name: "one", Label: "one", Class: Class(0), Thick: []Point{{1, 2}, {3, 4}}, Marks: []Mark{{Point: Point{1, 2}, Low: 1, High: 3, Text: "1 & 2"}}},
	}}
	text, err := c.SVG()
	if err != nil {
		t.Fatal(err)
	}
	elements := map[string]int{}
	for d := xml.NewDecoder(bytes.NewReader(text)); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if e, is := token.(xml.StartElement); is {
			if e.Name.Space != "http://www.w3.org/2000/svg" {
				t.Errorf("%s is in the name space %q", e.Name.Local, e.Name.Space)
			}
			elements[e.Name.Local]++
		}
	}
	if elements["svg"] != 1 || elements["style"] != 1 || elements["polyline"] != 1 || elements["circle"] != 1 || elements["path"] != 1 {
		t.Errorf("it has %v", elements)
	}
}
