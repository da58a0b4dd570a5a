package augment

import (
	"fmt"
	"image"
	"math"
)

// Cut is what becomes of an image of a known size: a part of it is resized to Height x
// Width pixels, of which the window is taken.
type Cut struct {
	Part          image.Rectangle
	Height, Width int
	Window        image.Rectangle
	Filter        Filter
}

// Box is an area of an image, in pixels from its upper left corner.
type Box struct{ Left, Top, Right, Bottom float64 }

func boxOf(r image.Rectangle) Box {
	return Box{float64(r.Min.X), float64(r.Min.Y), float64(r.Max.X), float64(r.Max.Y)}
}

// hull is the pixels that a box touches.
func (b Box) hull() image.Rectangle {
	return image.Rect(int(b.Left), int(b.Top), int(math.Ceil(b.Right)), int(math.Ceil(b.Bottom)))
}

// Piece is pixels among which the part of a [Cut] lies in a box: in those of the whole
// image, of the part alone, or of an image that was decoded smaller than it is.
type Piece struct {
	Image
	Box Box
}

// NewPiece is the part of a cut in the whole image.
func NewPiece(img Image, cut Cut) Piece { return Piece{img, boxOf(cut.Part)} }

func (p Piece) check() error {
	if err := p.Image.check(); err != nil {
		return err
	}
	if b := p.Box; !(b.Left >= 0 && b.Top >= 0 && b.Left < b.Right && b.Top < b.Bottom && b.Right <= float64(p.Width) && b.Bottom <= float64(p.Height)) {
		return fmt.Errorf("%w: a part %v of %d x %d pixels", ErrImage, b, p.Width, p.Height)
	}
	return nil
}
