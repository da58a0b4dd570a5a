package codec

import (
	"errors"
	"fmt"
	"image"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"prenas/internal/augment"
	"prenas/internal/picture"
)

// Endings are of the files that count as images where only a name is known.
var Endings = []string{".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp"}

// Limits on one image, so that a small file cannot ask for much memory: a
// picture of 16384 by 16384 still passes.
const (
	MaxPixels = 1 << 28
	MaxBytes  = 1 << 28
)

// Decode reads an image file of any format that picture knows as RGB, upright, as it is
// meant to be seen: turned by its EXIF orientation, CMYK converted, grey
// repeated, the high byte of 16 bits, transparency dropped, of an animation
// the first frame. An error wraps ErrFormat.
func Decode(text []byte) (img augment.Image, err error) {
	err = DecodePart(text, All, func(p augment.Piece) { img = p.Image })
	return img, err
}

// All is all of an image, in its size.
func All(height, width int) augment.Cut {
	return augment.Cut{Part: image.Rect(0, 0, width, height), Height: height, Width: width}
}

// DecodePart is [Decode] of the part that choose wants when it is told the size of the
// upright image. The pixels count as held until use returns.
func DecodePart(text []byte, choose func(height, width int) augment.Cut, use func(augment.Piece)) error {
	size, format, err := header(text)
	if err != nil {
		return err
	}
	release, err := pixels().take(size.X, size.Y, format)
	if err != nil {
		return err
	}
	defer release()
	p, err := decodeSized(text, size, format, choose)
	if err == nil {
		use(p)
	}
	return err
}

func decodeSized(text []byte, stored image.Point, format string, choose func(height, width int) augment.Cut) (p augment.Piece, err error) {
	defer func() { // decoders of hostile files may panic
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrFormat, r)
		}
	}()
	turned := orientation(text, format)
	height, width := turnedSize(stored.Y, stored.X, turned)
	cut := choose(height, width)
	part := storedBox(cut.Part, height, width, turned)
	if format == "jpeg" {
		if p, ok := decodeJPEG(text, stored.Y, stored.X, part, reduction(cut)); ok {
			return uprightPiece(p, turned), nil
		}
	}
	decoded, err := picture.Decode(text)
	if err != nil {
		return p, imageError(err)
	}
	if size := decoded.Bounds().Size(); size != stored {
		return p, fmt.Errorf("%w: it has %dx%d pixels, not the %dx%d that it declares", ErrFormat, size.X, size.Y, stored.X, stored.Y)
	}
	where := image.Rect(int(part.Left), int(part.Top), int(part.Right), int(part.Bottom))
	img := upright(fromImage(decoded, where.Add(decoded.Bounds().Min)), turned)
	return augment.Piece{Image: img, Box: augment.Box{Right: float64(img.Width), Bottom: float64(img.Height)}}, nil
}

// FromImage copies a decoded image as RGB; transparency is dropped.
func FromImage(from image.Image) augment.Image { return fromImage(from, from.Bounds()) }

// fromImage copies a part, which must lie within the bounds.
func fromImage(from image.Image, part image.Rectangle) augment.Image {
	return augment.Image{Pixels: picture.RGB(from, part), Height: part.Dy(), Width: part.Dx(), Channels: 3}
}

// header reads the size of an image file, as it is stored, and its format, and checks them
// against the limits.
func header(text []byte) (size image.Point, format string, err error) {
	defer func() { // decoders of hostile files may panic
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrFormat, r)
		}
	}()
	if len(text) == 0 {
		return size, "", fmt.Errorf("%w: the file is empty", ErrFormat)
	}
	if len(text) > MaxBytes {
		return size, "", fmt.Errorf("%w: %d bytes are more than %d", ErrFormat, len(text), MaxBytes)
	}
	size.X, size.Y, format, err = picture.Config(text)
	if err != nil {
		return size, "", imageError(err)
	}
	if size.X < 1 || size.Y < 1 || size.X > MaxPixels/size.Y {
		return size, "", fmt.Errorf("%w: %dx%d pixels are more than %d", ErrFormat, size.X, size.Y, MaxPixels)
	}
	return size, format, nil
}

// imageError is the error of an image file: of one that is not decoded, what it is; else that it
// is damaged.
func imageError(err error) error {
	var other *picture.NotDecoded
	if errors.As(err, &other) {
		return &otherFile{other}
	}
	return fmt.Errorf("%w: %w", ErrFormat, err)
}

// otherFile is an ErrFormat that does not say that the file is malformed.
type otherFile struct{ *picture.NotDecoded }

func (o *otherFile) Is(target error) bool { return target == ErrFormat }
func (o *otherFile) Unwrap() error        { return o.NotDecoded }

// reduction is by how much, of 1, 2, 4 and 8, an image may be decoded smaller so that
// what is cut out of it still has to be made smaller, or is of the size wanted.
func reduction(cut augment.Cut) int {
	by := 1
	for by < 8 && cut.Part.Dx() >= 2*by*cut.Width && cut.Part.Dy() >= 2*by*cut.Height {
		by *= 2
	}
	return by
}

// Named tells an image file by the ending of its name.
func Named(name string) bool {
	return slices.Contains(Endings, strings.ToLower(filepath.Ext(name)))
}

// Sniffed reports whether a file is an image that is decoded, of a name that does not tell: by how
// it begins. One that a program has not finished, or has put aside, is none.
func Sniffed(name string, head []byte) bool {
	return !slices.Contains(unfinished, strings.ToLower(path.Ext(name))) && !strings.HasSuffix(name, "~") && picture.Identify(head).Format != ""
}

// unfinished are endings of files that are being written, or were put aside.
var unfinished = []string{".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".incomplete", ".aria2", ".bak", ".old", ".orig", ".swp"}

// Size is the width and height in pixels that an image file's bytes say they have, before it is
// turned upright. An error wraps ErrFormat.
func Size(text []byte) (width, height int, err error) {
	size, _, err := header(text)
	return size.X, size.Y, err
}
