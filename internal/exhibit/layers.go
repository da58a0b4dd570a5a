package exhibit

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"prenas/internal/chart"
	"prenas/internal/printable"
	"prenas/pkg/space"
)

// picture is an architecture drawn layer by layer, of either family:
//
//	■   ■           heads: a square each        ▪ ■   ■ ▪   kernels: a square as wide
//	■ ■ ■ ■
//	4 3 4 3                                     3 5   5 3
//	─────────                                   ─────────
//	█ █ █ ▄         MLP: a bar as wide as a     █ ▄   █ █   expansions; units are apart
//	4 4 4 3.5       layer, as high as its ratio 6 3   6 6
type picture struct {
	Class, Label, Arch   string
	Caption, Title       string
	Above, Below         string // what is drawn
	Width, Height        int
	AboveText, BelowText float64 // heights of the two lines of numbers
	Layers               []layer
}

type layer struct {
	X, Middle    float64
	Title        string
	Squares      []square
	Above, Below string
	Bar          float64 // upper edge of the bar
	BarHeight    float64
}

// square of a layer, by its upper left corner.
type square struct{ X, Y, Width, Height float64 }

// Measures of a picture in SVG units.
const (
	pictureLeft = 52
	headHeight  = 12
	headStep    = headHeight + 2
	column      = 30
	columnWidth = 24
	unitGap     = 16
	barUnit     = 14 // height of a ratio of 1
	kernelUnit  = 4  // side of a kernel of 1
)

// drawable is a layer in the way that its family is drawn.
type drawable struct {
	x       float64 // of its column
	title   string
	above   int
	squares []square // their Y is above the base
	ratio   float64
}

func legend(arch space.Arch) string {
	if arch.IsConv() {
		return "Above, a square as wide as the kernel; below, the expansion. All are drawn to one scale; the first layer is on the left, and units stand apart."
	}
	return "Above, a square per attention head; below, the MLP ratio. All are drawn to one scale; the first layer is on the left."
}

// pictures draws all architectures on one scale, so that they can be compared.
func pictures(archs []space.Arch) []picture {
	all, tallest, ratio := make([][]drawable, len(archs)), 0.0, 0.0
	for i, a := range archs {
		all[i] = drawables(a)
		for _, d := range all[i] {
			ratio = max(ratio, d.ratio)
			for _, q := range d.squares {
				tallest = max(tallest, q.Y)
			}
		}
	}
	base := tallest + 4
	barsTop := base + 26
	barsBase := barsTop + ratio*barUnit
	var list []picture
	for i, a := range archs {
		drawn := all[i]
		p := picture{
			Class: chart.Class(i), Label: chart.Label(i), Arch: a.String(),
			Width: int(drawn[len(drawn)-1].x) + column, Height: int(math.Ceil(barsBase)) + 20,
			AboveText: base + 12, BelowText: chart.Round(barsBase) + 14,
		}
		p.words(a)
		for _, d := range drawn {
			l := layer{
				X: d.x, Middle: d.x + column/2 - 3, Title: d.title, Above: strconv.Itoa(d.above), Below: strconv.FormatFloat(d.ratio, 'g', 4, 64),
				Bar: chart.Round(barsBase - d.ratio*barUnit), BarHeight: chart.Round(d.ratio * barUnit),
			}
			for _, q := range d.squares {
				q.Y = base - q.Y
				l.Squares = append(l.Squares, q)
			}
			p.Layers = append(p.Layers, l)
		}
		list = append(list, p)
	}
	return list
}

// words describe a picture in a line.
func (p *picture) words(a space.Arch) {
	if a.IsConv() {
		var depths []string
		for _, layers := range a.Units {
			depths = append(depths, strconv.Itoa(len(layers)))
		}
		p.Caption = fmt.Sprintf("%s, units of %s layers", printable.Count(a.Resolution, "pixel"), strings.Join(depths, ", "))
		p.Title, p.Above, p.Below = "Kernels and expansions of "+a.String()+", layer by layer", "kernel", "expand"
		return
	}
	p.Caption = fmt.Sprintf("embedding %d, depth %d", a.EmbedDim, a.Depth())
	if a.Layers != nil {
		p.Caption += fmt.Sprintf(", blocks %s", strings.Trim(fmt.Sprint(a.Layers), "[]"))
	}
	p.Title, p.Above, p.Below = "Heads and MLP ratios of "+a.String()+", layer by layer", "heads", "MLP"
}

func drawables(a space.Arch) []drawable {
	var list []drawable
	for l, heads := range a.NumHeads {
		d := drawable{
			x: float64(pictureLeft + l*column), above: heads, ratio: a.MLPRatio[l],
			title: fmt.Sprintf("layer %d: %s, MLP ratio %s", a.Layer(l), printable.Count(heads, "head"), strconv.FormatFloat(a.MLPRatio[l], 'g', 4, 64)),
		}
		for h := range heads {
			d.squares = append(d.squares, square{d.x, float64((h + 1) * headStep), columnWidth, headHeight})
		}
		list = append(list, d)
	}
	x := float64(pictureLeft)
	for u, layers := range a.Units {
		for l, choice := range layers {
			side := float64(choice.Kernel * kernelUnit)
			list = append(list, drawable{
				x: x, above: choice.Kernel, ratio: choice.Expand,
				title:   fmt.Sprintf("unit %d, layer %d: kernel %d, expansion %s", u+1, l, choice.Kernel, strconv.FormatFloat(choice.Expand, 'g', 4, 64)),
				squares: []square{{x + max(0, columnWidth-side)/2, side + 2, side, side}},
			})
			x += column
		}
		x += unitGap
	}
	return list
}
