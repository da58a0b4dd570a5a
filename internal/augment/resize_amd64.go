package augment

import (
	"encoding/binary"

	"golang.org/x/sys/cpu"
)

// sumRowsAVX2 is [sumRows] for blocks of sixteen values, at least one block of
// at least one tap.
//
//go:noescape
func sumRowsAVX2(out, from *uint8, stride int, weights *int32, taps, blocks int)

// sumPairsAVX2 computes n pixels of two rows of the first pass; of each pair of
// pixels, bytes 0 to 2 are the upper one and bytes 4 to 6 the lower one. It
// writes one byte behind the last pixel.
//
//go:noescape
func sumPairsAVX2(upper, lower *uint8, pairs *uint64, start, end *int, weights *int32, size, n int)

// hasVectors is a variable, so that tests can take the other way.
var hasVectors = cpu.X86.HasAVX2

// sumRowsFast computes the first values of a row and says how many.
func sumRowsFast(out, from []uint8, stride int, weights []int32) int {
	blocks := len(out) / 16
	if !hasVectors || blocks == 0 {
		return 0
	}
	_ = from[(len(weights)-1)*stride+blocks*16-1]
	sumRowsAVX2(&out[0], &from[0], stride, &weights[0], len(weights), blocks)
	return blocks * 16
}

// colourFast makes two colour rows of the first pass, where it can.
func (r *resizing) colourFast(upper, lower, toUpper, toLower []uint8, columns, width int) bool {
	if !hasVectors {
		return false
	}
	r.pixels = grow(r.pixels, columns)
	last := columns - 1
	for x := range r.pixels[:last] {
		r.pixels[x] = uint64(binary.LittleEndian.Uint32(upper[3*x:])) | uint64(binary.LittleEndian.Uint32(lower[3*x:]))<<32
	}
	u, l := upper[3*last:3*last+3], lower[3*last:3*last+3]
	r.pixels[last] = uint64(u[0]) | uint64(u[1])<<8 | uint64(u[2])<<16 | uint64(l[0])<<32 | uint64(l[1])<<40 | uint64(l[2])<<48
	_, _ = toUpper[3*width], toLower[3*width]
	a := &r.across
	sumPairsAVX2(&toUpper[0], &toLower[0], &r.pixels[0], &a.start[0], &a.end[0], &a.weights[0], a.size, width)
	return true
}
