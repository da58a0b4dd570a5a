package inspect

import (
	"image"
	"image/png"
	"io"

	"prenas/internal/augment"
)

// Sheet is a picture of square thumbnails in rows and columns.
type Sheet struct {
	side   int
	pixels *image.NRGBA
}

// sheetGap is between thumbnails, in pixels.
const sheetGap = 4

// NewSheet is a white sheet of thumbnails of side x side pixels.
func NewSheet(columns, rows, side int) *Sheet {
	size := SheetPlace(columns, rows, side).Min // of the place behind the last one, which the last gap is before
	s := &Sheet{side: side, pixels: image.NewNRGBA(image.Rect(0, 0, size.X, size.Y))}
	for i := range s.pixels.Pix {
		s.pixels.Pix[i] = 255
	}
	return s
}

// SheetPlace is where a sheet of thumbnails of side x side pixels has the one of a column and a row,
// from 0.
func SheetPlace(column, row, side int) image.Rectangle {
	x, y := sheetGap+column*(side+sheetGap), sheetGap+row*(side+sheetGap)
	return image.Rect(x, y, x+side, y+side)
}

// Put puts the middle of an image into the place of a column and a row.
func (s *Sheet) Put(column, row int, img augment.Image) {
	thumbnail := augment.CentreCrop(augment.Convert(img, 3), s.side, s.side, augment.Bicubic)
	to := SheetPlace(column, row, s.side).Min
	for y := range s.side {
		for x := range s.side {
			copy(s.pixels.Pix[s.pixels.PixOffset(to.X+x, to.Y+y):], thumbnail.Pixels[3*(y*s.side+x):][:3])
		}
	}
}

// Write writes the sheet as PNG.
func (s *Sheet) Write(w io.Writer) error { return png.Encode(w, s.pixels) }
