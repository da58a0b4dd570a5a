package augment

import (
	"fmt"
	"slices"
)

// Input is what a model takes: images [Channels, Size, Size] of normalised
// numbers, (pixel/255 - mean)/std.
type Input struct {
	Channels, Size int
	mean, std      []float32
	tables         [][256]float32 // of a channel: what each pixel value becomes
}

// NewInput checks and prepares an input. mean and std are per channel, of pixels
// in [0, 1].
func NewInput(channels, size int, mean, std []float32) (*Input, error) {
	switch {
	case size < 1 || size > 1<<13:
		return nil, fmt.Errorf("%w: an input of %d pixels", ErrOption, size)
	case channels != 1 && channels != 3:
		return nil, fmt.Errorf("%w: images have 1 or 3 channels, the model takes %d", ErrOption, channels)
	case len(mean) != channels || len(std) != channels || slices.Contains(std, 0):
		return nil, fmt.Errorf("%w: mean %v and std %v for %d channels", ErrOption, mean, std, channels)
	}
	in := &Input{Channels: channels, Size: size, mean: mean, std: std, tables: make([][256]float32, channels)}
	for c := range in.tables {
		for v := range in.tables[c] {
			in.tables[c][v] = (float32(v)/255 - mean[c]) / std[c]
		}
	}
	return in, nil
}

// Len is the count of numbers of one image.
func (in *Input) Len() int { return in.Channels * in.Size * in.Size }

// normalise writes an image of the input's form.
func (in *Input) normalise(img Image, out []float32) {
	plane := in.Size * in.Size
	if in.Channels == 1 {
		t := &in.tables[0]
		for i, v := range img.Pixels[:plane] {
			out[i] = t[v]
		}
		return
	}
	red, green, blue := out[:plane], out[plane:][:plane], out[2*plane:][:plane]
	tr, tg, tb := &in.tables[0], &in.tables[1], &in.tables[2]
	pixels := img.Pixels[:3*plane]
	for i := range red {
		p := pixels[3*i : 3*i+3 : 3*i+3]
		red[i], green[i], blue[i] = tr[p[0]], tg[p[1]], tb[p[2]]
	}
}

// Picture is what the normalised numbers of an image look like, [Channels, Size, Size] as 8-bit
// pixels: the nearest ones, since what was erased has numbers that no pixel has.
func (in *Input) Picture(values []float32) Image {
	img := newImage(in.Size, in.Size, in.Channels)
	plane := in.Size * in.Size
	for c := range in.Channels {
		for i, v := range values[c*plane:][:plane] {
			pixel := 255 * (float64(v)*float64(in.std[c]) + float64(in.mean[c]))
			img.Pixels[i*in.Channels+c] = uint8(min(max(round(pixel), 0), 255))
		}
	}
	return img
}

// Test is how an image is shown to a trained model: the shorter side resized to
// Resize (0: the model's size), bicubic, and Crops crops (0: one).
type Test struct{ Resize, Crops int }

// Test writes the crops of an image one after the other, [crops, Channels, Size,
// Size]; out has Len() numbers for each.
func (in *Input) Test(img Image, o Test, out []float32) error {
	if err := img.check(); err != nil {
		return err
	}
	o.Resize, o.Crops = max(o.Resize, in.Size), max(o.Crops, 1)
	crops, err := Crops(Convert(img, in.Channels), o.Resize, in.Size, o.Crops, Bicubic)
	if err != nil {
		return err
	}
	for i, crop := range crops {
		in.normalise(crop, out[i*in.Len():][:in.Len()])
	}
	return nil
}
