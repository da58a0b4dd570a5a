package picture

import (
	"image"
	"image/color"
)

// Pixels is an image of 8-bit RGB, [height, width, 3].
type Pixels struct {
	Pix  []uint8
	Rect image.Rectangle
}

// NewPixels is a black image.
func NewPixels(width, height int) *Pixels {
	return &Pixels{make([]uint8, 3*width*height), image.Rect(0, 0, width, height)}
}

// row y of the values.
func (p *Pixels) row(y int) []uint8 {
	n := 3 * p.Rect.Dx()
	return p.Pix[(y-p.Rect.Min.Y)*n:][:n:n]
}

// ColorModel is RGBA's.
func (p *Pixels) ColorModel() color.Model { return color.RGBAModel }

// Bounds is where the pixels are.
func (p *Pixels) Bounds() image.Rectangle { return p.Rect }

// At is a pixel; black outside.
func (p *Pixels) At(x, y int) color.Color {
	if !(image.Point{X: x, Y: y}).In(p.Rect) {
		return color.RGBA{}
	}
	v := p.row(y)[3*(x-p.Rect.Min.X):]
	return color.RGBA{v[0], v[1], v[2], 255}
}

// RGB copies a part of an image, which must lie within its bounds, as [height, width, 3];
// transparency is dropped.
func RGB(from image.Image, part image.Rectangle) []uint8 {
	width := part.Dx()
	all := make([]uint8, 3*width*part.Dy())
	if from, ok := from.(*image.YCbCr); ok {
		fromYCbCr(from, part, all)
		return all
	}
	copyRow := rowCopier(from)
	for y := part.Min.Y; y < part.Max.Y; y++ {
		copyRow(part.Min.X, y, all[3*(y-part.Min.Y)*width:][:3*width])
	}
	return all
}

// rowCopier is how pixels from (x, y) on to the right become RGB, as many as fit.
func rowCopier(from image.Image) func(x, y int, to []uint8) {
	switch from := from.(type) {
	case *Pixels:
		return func(x, y int, to []uint8) { copy(to, from.row(y)[3*(x-from.Rect.Min.X):]) }
	case *image.Gray:
		return func(x, y int, to []uint8) {
			for i, v := range from.Pix[from.PixOffset(x, y):][:len(to)/3] {
				to[3*i], to[3*i+1], to[3*i+2] = v, v, v
			}
		}
	case *image.Gray16:
		return func(x, y int, to []uint8) {
			row := from.Pix[from.PixOffset(x, y):]
			for i := range len(to) / 3 {
				v := row[2*i]
				to[3*i], to[3*i+1], to[3*i+2] = v, v, v
			}
		}
	case *image.NRGBA:
		return func(x, y int, to []uint8) { everyFourth(from.Pix[from.PixOffset(x, y):], to) }
	case *image.RGBA:
		if !from.Opaque() {
			break
		}
		return func(x, y int, to []uint8) { everyFourth(from.Pix[from.PixOffset(x, y):], to) }
	case *image.NRGBA64: // what is wholly transparent has a colour too
		return func(x, y int, to []uint8) { highBytes(from.Pix[from.PixOffset(x, y):], to) }
	case *image.RGBA64:
		if !from.Opaque() {
			break
		}
		return func(x, y int, to []uint8) { highBytes(from.Pix[from.PixOffset(x, y):], to) }
	case *image.CMYK:
		return func(x, y int, to []uint8) { fromCMYK(from.Pix[from.PixOffset(x, y):], to) }
	case *image.Paletted:
		var palette [256][3]uint8
		for i, c := range from.Palette {
			palette[i] = opaque(c)
		}
		return func(x, y int, to []uint8) {
			for i, v := range from.Pix[from.PixOffset(x, y):][:len(to)/3] {
				copy(to[3*i:], palette[v][:])
			}
		}
	}
	return func(x, y int, to []uint8) {
		for i := range len(to) / 3 {
			c := opaque(from.At(x+i, y))
			copy(to[3*i:], c[:])
		}
	}
}

// opaque is a colour without its transparency.
func opaque(c color.Color) [3]uint8 {
	v := color.NRGBAModel.Convert(c).(color.NRGBA)
	return [3]uint8{v.R, v.G, v.B}
}

func everyFourth(row, to []uint8) {
	for ; len(to) >= 3; to, row = to[3:], row[4:] {
		to[0], to[1], to[2] = row[0], row[1], row[2]
	}
}

