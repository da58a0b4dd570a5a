package data

import (
	"context"
	"errors"
	"io"
)

// A contact sheet has a row of thumbnails for each of the first classes.
const (
	sheetSide  = 96 // pixels of a thumbnail's side
	sheetRows  = 24
	sheetWidth = 10 // thumbnails in a row
)

// WriteContactSheet writes a contact sheet of the training images as PNG: a row for each of the
// first classes, with the first sound images of each.
func WriteContactSheet(ctx context.Context, set *Dataset, w io.Writer) error {
	rows := min(len(set.Classes), sheetRows)
	sheet := NewSheet(sheetWidth, rows, sheetSide)
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
		sheet.Put(placed[row], row, img)
		placed[row]++
		left--
	}
	return sheet.Write(w)
}
