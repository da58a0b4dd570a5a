package data

import (
	"prenas/internal/augment"
	"prenas/internal/data/codec"
)

// parted is a split that need not decode whole images.
type parted interface {
	part(i int, choose func(height, width int) augment.Cut, use func(augment.Piece)) error
}

// Part gives use what choose wants of image i of a split, when it is told the size of the
// image. The pixels are those of Image, but for a build with the tag turbojpeg, which
// decodes a JPEG file at a half, a quarter or an eighth of its size where the part
// is then still no smaller than the cut makes it. They count as held, in the budget that
// all workers share, until use returns, whose error it returns.
func Part(s Split, i int, choose func(height, width int) augment.Cut, use func(augment.Piece) error) error {
	switch s := s.(type) {
	case subset:
		return Part(s.Split, s.index[i], choose, use)
	case chain:
		split, k := s.at(i)
		return Part(split, k, choose, use)
	case relabelled:
		return Part(s.Split, i, choose, use)
	case parted:
		var used error
		if err := s.part(i, choose, func(p augment.Piece) { used = use(p) }); err != nil {
			return err
		}
		return used
	}
	img, err := s.Image(i)
	if err != nil {
		return err
	}
	return use(augment.NewPiece(img, choose(img.Height, img.Width)))
}

// Whole is [Part] of all of an image.
func Whole(s Split, i int, use func(Image) error) error {
	return Part(s, i, codec.All, func(p augment.Piece) error { return use(p.Image) })
}
