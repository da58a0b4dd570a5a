//go:build !amd64

package augment

var hasVectors = false

func sumRowsFast(out, from []uint8, stride int, weights []int32) int { return 0 }

func (r *resizing) colourFast(upper, lower, toUpper, toLower []uint8, columns, width int) bool {
	return false
}
