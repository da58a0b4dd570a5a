package data

import "prenas/internal/augment"

// parted is a split that need not decode whole images.
type parted interface {
	part(i int, choose func(height, width int) augment.Cut) (augment.Piece, error)
}

// Part returns what choose wants of image i of a split, when it is told the size of the
// image. The pixels are those of Image, but for a build with the tag turbojpeg, which
// decodes a JPEG file at a half, a quarter or an eighth of its size where the part
// is then still no smaller than the cut makes it.
func Part(s Split, i int, choose func(height, width int) augment.Cut) (augment.Piece, error) {
	switch s := s.(type) {
	case subset:
		return Part(s.Split, s.index[i], choose)
	case parted:
		return s.part(i, choose)
	}
	img, err := s.Image(i)
	if err != nil {
		return augment.Piece{}, err
	}
	return augment.NewPiece(img, choose(img.Height, img.Width)), nil
}
