package augment

import "fmt"

// Image is 8-bit pixels [H, W, C], C being 1 or 3.
type Image struct {
	Pixels                  []uint8
	Height, Width, Channels int
}

// newImage is a black image.
func newImage(height, width, channels int) Image {
	return Image{make([]uint8, height*width*channels), height, width, channels}
}

// like is a black image of the form of img.
func like(img Image) Image { return newImage(img.Height, img.Width, img.Channels) }

// check that the fields agree.
func (img Image) check() error {
	if img.Height < 1 || img.Width < 1 || img.Channels != 1 && img.Channels != 3 || len(img.Pixels) != img.Height*img.Width*img.Channels {
		return fmt.Errorf("%w: %d x %d pixels of %d channels in %d bytes", ErrImage, img.Width, img.Height, img.Channels, len(img.Pixels))
	}
	return nil
}

// luma is PIL's grey of a colour: ITU-R 601-2 in 16-bit fixed point.
func luma(r, g, b uint8) uint8 {
	return uint8((uint32(r)*19595 + uint32(g)*38470 + uint32(b)*7471 + 1<<15) >> 16)
}

// Convert turns grey into colour or colour into grey; an image that has the
// channels already is returned as it is.
func Convert(img Image, channels int) Image {
	if img.Channels == channels {
		return img
	}
	out := newImage(img.Height, img.Width, channels)
	if channels == 1 {
		for i := range out.Pixels {
			p := img.Pixels[3*i : 3*i+3 : 3*i+3]
			out.Pixels[i] = luma(p[0], p[1], p[2])
		}
		return out
	}
	for i, v := range img.Pixels {
		p := out.Pixels[3*i : 3*i+3 : 3*i+3]
		p[0], p[1], p[2] = v, v, v
	}
	return out
}

// Flip mirrors left and right.
func Flip(img Image) Image {
	out := like(img)
	row := img.Width * img.Channels
	for y := range img.Height {
		from, to := img.Pixels[y*row:][:row], out.Pixels[y*row:][:row]
		if img.Channels == 1 {
			for x, v := range from {
				to[row-1-x] = v
			}
			continue
		}
		for x := 0; x+3 <= row; x += 3 {
			p, q := from[x:x+3:x+3], to[row-3-x:row-x:row-x]
			q[0], q[1], q[2] = p[0], p[1], p[2]
		}
	}
	return out
}

// FlipVertical mirrors top and bottom.
func FlipVertical(img Image) Image {
	out := like(img)
	row := img.Width * img.Channels
	for y := range img.Height {
		copy(out.Pixels[y*row:][:row], img.Pixels[(img.Height-1-y)*row:])
	}
	return out
}

// Crop cuts out height x width pixels from (top, left) on; what lies outside of
// the image is black.
func Crop(img Image, top, left, height, width int) Image {
	out := newImage(height, width, img.Channels)
	first, last := max(0, -left), min(width, img.Width-left) // columns that there are
	if first >= last {
		return out
	}
	c := img.Channels
	for y := max(0, -top); y < min(height, img.Height-top); y++ {
		copy(out.Pixels[(y*width+first)*c:(y*width+last)*c], img.Pixels[((top+y)*img.Width+left+first)*c:])
	}
	return out
}
