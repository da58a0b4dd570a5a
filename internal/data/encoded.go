package data

import (
	"errors"
	"fmt"

	"prenas/internal/augment"
	"prenas/internal/data/codec"
	"prenas/internal/data/disk"
	"prenas/internal/machine"
)

// Files is the images of a source as the files they came as.
type Files interface {
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

// FromFiles is the Split of the images in files.
func FromFiles(files Files) Split { return decoded{files} }

// decoded is a Split of images in files.
type decoded struct{ Files }

func (d decoded) Image(i int) (img Image, err error) {
	err = d.part(i, codec.All, func(p augment.Piece) { img = p.Image })
	return img, err
}

func (d decoded) part(i int, choose func(height, width int) augment.Cut, use func(augment.Piece)) error {
	err := codec.Hold(d.Size(i), func() error {
		text, err := d.Encoded(i)
		if err != nil {
			return err
		}
		return codec.DecodePart(text, choose, use)
	})
	return explain(d.Name(i), err)
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
	return disk.Kept(name, err)
}