func highBytes(row, to []uint8) {
	for ; len(to) >= 3; to, row = to[3:], row[8:] {
		to[0], to[1], to[2] = row[0], row[2], row[4]
	}
}

// fromCMYK turns CMYK into RGB as Pillow does, without regard to inks.
func fromCMYK(row, to []uint8) {
	for ; len(to) >= 3; to, row = to[3:], row[4:] {
		white := 255 - int32(row[3])
		for c := range 3 {
			product := int32(row[c])*white + 128
			to[c] = uint8(white - (product>>8+product)>>8)
		}
	}
}

// fromYCbCr turns luma and chroma into RGB as libjpeg does, which is what PIL
// decodes with: chroma of fewer columns or rows is interpolated, 3/4 of the
// near value and 1/4 of the next one, and the products of BT.601 are rounded
// together in 16-bit fixed point. to is [height, width, 3] of the part.
func fromYCbCr(from *image.YCbCr, part image.Rectangle, to []uint8) {
	all := from.Rect.Dx()
	cb, cr := make([]uint8, all+1), make([]uint8, all+1)
	sums := make([]int32, all+1)
	width, left := part.Dx(), part.Min.X-from.Rect.Min.X
	for y := part.Min.Y; y < part.Max.Y; y++ {
		chromaRow(from, from.Cb, y-from.Rect.Min.Y, sums, cb)
		chromaRow(from, from.Cr, y-from.Rect.Min.Y, sums, cr)
		luma := from.Y[from.YOffset(part.Min.X, y):][:width]
		row := to[3*(y-part.Min.Y)*width:][:3*width]
		blue, red := cb[left:][:width], cr[left:][:width]
		for x, v := range luma {
			p := row[3*x : 3*x+3 : 3*x+3]
			l, b, r := int32(v), int32(blue[x])-128, int32(red[x])-128
			p[0] = clip(l + (91881*r+1<<15)>>16)
			p[1] = clip(l + (-22554*b-46802*r+1<<15)>>16)
			p[2] = clip(l + (116130*b+1<<15)>>16)
		}
	}
}

func clip(v int32) uint8 {
	if uint32(v) > 255 { // also what is negative
		return uint8(^(v >> 31)) // 0 or 255
	}
	return uint8(v)
}

// chromaRow writes row y of a chroma plane at full width; out and sums hold one
// value more than the width.
func chromaRow(from *image.YCbCr, plane []uint8, y int, sums []int32, out []uint8) {
	width, height := from.Rect.Dx(), from.Rect.Dy()
	columns, rows := (width+1)/2, (height+1)/2 // where there is half of them
	line := func(y int) []uint8 { return plane[y*from.CStride:] }
	near, next, bias := y/2, y/2-1+y%2*2, int32(1+y%2)
	next = min(max(next, 0), rows-1)
	fits := from.Rect.Min == image.Point{}
	switch ratio := from.SubsampleRatio; {
	case fits && ratio == image.YCbCrSubsampleRatio444:
		copy(out, line(y)[:width])
	case fits && ratio == image.YCbCrSubsampleRatio422 && columns > 2:
		for i, v := range line(y)[:columns] {
			sums[i] = int32(v)
		}
		widen(sums[:columns], out, 2, 1, 2)
	case fits && ratio == image.YCbCrSubsampleRatio420 && columns > 2:
		a, b := line(near)[:columns], line(next)[:columns]
		for i := range a {
			sums[i] = 3*int32(a[i]) + int32(b[i])
		}
		widen(sums[:columns], out, 4, 8, 7)
	case fits && ratio == image.YCbCrSubsampleRatio440:
		a, b := line(near)[:width], line(next)[:width]
		for i := range a {
			out[i] = uint8((3*int32(a[i]) + int32(b[i]) + bias) >> 2)
		}
	default: // values are repeated
		for x := range width {
			out[x] = plane[from.COffset(from.Rect.Min.X+x, from.Rect.Min.Y+y)]
		}
	}
}

// widen doubles a row: 3/4 of each value and 1/4 of the one to its left, then to its
// right. Sums are shifted down by shift bits, with a term before the left ones and one
// before the right ones that makes the rounding fall to either side in turn.
func widen(sums []int32, out []uint8, shift int, left, right int32) {
	last := len(sums) - 1
	for i, v := range sums {
		before, after := sums[max(i-1, 0)], sums[min(i+1, last)]
		out[2*i] = uint8((3*v + before + left) >> shift)
		out[2*i+1] = uint8((3*v + after + right) >> shift)
	}
}
