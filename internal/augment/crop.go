package augment

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
)

// whole is the rectangle of an image.
func whole(img Image) image.Rectangle { return image.Rect(0, 0, img.Width, img.Height) }

// DrawCrop draws a part of an image as torchvision's RandomResizedCrop does: ten
// tries at a share of the area, uniform in scale, and an aspect (width/height),
// log-uniform in ratio; then the middle, with the aspect brought into ratio.
func DrawCrop(height, width int, scale, ratio [2]float64, r *rand.Rand) image.Rectangle {
	low, high := math.Log(ratio[0]), math.Log(ratio[1])
	for range 10 {
		area := float64(height*width) * uniform(r, scale[0], scale[1])
		aspect := math.Exp(uniform(r, low, high))
		w, h := round(math.Sqrt(area*aspect)), round(math.Sqrt(area/aspect))
		if 0 < w && w <= width && 0 < h && h <= height {
			y, x := r.IntN(height-h+1), r.IntN(width-w+1)
			return image.Rect(x, y, x+w, y+h)
		}
	}
	w, h := width, height
	switch aspect := float64(width) / float64(height); {
	case aspect < ratio[0]:
		h = min(height, max(1, round(float64(width)/ratio[0])))
	case aspect > ratio[1]:
		w = min(width, max(1, round(float64(height)*ratio[1])))
	}
	y, x := (height-h)/2, (width-w)/2
	return image.Rect(x, y, x+w, y+h)
}

// round is Python's: halves go to the even neighbour.
func round(x float64) int { return int(math.RoundToEven(x)) }

func uniform(r *rand.Rand, low, high float64) float64 { return low + (high-low)*r.Float64() }

// shorter is the size of an image whose shorter side is resized to side.
func shorter(height, width, side int) (h, w int) {
	if width <= height {
		return side * height / width, side
	}
	return side, side * width / height
}

// Shrink resizes an image whose shorter side is longer than side to that, bicubic;
// another stays as it is.
func Shrink(img Image, side int) Image {
	if min(img.Height, img.Width) <= side {
		return img
	}
	h, w := shorter(img.Height, img.Width, side)
	return Resize(img, whole(img), h, w, Bicubic)
}

// middle is where a length begins within another, in the middle.
func middle(length, within int) int { return round(float64(within-length) / 2) }

// CentreCrop resizes the shorter side to side and cuts the middle size x size
// out, side being at least size.
func CentreCrop(img Image, side, size int, f Filter) Image {
	cut := centre(img.Height, img.Width, side, size, f)
	return cut.resize(NewPiece(img, cut))
}

// centre is the cut of [CentreCrop].
func centre(height, width, side, size int, f Filter) Cut {
	h, w := shorter(height, width, side)
	y, x := middle(size, h), middle(size, w)
	return Cut{image.Rect(0, 0, width, height), h, w, image.Rect(x, y, x+size, y+size), f}
}

// CropCounts are the numbers of crops that [Crops] takes.
var CropCounts = []int{1, 5, 10}

// Crops resizes the shorter side to side and cuts out size x size pixels, side
// being at least size: 1 the middle; 5 top left, top right, bottom left, bottom
// right, middle; 10 those, and the same of the mirrored image.
func Crops(img Image, side, size, count int, f Filter) ([]Image, error) {
	five := func(img Image) []Image {
		bottom, right := img.Height-size, img.Width-size
		return []Image{
			Crop(img, 0, 0, size, size), Crop(img, 0, right, size, size),
			Crop(img, bottom, 0, size, size), Crop(img, bottom, right, size, size),
			Crop(img, middle(size, img.Height), middle(size, img.Width), size, size),
		}
	}
	switch count {
	case 1:
		return []Image{CentreCrop(img, side, size, f)}, nil
	case 5, 10:
		h, w := shorter(img.Height, img.Width, side)
		img = Resize(img, whole(img), h, w, f)
		crops := five(img)
		if count == 10 {
			crops = append(crops, five(Flip(img))...)
		}
		return crops, nil
	}
	return nil, fmt.Errorf("%w: %d crops, must be one of %v", ErrOption, count, CropCounts)
}
