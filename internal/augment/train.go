package augment

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"slices"
)

// Options of training. The zero value resizes and cuts the middle out.
type Options struct {
	Crop          string     // of [CropModes]; empty: the first
	Pad           int        // black pixels around the image before a random crop, with crop pad
	Scale, Ratio  [2]float64 // share of the area and width/height of a resized crop
	Interpolation string     // of [Interpolations]; empty: the first
	Flip          float64    // probability of mirroring left and right
	FlipVertical  float64    // and top and bottom
	Policy        string     // see [Policy]; empty: none
	Jitter        float64    // strength of the colour jitter, used where there is no policy
	Erase         Erase
}

// CropModes are how a training image gets its size: the middle; a random place
// of the padded middle; a random part, resized.
var CropModes = []string{"none", "pad", "resized"}

// Interpolations of resizing and of policies; random draws one of the two each
// time.
var Interpolations = []string{"bicubic", "bilinear", "random"}

// Train augments training images.
type Train struct {
	in      *Input
	o       Options
	policy  *Policy
	filters []Filter
	fill    []uint8
}

// NewTrain checks the options.
func NewTrain(in *Input, o Options) (*Train, error) {
	t := &Train{in: in, o: o}
	for _, word := range []struct {
		what, value string
		known       []string
	}{{"crop", o.Crop, CropModes}, {"interpolation", o.Interpolation, Interpolations}, {"mode of erasing", o.Erase.Mode, EraseModes}} {
		if word.value != "" && !slices.Contains(word.known, word.value) {
			return nil, fmt.Errorf("%w: %s %q is none of %v", ErrOption, word.what, word.value, word.known)
		}
	}
	if o.Crop == "resized" {
		for _, span := range [][2]float64{o.Scale, o.Ratio} {
			if !(0 < span[0] && span[0] <= span[1] && !math.IsInf(span[1], 0)) {
				return nil, fmt.Errorf("%w: scale %v and ratio %v of a resized crop must be above 0, the lower end first", ErrOption, o.Scale, o.Ratio)
			}
		}
	}
	if o.Policy != "" {
		var err error
		if t.policy, err = ParsePolicy(o.Policy); err != nil {
			return nil, err
		}
	}
	switch o.Interpolation {
	case "bilinear":
		t.filters = []Filter{Bilinear}
	case "random":
		t.filters = []Filter{Bilinear, Bicubic}
	default:
		t.filters = []Filter{Bicubic}
	}
	for _, m := range in.mean {
		t.fill = append(t.fill, uint8(min(max(round(255*float64(m)), 0), 255)))
	}
	return t, nil
}

// Apply writes a training image, [Channels, Size, Size]. It is a pure function
// of the image and of the stream.
func (t *Train) Apply(img Image, r *rand.Rand, out []float32) error {
	if err := img.check(); err != nil {
		return err
	}
	cut := t.Draw(img.Height, img.Width, r)
	return t.Finish(NewPiece(img, cut), cut, r, out)
}

// Draw is the first half of [Train.Apply], for which the size of an image is enough: what
// of it is wanted, so that a decoder need not give more.
func (t *Train) Draw(height, width int, r *rand.Rand) Cut {
	size := t.in.Size
	if t.o.Crop == "resized" {
		part := DrawCrop(height, width, t.o.Scale, t.o.Ratio, r)
		return Cut{part, size, size, image.Rect(0, 0, size, size), pick(t.filters, r)}
	}
	return centre(height, width, size, size, pick(t.filters, r))
}

// Finish is the second half of [Train.Apply], given the part that was drawn and the same
// stream.
func (t *Train) Finish(p Piece, cut Cut, r *rand.Rand, out []float32) error {
	if err := p.check(); err != nil {
		return err
	}
	p.Image = Convert(p.Image, t.in.Channels)
	img := cut.resize(p)
	if pad := t.o.Pad; t.o.Crop == "pad" && pad > 0 {
		dy, dx := r.IntN(2*pad+1)-pad, r.IntN(2*pad+1)-pad
		img = Crop(img, dy, dx, t.in.Size, t.in.Size)
	}
	if p := t.o.Flip; p > 0 && r.Float64() < p {
		img = Flip(img)
	}
	if p := t.o.FlipVertical; p > 0 && r.Float64() < p {
		img = FlipVertical(img)
	}
	switch {
	case t.policy != nil:
		img = t.policy.apply(img, t.fill, t.filters, r)
	case t.o.Jitter > 0:
		img = jitter(img, t.o.Jitter, r)
	}
	t.in.normalise(img, out)
	t.o.Erase.apply(out, t.in.Channels, t.in.Size, r)
	return nil
}

// pick draws a filter where there is a choice.
func pick(filters []Filter, r *rand.Rand) Filter {
	if len(filters) == 1 {
		return filters[0]
	}
	return filters[r.IntN(len(filters))]
}
