package augment

import (
	"encoding/binary"
	"image"
	"math"
	"sync"
)

// Resizing is PIL's: each output value is a weighted sum of the input values
// under the filter, whose width grows with the scale so that shrinking does not
// alias. Columns first, then rows, each pass rounded to 8 bits:
//
//	weights   24 bits: filter((i - centre + 1/2)/scale), divided by their sum, times 2^22
//	value     (2^21 + Σ weight·pixel) >> 22, cut to 0..255
//
// A sum fits in 32 bits, so one 64-bit product serves two pixels: p + q·2^32
// times a weight is the two products side by side, exact modulo 2^64. The lower
// sum may be negative and borrow from the upper one; unpack gives it back. Where
// the processor has AVX2, eight products at a time do the same.

// precision of a weight, in bits after the point.
const precision = 22

// half is the rounding term of both sums.
const half = 1<<(precision-1) | 1<<(precision-1+32)

// taps are the weights of every output position along one axis.
type taps struct {
	start   []int   // of the first input position
	end     []int   // behind the last one
	weights []int32 // size of them for each output position, unused ones at the end
	size    int
	raw     []float64
}

// set computes the weights of count output positions, from one on, where length of in
// positions, after the first offset of them, become out.
func (t *taps) set(offset, length float64, in, out, from, count int, f Filter) {
	scale := length / float64(out)
	wide := max(scale, 1)
	narrow, support := 1/wide, f.support()*wide
	t.size = int(math.Ceil(support))*2 + 1
	t.start, t.end = grow(t.start, count), grow(t.end, count)
	t.weights, t.raw = grow(t.weights, count*t.size), grow(t.raw, t.size)
	for x := range count {
		centre := offset + (float64(from+x)+0.5)*scale
		first, last := max(0, int(centre-support+0.5)), min(in, int(centre+support+0.5))
		sum := 0.0
		for i := first; i < last; i++ {
			w := f.at((float64(i) - centre + 0.5) * narrow)
			t.raw[i-first] = w
			sum += w
		}
		weights := t.weights[x*t.size:][:last-first]
		for i := range weights {
			weights[i] = int32(math.Trunc(t.raw[i]/sum*(1<<precision) + math.Copysign(0.5, t.raw[i])))
		}
		t.start[x], t.end[x] = first, last
	}
}

// at is the weights of output position number x.
func (t *taps) at(x int) (first int, weights []int32) {
	first = t.start[x]
	return first, t.weights[x*t.size:][:t.end[x]-first]
}

// grow returns a slice of n elements, the same memory if it is large enough.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// unpack takes the two rounded values out of a double sum.
func unpack(sum int64) (low, high uint8) {
	l := int32(sum)
	h := int32((sum - int64(l)) >> 32)
	return clip(l >> precision), clip(h >> precision)
}

func clip(v int32) uint8 {
	if uint32(v) > 255 { // also what is negative
		return uint8(^(v >> 31)) // 0 or 255
	}
	return uint8(v)
}

// resizing is the memory of one resize.
type resizing struct {
	across, down taps
	pairs        []int64  // two rows side by side, a value each
	pixels       []uint64 // the same, a pixel each
	middle       []uint8  // after the first pass
}

// slack is what the rows of middle have behind them.
const slack = 4

var resizings = sync.Pool{New: func() any { return new(resizing) }}

// Resize resizes a part of an image, as if it had been cut out before, to
// height x width pixels.
func Resize(img Image, part image.Rectangle, height, width int, f Filter) Image {
	cut := Cut{part, height, width, image.Rect(0, 0, width, height), f}
	return cut.resize(NewPiece(img, cut))
}

