package supernet

import "slices"

// CutSlice copies the slice of a shape, where Origin says, out of the values of a whole tensor.
// The shape has as many axes as the whole, and no longer ones.
func CutSlice(from []float32, whole, shape []int) []float32 {
	size := 1
	for _, n := range shape {
		size *= n
	}
	out := make([]float32, size)
	eachRow(whole, shape, func(inSlice, inWhole, count int) { copy(out[inSlice:][:count], from[inWhole:]) })
	return out
}

// PlaceSlice copies the values of a slice of a shape into those of the whole that it is a slice
// of: the inverse of CutSlice.
func PlaceSlice(from []float32, shape []int, to []float32, whole []int) {
	eachRow(whole, shape, func(inSlice, inWhole, count int) { copy(to[inWhole:][:count], from[inSlice:]) })
}

// eachRow calls row for the parts of a slice that lie together in the whole, with where each
// begins in both and how many values it has.
func eachRow(whole, shape []int, row func(inSlice, inWhole, count int)) {
	origin := Origin(shape, whole)
	var walk func(axis, inSlice, inWhole, small, large int)
	walk = func(axis, inSlice, inWhole, small, large int) {
		if axis == len(whole) || slices.Equal(shape[axis:], whole[axis:]) {
			row(inSlice, inWhole, small)
			return
		}
		small, large = small/shape[axis], large/whole[axis]
		for i := range shape[axis] {
			walk(axis+1, inSlice+i*small, inWhole+(origin[axis]+i)*large, small, large)
		}
	}
	small, large := 1, 1
	for axis := range whole {
		small, large = small*shape[axis], large*whole[axis]
	}
	if small > 0 {
		walk(0, 0, 0, small, large)
	}
}
