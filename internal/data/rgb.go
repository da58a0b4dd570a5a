package data

import (
	"image"
	"image/color"
)

// FromImage copies a decoded image as RGB; transparency is dropped.
func FromImage(from image.Image) Image { return fromImage(from, from.Bounds()) }

// fromImage copies a part, which must lie within the bounds.
func fromImage(from image.Image, part image.Rectangle) Image {
	img := Image{Pixels: make([]uint8, 3*part.Dx()*part.Dy()), Height: part.Dy(), Width: part.Dx(), Channels: 3}
	to := img.Pixels
	switch from := from.(type) {
	case *image.YCbCr:
		fromYCbCr(from, part, to)
		return img
	case *image.Gray:
		for y := part.Min.Y; y < part.Max.Y; y++ {
			for _, v := range from.Pix[from.PixOffset(part.Min.X, y):][:img.Width] {
				to[0], to[1], to[2] = v, v, v
				to = to[3:]
			}
		}
		return img
	case *image.NRGBA:
		for y := part.Min.Y; y < part.Max.Y; y++ {
			row := from.Pix[from.PixOffset(part.Min.X, y):][:4*img.Width]
			for len(row) >= 4 {
				to[0], to[1], to[2] = row[0], row[1], row[2]
				to, row = to[3:], row[4:]
			}
		}
		return img
	}
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			c := color.NRGBAModel.Convert(from.At(x, y)).(color.NRGBA)
			to[0], to[1], to[2] = c.R, c.G, c.B
			to = to[3:]
		}
	}
	return img
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
