package data

import (
	"errors"
	"fmt"

	"prenas/internal/augment"
	"prenas/internal/machine"
)

// encoded is the images of a source as the files they came as.
type encoded interface {
	Len() int
	Label(i int) int
	// Name says where image i is, to a reader of an error.
	Name(i int) string
	// Size is how many bytes image i had when the source was opened.
	Size(i int) int64
	// Encoded returns the bytes of image i. An error that wraps ErrFormat says that the
	// image is damaged, any other that it cannot be had now.
	Encoded(i int) ([]byte, error)
}

// decoded is a Split of encoded images.
type decoded struct{ encoded }

func (d decoded) Image(i int) (img Image, err error) {
	err = d.part(i, all, func(p augment.Piece) { img = p.Image })
	return img, err
}

func (d decoded) part(i int, choose func(height, width int) augment.Cut, use func(augment.Piece)) error {
	err := holding(d.Size(i), func() error {
		text, err := d.Encoded(i)
		if err != nil {
			return err
		}
		return decodePart(text, choose, use)
	})
	return explain(d.Name(i), err)
}

// holding runs what reads the file of an image of so many bytes and decodes it, as soon as there
// is memory for it. What no image may have is refused as it is read.
func holding(size int64, read func() error) error {
	if size > maxBytes {
		return read()
	}
	release, err := texts().takeBytes(size)
	if err != nil {
		return err
	}
	defer release()
	return read()
}

// explain says where an error is, and whether it is the image that is damaged.
func explain(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, machine.ErrMemory), errors.Is(err, ErrChanged):
		return fmt.Errorf("%s: %w", name, err)
	case errors.Is(err, ErrFormat):
		return &DamagedImage{name, err}
	}
	return kept(name, err)
}