// resize makes the window of what a piece becomes.
func (cut Cut) resize(p Piece) Image {
	window, c := cut.Window, p.Channels
	part := p.Box.hull()
	across, down := p.Box.Right-p.Box.Left, p.Box.Bottom-p.Box.Top
	sameWidth := across == float64(cut.Width) && part.Dx() == cut.Width // also not shifted by part of a pixel
	sameHeight := down == float64(cut.Height) && part.Dy() == cut.Height
	if sameWidth && sameHeight {
		return Crop(p.Image, part.Min.Y+window.Min.Y, part.Min.X+window.Min.X, window.Dy(), window.Dx())
	}
	r := resizings.Get().(*resizing)
	defer resizings.Put(r)
	out := newImage(window.Dy(), window.Dx(), c)

	// The input rows that the window needs.
	first, last := window.Min.Y, window.Max.Y
	if !sameHeight {
		r.down.set(p.Box.Top-float64(part.Min.Y), down, part.Dy(), cut.Height, window.Min.Y, window.Dy(), cut.Filter)
		first, last = r.down.start[0], r.down.end[window.Dy()-1]
	}
	stride := p.Width * c
	from := p.Pixels[(part.Min.Y+first)*stride+part.Min.X*c:]
	if sameWidth {
		from = from[window.Min.X*c:]
	} else {
		r.across.set(p.Box.Left-float64(part.Min.X), across, part.Dx(), cut.Width, window.Min.X, window.Dx(), cut.Filter)
		r.columns(from, stride, last-first, part.Dx(), window.Dx(), c)
		from, stride = r.middle, window.Dx()*c+slack
	}
	row := window.Dx() * c
	for y := range window.Dy() {
		if sameHeight {
			copy(out.Pixels[y*row:][:row], from[y*stride:])
			continue
		}
		start, weights := r.down.at(y)
		sumRows(out.Pixels[y*row:][:row], from[(start-first)*stride:], stride, weights)
	}
	return out
}

// columns is the first pass, two rows at a time.
func (r *resizing) columns(from []uint8, stride, rows, columns, width, c int) {
	n, to := columns*c, width*c+slack
	r.pairs, r.middle = grow(r.pairs, n), grow(r.middle, rows*to)
	for y := 0; y < rows; y += 2 {
		next := min(y+1, rows-1) // a last odd row stands beside itself
		upper, lower := from[y*stride:][:n], from[next*stride:][:n]
		toUpper, toLower := r.middle[y*to:][:to], r.middle[next*to:][:to]
		if c == 3 && r.colourFast(upper, lower, toUpper, toLower, columns, width) {
			continue
		}
		for i := range upper {
			r.pairs[i] = int64(upper[i]) | int64(lower[i])<<32
		}
		if c == 3 {
			r.colour(toUpper, toLower, width)
		} else {
			r.grey(toUpper, toLower, width)
		}
	}
}

func (r *resizing) colour(upper, lower []uint8, width int) {
	for x := range width {
		first, weights := r.across.at(x)
		red, green, blue := int64(half), int64(half), int64(half)
		p := r.pairs[3*first:]
		for _, weight := range weights {
			w := int64(weight)
			red += p[0] * w
			green += p[1] * w
			blue += p[2] * w
			p = p[3:]
		}
		u, l := upper[3*x:3*x+3:3*x+3], lower[3*x:3*x+3:3*x+3]
		u[0], l[0] = unpack(red)
		u[1], l[1] = unpack(green)
		u[2], l[2] = unpack(blue)
	}
}

func (r *resizing) grey(upper, lower []uint8, width int) {
	for x := range width {
		first, weights := r.across.at(x)
		sum := int64(half)
		p := r.pairs[first:][:len(weights)]
		for i, w := range weights {
			sum += p[i] * int64(w)
		}
		upper[x], lower[x] = unpack(sum)
	}
}

// sumRows is the second pass for one output row: the weighted sum of rows of
// from, which stand stride apart, eight values at a time.
func sumRows(out, from []uint8, stride int, weights []int32) {
	const lanes = 0x000000ff000000ff
	x := sumRowsFast(out, from, stride, weights)
	for ; x+8 <= len(out); x += 8 {
		a, b, c, d := int64(half), int64(half), int64(half), int64(half)
		at := x
		for _, weight := range weights {
			w := int64(weight)
			v := binary.LittleEndian.Uint64(from[at:])
			a += int64(v&lanes) * w
			b += int64(v>>8&lanes) * w
			c += int64(v>>16&lanes) * w
			d += int64(v>>24&lanes) * w
			at += stride
		}
		o := out[x : x+8 : x+8]
		o[0], o[4] = unpack(a)
		o[1], o[5] = unpack(b)
		o[2], o[6] = unpack(c)
		o[3], o[7] = unpack(d)
	}
	for ; x < len(out); x++ {
		sum := int64(half)
		at := x
		for _, w := range weights {
			sum += int64(from[at]) * int64(w)
			at += stride
		}
		out[x], _ = unpack(sum)
	}
}
