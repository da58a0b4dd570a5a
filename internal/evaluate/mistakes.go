package evaluate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"prenas/internal/data"
	"prenas/internal/data/inspect"
)

// MistakesFile of a run directory is a PNG with thumbnails of the images that its architectures were
// wrong on.
const MistakesFile = "mistakes.png"

// Pictures say which MistakesFile belongs to results.
type Pictures struct {
	SHA256 string `json:"sha256"`
	Side   int    `json:"side"` // of a thumbnail, in pixels
}

// Limits of the thumbnails.
const (
	mistakesColumns = 10
	mistakesMost    = 100 // images; those of the best architecture come first
	mistakesSide    = 64  // pixels of a side, at most
)

// DrawMistakes makes a MistakesFile of the images of a split that architectures were confidently wrong
// on. It notes in the results where the thumbnail of each mistake is. It returns nil if there are no
// mistakes. After an error the results are unchanged.
func (r *Results) DrawMistakes(split data.Split) ([]byte, error) {
	images := r.mistaken()
	if len(images) == 0 {
		return nil, nil
	}
	side := mistakesSide
	if r.ImageSize > 0 {
		side = min(side, r.ImageSize)
	}
	sheet := inspect.NewSheet(mistakesColumns, (len(images)+mistakesColumns-1)/mistakesColumns, side)
	places := map[int]*[2]int{}
	for k, i := range images {
		column, row := k%mistakesColumns, k/mistakesColumns
		err := data.Whole(split, i, func(img data.Image) error {
			sheet.Put(column, row, img)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("image %d: %w", i, err)
		}
		at := inspect.SheetPlace(column, row, side).Min
		places[i] = &[2]int{at.X, at.Y}
	}
	var text bytes.Buffer
	if err := sheet.Write(&text); err != nil {
		return nil, err
	}
	for i := range r.Archs {
		for k := range r.Archs[i].Mistakes {
			m := &r.Archs[i].Mistakes[k]
			m.Picture = places[m.Image]
		}
	}
	sum := sha256.Sum256(text.Bytes())
	r.Pictures = &Pictures{SHA256: hex.EncodeToString(sum[:]), Side: side}
	return text.Bytes(), nil
}

// mistaken are the images to draw, each once: those of the best architecture's mistakes first.
func (r *Results) mistaken() (images []int) {
	has := map[int]bool{}
	for _, a := range append([]Result{r.Best()}, r.Archs...) {
		for _, m := range a.Mistakes {
			if !has[m.Image] && len(images) < mistakesMost {
				has[m.Image], images = true, append(images, m.Image)
			}
		}
	}
	return images
}
