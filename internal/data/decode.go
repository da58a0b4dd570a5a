package data

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	_ "image/gif" // decoders of the formats that sources may hold
	_ "image/jpeg"
	_ "image/png"
	"slices"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/webp"
)

// imageEndings are the files that count as images where only a name is known.
var imageEndings = []string{".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp"}

// maxClasses bounds what a label can be.
const maxClasses = 1 << 20

// Limits on one image, so that a small file cannot ask for much memory: a
// picture of 16384 by 16384 still passes.
const (
	maxPixels = 1 << 28
	maxBytes  = 1 << 28
)

// decode reads an image file of any known format as RGB, upright, as it is
// meant to be seen: turned by its EXIF orientation, CMYK converted, grey
// repeated, the high byte of 16 bits, transparency dropped, of an animation
// the first frame. An error wraps ErrFormat; CMYK of JPEG with fewer samples of
// some colours, which Go's decoder does not know, is one.
func decode(text []byte) (img Image, err error) {
	defer func() { // decoders of hostile files may panic
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrFormat, p)
		}
	}()
	if len(text) == 0 {
		return Image{}, fmt.Errorf("%w: the file is empty", ErrFormat)
	}
	if len(text) > maxBytes {
		return Image{}, fmt.Errorf("%w: %d bytes are more than %d", ErrFormat, len(text), maxBytes)
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(text))
	if err != nil {
		return Image{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if config.Width < 1 || config.Height < 1 || config.Width > maxPixels/config.Height {
		return Image{}, fmt.Errorf("%w: %dx%d pixels are more than %d", ErrFormat, config.Width, config.Height, maxPixels)
	}
	decoded, _, err := image.Decode(bytes.NewReader(text))
	if err != nil {
		return Image{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if frame, ok := decoded.(*image.Paletted); ok && format == "gif" {
		decoded = firstFrame(frame, config)
	}
	return upright(FromImage(decoded), orientation(text, format)), nil
}

// firstFrame is the whole picture of a GIF whose first frame may be smaller and
// lie anywhere in it. As PIL has it, what no frame covers and what is
// transparent has the colour of the transparent entry of the picture's palette,
// or of the first entry where none is transparent. Go's decoder clears that
// entry; config still has it.
func firstFrame(frame *image.Paletted, config image.Config) image.Image {
	rest := slices.IndexFunc(frame.Palette, func(c color.Color) bool { _, _, _, a := c.RGBA(); return a == 0 })
	palette, _ := config.ColorModel.(color.Palette)
	if rest >= 0 && rest < len(palette) {
		frame.Palette[rest] = palette[rest]
	}
	canvas := image.NewPaletted(image.Rect(0, 0, config.Width, config.Height), frame.Palette)
	for i := range canvas.Pix {
		canvas.Pix[i] = uint8(max(rest, 0))
	}
	area := frame.Rect.Intersect(canvas.Rect)
	for y := area.Min.Y; y < area.Max.Y; y++ {
		copy(canvas.Pix[canvas.PixOffset(area.Min.X, y):][:area.Dx()], frame.Pix[frame.PixOffset(area.Min.X, y):])
	}
	return canvas
}
