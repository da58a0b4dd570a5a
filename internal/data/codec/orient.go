package codec

import (
	"bytes"
	"image"

	"github.com/bep/imagemeta"

	"prenas/internal/augment"
)

// exifFormats are the formats that may carry an orientation, by their names in
// the image package, and what such a file holds if it has any.
var exifFormats = map[string]struct {
	format imagemeta.ImageFormat
	marker []byte
}{
	"jpeg": {imagemeta.JPEG, []byte("Exif\x00\x00")},
	"png":  {imagemeta.PNG, []byte("eXIf")},
	"webp": {imagemeta.WebP, []byte("EXIF")},
	"tiff": {imagemeta.TIFF, nil},
}

// orientation of an image file: 1 to 8 as EXIF counts them, 1 where there is
// none or it cannot be read, as viewers have it.
func orientation(text []byte, format string) int {
	f, known := exifFormats[format]
	if !known || !bytes.Contains(text, f.marker) {
		return 1
	}
	turned := 1
	// An error here is one of the metadata, which may be broken in a sound image.
	_, _ = imagemeta.Decode(imagemeta.Options{
		R: bytes.NewReader(text), ImageFormat: f.format, Sources: imagemeta.EXIF,
		ShouldHandleTag: func(tag imagemeta.TagInfo) bool { return tag.Tag == "Orientation" && tag.Namespace == "IFD0" },
		HandleTag: func(tag imagemeta.TagInfo) error {
			if v, ok := tag.Value.(uint16); ok && v >= 1 && v <= 8 {
				turned = int(v)
			}
			return imagemeta.ErrStopWalking
		},
	})
	return turned
}

// upright turns an image that is stored in an EXIF orientation (1 to 8) to how
// it is meant to be seen.
func upright(img augment.Image, orientation int) augment.Image {
	if orientation == 1 {
		return img
	}
	h, w, c := img.Height, img.Width, img.Channels
	out := augment.Image{Pixels: make([]uint8, len(img.Pixels)), Channels: c}
	out.Height, out.Width = turnedSize(h, w, orientation)
	for y := range out.Height {
		for x := range out.Width {
			var fromY, fromX int
			switch orientation {
			case 2: // mirrored left to right
				fromY, fromX = y, w-1-x
			case 3: // turned by half
				fromY, fromX = h-1-y, w-1-x
			case 4: // mirrored top to bottom
				fromY, fromX = h-1-y, x
			case 5: // transposed
				fromY, fromX = x, y
			case 6: // to be turned right
				fromY, fromX = h-1-x, y
			case 7: // transposed along the other diagonal
				fromY, fromX = h-1-x, w-1-y
			case 8: // to be turned left
				fromY, fromX = x, w-1-y
			}
			copy(out.Pixels[(y*out.Width+x)*c:][:c], img.Pixels[(fromY*w+fromX)*c:])
		}
	}
	return out
}

// turnedSize is the size of an image, upright if given the stored one and the other way
// round.
func turnedSize(height, width, orientation int) (h, w int) {
	if orientation >= 5 { // its rows are stored as columns
		return width, height
	}
	return height, width
}

// storedBox is where a part of an upright image of a size is stored.
func storedBox(part image.Rectangle, height, width, orientation int) augment.Box {
	b := augment.Box{Left: float64(part.Min.X), Top: float64(part.Min.Y), Right: float64(part.Max.X), Bottom: float64(part.Max.Y)}
	if orientation == 6 || orientation == 8 { // right and left undo each other, the rest itself
		orientation = 14 - orientation
	}
	return turnedBox(b, height, width, orientation)
}

// turnedBox is where a box of a stored image of a size is when the image is upright.
func turnedBox(b augment.Box, height, width, orientation int) augment.Box {
	h, w := float64(height), float64(width)
	if orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8 { // columns count from the right
		b.Left, b.Right = w-b.Right, w-b.Left
	}
	if orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7 { // rows count from below
		b.Top, b.Bottom = h-b.Bottom, h-b.Top
	}
	if orientation >= 5 {
		b = augment.Box{Left: b.Top, Top: b.Left, Right: b.Bottom, Bottom: b.Right}
	}
	return b
}

// uprightPiece turns a piece of a stored image.
func uprightPiece(p augment.Piece, orientation int) augment.Piece {
	return augment.Piece{Image: upright(p.Image, orientation), Box: turnedBox(p.Box, p.Height, p.Width, orientation)}
}
