package augment

import "math"

// Filter is an interpolation.
type Filter uint8

// Filters. Both widen when shrinking.
const (
	Bilinear Filter = iota
	Bicubic         // Keys' cubic with a = -0.5
)

func (f Filter) support() float64 {
	if f == Bicubic {
		return 2
	}
	return 1
}

func (f Filter) at(x float64) float64 {
	x = math.Abs(x)
	switch {
	case f == Bilinear && x < 1:
		return 1 - x
	case f == Bicubic && x < 1:
		return (1.5*x-2.5)*x*x + 1
	case f == Bicubic && x < 2:
		return (((x-5)*x+8)*x - 4) * -0.5
	}
	return 0
}
