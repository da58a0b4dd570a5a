package data

import (
	"context"
	"errors"
	"image"
	"image/png"
	"io"

	"prenas/internal/augment"
)

// A contact sheet has a row of thumbnails for each of the first classes.
const (
	sheetSide  = 96 // pixels of a thumbnail's side
	sheetGap   = 4
	sheetRows  = 24
	sheetWidth = 10 // thumbnails in a row
)

// WriteContactSheet writes a contact sheet of the training images as PNG: a row for each of the
// first classes, with the first sound images of each.
func WriteContactSheet(ctx context.Context, set *Dataset, w io.Writer) error {
	rows := min(len(set.Classes), sheetRows)
	sheet := image.NewNRGBA(image.Rect(0, 0, sheetWidth*(sheetSide+sheetGap)+sheetGap, rows*(sheetSide+sheetGap)+sheetGap))
	for i := range sheet.Pix {
		sheet.Pix[i] = 255
	}
	placed := make([]int, rows)
	left := rows * sheetWidth
	for i := 0; i < set.Train.Len() && left > 0; i++ {
		row := set.Train.Label(i)
		if row >= rows || placed[row] == sheetWidth {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		img, err := set.Train.Image(i)
		var damaged *DamagedImage
		if errors.As(err, &damaged) {
			continue
		}
		if err != nil {
			return err
		}
		thumbnail := augment.CentreCrop(augment.Convert(img, 3), sheetSide, sheetSide, augment.Bicubic)
		x0, y0 := sheetGap+placed[row]*(sheetSide+sheetGap), sheetGap+row*(sheetSide+sheetGap)
		for y := range sheetSide {
			for x := range sheetSide {
				copy(sheet.Pix[sheet.PixOffset(x0+x, y0+y):], thumbnail.Pixels[3*(y*sheetSide+x):][:3])
			}
		}
		placed[row]++
		left--
	}
	return png.Encode(w, sheet)
}
