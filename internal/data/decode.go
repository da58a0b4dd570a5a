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

	"prenas/internal/augment"
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
func decode(text []byte) (Image, error) {
	p, err := decodePart(text, func(height, width int) augment.Cut {
		return augment.Cut{Part: image.Rect(0, 0, width, height), Height: height, Width: width}
	})
	return p.Image, err
}

// decodePart is [decode] of the part that choose wants when it is told the size of the
// upright image.
func decodePart(text []byte, choose func(height, width int) augment.Cut) (p augment.Piece, err error) {
	defer func() { // decoders of hostile files may panic
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrFormat, r)
		}
	}()
	config, format, err := header(text)
	if err != nil {
		return p, err
	}
	turned := orientation(text, format)
	height, width := turnedSize(config.Height, config.Width, turned)
	cut := choose(height, width)
	part := storedBox(cut.Part, height, width, turned)
	if format == "jpeg" {
		if p, ok := decodeJPEG(text, config.Height, config.Width, part, reduction(cut)); ok {
			return uprightPiece(p, turned), nil
		}
	}
	decoded, _, err := image.Decode(bytes.NewReader(text))
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if frame, ok := decoded.(*image.Paletted); ok && format == "gif" {
		decoded = firstFrame(frame, config)
	}
	if size := decoded.Bounds().Size(); size != image.Pt(config.Width, config.Height) {
		return p, fmt.Errorf("%w: it has %dx%d pixels, not the %dx%d that it declares", ErrFormat, size.X, size.Y, config.Width, config.Height)
	}
	where := image.Rect(int(part.Left), int(part.Top), int(part.Right), int(part.Bottom))
	img := upright(fromImage(decoded, where.Add(decoded.Bounds().Min)), turned)
	return augment.Piece{Image: img, Box: augment.Box{Right: float64(img.Width), Bottom: float64(img.Height)}}, nil
}

// header reads what an image file says of itself, and checks it against the limits.
func header(text []byte) (image.Config, string, error) {
	if len(text) == 0 {
		return image.Config{}, "", fmt.Errorf("%w: the file is empty", ErrFormat)
	}
	if len(text) > maxBytes {
		return image.Config{}, "", fmt.Errorf("%w: %d bytes are more than %d", ErrFormat, len(text), maxBytes)
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(text))
	if err != nil {
		return config, "", fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if config.Width < 1 || config.Height < 1 || config.Width > maxPixels/config.Height {
		return config, "", fmt.Errorf("%w: %dx%d pixels are more than %d", ErrFormat, config.Width, config.Height, maxPixels)
	}
	return config, format, nil
}

// reduction is by how much, of 1, 2, 4 and 8, an image may be decoded smaller so that
// what is cut out of it still has to be made smaller, or is of the size wanted.
func reduction(cut augment.Cut) int {
	by := 1
	for by < 8 && cut.Part.Dx() >= 2*by*cut.Width && cut.Part.Dy() >= 2*by*cut.Height {
		by *= 2
	}
	return by
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
