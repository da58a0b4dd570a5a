package data

import (
	"errors"
	"fmt"
)

// encoded is the images of a source as the files they came as.
type encoded interface {
	Len() int
	Label(i int) int
	// Name says where image i is, to a reader of an error.
	Name(i int) string
	// Encoded returns the bytes of image i. An error that wraps ErrFormat says that the
	// image is damaged, any other that it cannot be had now.
	Encoded(i int) ([]byte, error)
}

// decoded is a Split of encoded images.
type decoded struct{ encoded }

func (d decoded) Image(i int) (Image, error) {
	text, err := d.Encoded(i)
	if err != nil && !errors.Is(err, ErrFormat) {
		return Image{}, fmt.Errorf("%s: %w", d.Name(i), err)
	}
	if err == nil {
		var img Image
		if img, err = decode(text); err == nil {
			return img, nil
		}
	}
	return Image{}, &DamagedImage{d.Name(i), err}
}
