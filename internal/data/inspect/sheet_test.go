package inspect

import (
	"bytes"
	"image/png"
	"testing"

	"prenas/internal/augment"
)

// A sheet has each thumbnail where SheetPlace says.
func TestSheet(t *testing.T) {
	s := NewSheet(3, 2, 5)
	s.Put(2, 1, augment.Image{Height: 1, Width: 1, Channels: 1, Pixels: []uint8{77}})
	var text bytes.Buffer
	if err := s.Write(&text); err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(&text)
	if err != nil {
		t.Fatal(err)
	}
	at := SheetPlace(2, 1, 5)
	if !at.In(img.Bounds()) || at.Dx() != 5 {
		t.Errorf("the place %v of a sheet of %v", at, img.Bounds())
	}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			inside := x >= at.Min.X && x < at.Max.X && y >= at.Min.Y && y < at.Max.Y
			if r, _, _, _ := img.At(x, y).RGBA(); (r>>8 == 77) != inside {
				t.Fatalf("pixel %d, %d is %d", x, y, r>>8)
			}
		}
	}
}
