package data

import "prenas/internal/augment"

// DecodeImage reads an image file's bytes as RGB, upright, as [ReadImage] reads a file.
// An error wraps ErrFormat.
func DecodeImage(text []byte) (augment.Image, error) { return decode(text) }

// ImageSize is the width and height in pixels that an image file's bytes say they have, before
// it is turned upright. An error wraps ErrFormat.
func ImageSize(text []byte) (width, height int, err error) {
	size, _, err := header(text)
	return size.X, size.Y, err
}
