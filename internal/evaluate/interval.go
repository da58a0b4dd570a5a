package evaluate

import (
	"fmt"
	"math"
)

// Interval is the 95 % confidence interval of an accuracy that was measured on a number of images, as
// a fraction from 0 to 1. Of 20 sets of so many images, drawn at random, about 19 have intervals with
// the accuracy on all such images. Of no images it is from 0 to 1, since nothing is known.
//
// It is the score interval of E. B. Wilson (Probable inference, the law of succession, and
// statistical inference, JASA 22, 1927), which holds for few images and for fractions near
// 0 and 1 too (Brown, Cai and DasGupta, Interval estimation for a binomial proportion,
// Statistical Science 16, 2001):
//
//	(p + z²/2n ± z·√(p(1-p)/n + z²/4n²)) / (1 + z²/n)
//
// It is too wide, never too narrow, for a mean over architectures that saw the same images.
func Interval(fraction float64, images int) (low, high float64) {
	if images < 1 {
		return 0, 1
	}
	const z = 1.959963984540054 // of 97.5 % of a normal distribution
	n := float64(images)
	middle := fraction + z*z/(2*n)
	half := z * math.Sqrt(fraction*(1-fraction)/n+z*z/(4*n*n))
	whole := 1 + z*z/n
	return max(0, (middle-half)/whole), min(1, (middle+half)/whole)
}

// StandardError of an accuracy that was measured on a number of images: its standard deviation over
// sets of so many images, drawn at random. Of no images it is 0.
func StandardError(fraction float64, images int) float64 {
	return math.Sqrt(max(0, fraction*(1-fraction)) / float64(max(images, 1)))
}

// Range is an Interval in per cent, for people: "82.41 to 100.00".
func Range(fraction float64, images int) string {
	low, high := Interval(fraction, images)
	return fmt.Sprintf("%.2f to %.2f", 100*low, 100*high)
}
