package supernet

import (
	"slices"
	"testing"
)

// A slice of a matrix is its first rows and columns, of kernels of an odd size the middle, and
// what is cut out and placed again is where it was, with nothing else touched.
func TestSlicesAreCutAndPlaced(t *testing.T) {
	for _, c := range []struct {
		whole, shape []int
		want         []float32
	}{
		{[]int{3, 4}, []int{2, 3}, []float32{0, 1, 2, 4, 5, 6}},
		{[]int{5}, []int{2}, []float32{0, 1}},
		{[]int{2, 3}, []int{2, 3}, []float32{0, 1, 2, 3, 4, 5}},
		{[]int{2, 1, 5, 5}, []int{1, 1, 3, 3}, []float32{6, 7, 8, 11, 12, 13, 16, 17, 18}},
	} {
		size := 1
		for _, n := range c.whole {
			size *= n
		}
		from, to := make([]float32, size), make([]float32, size)
		for i := range from {
			from[i], to[i] = float32(i), -1
		}
		got := CutSlice(from, c.whole, c.shape)
		if !slices.Equal(got, c.want) {
			t.Errorf("the slice %v of %v is %v, want %v", c.shape, c.whole, got, c.want)
		}
		PlaceSlice(got, c.shape, to, c.whole)
		for i, v := range to {
			if in := slices.Contains(c.want, float32(i)); in && v != float32(i) || !in && v != -1 {
				t.Errorf("slice %v of %v: place %d has %v", c.shape, c.whole, i, v)
			}
		}
	}
}
