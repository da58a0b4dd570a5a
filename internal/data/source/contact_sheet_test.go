package source

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prenas/internal/augment"
	"prenas/internal/data/inspect"
)

// A sheet has a row for each class, with its name, whatever it is: a class of one image, a name that
// is long or that the font does not have. A damaged image is left out.
func TestContactSheet(t *testing.T) {
	dir := t.TempDir()
	names := []string{"a", "b " + strings.Repeat("long", 40), "c 名前"}
	for k, name := range names {
		for i := range []int{12, 3, 1}[k] {
			writeImage(t, filepath.Join(dir, "train", name, fmt.Sprintf("%02d.png", i)), scene(uint64(100*k+i), 60, 40), 0)
		}
	}
	writeImage(t, filepath.Join(dir, "test", "a", "same.png"), scene(0, 60, 40), 0)
	if err := os.WriteFile(filepath.Join(dir, "train", names[1], "00.png"), []byte("\x89PNG\r\n\x1a\nno"), 0o644); err != nil {
		t.Fatal(err)
	}
	set, err := Open(context.Background(), "folder:"+dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	twins, err := inspect.FindTwins(context.Background(), set, 100, nil)
	if err != nil || twins.Twins != 1 {
		t.Fatalf("%+v, %v", twins, err)
	}
	draw := func(o inspect.SheetOptions) []byte {
		t.Helper()
		var text bytes.Buffer
		if err := inspect.WriteContactSheet(context.Background(), set, o, &text); err != nil {
			t.Fatal(err)
		}
		return text.Bytes()
	}
	plain, err := png.Decode(bytes.NewReader(draw(inspect.SheetOptions{})))
	if err != nil {
		t.Fatal(err)
	}
	const sheetSide, sheetGap, sheetText, titleHeight = 96, 4, 180, 28 // pixels
	const step = sheetSide + sheetGap
	if got := plain.Bounds(); got.Dy() != sheetGap+3*step || got.Dx() != sheetText+10*step+sheetGap {
		t.Errorf("the sheet has %v", got)
	}
	white := func(x, y int) bool { r, g, b, _ := plain.At(x, y).RGBA(); return r&g&b == 0xffff }
	for k, images := range []int{10, 2, 1} { // at most ten; without the damaged one
		ink := 0
		for y := range sheetSide {
			for x := range sheetText - sheetGap {
				if !white(x, sheetGap+k*step+y) {
					ink++
				}
			}
			if !white(sheetText-1, sheetGap+k*step+y) {
				t.Fatalf("the name of class %d runs into the images", k)
			}
		}
		if ink == 0 {
			t.Errorf("class %d has no name", k)
		}
		for column := range 10 {
			if got := !white(sheetText+column*step+40, sheetGap+k*step+40); got != (column < images) {
				t.Errorf("class %d, column %d: an image is there: %v", k, column, got)
			}
		}
	}
	o := inspect.SheetOptions{Augment: &augment.Options{Crop: "resized", Scale: [2]float64{0.4, 0.6}, Ratio: [2]float64{1, 1}, Flip: 0.5}, AugmentBy: "a test", Seed: 3, Twins: &twins}
	all := draw(o)
	if !bytes.Equal(all, draw(o)) {
		t.Error("the same sheet has other bytes")
	}
	whole, err := png.Decode(bytes.NewReader(all))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := whole.Bounds().Dy(), sheetGap+3*step+titleHeight+3*step+titleHeight+step; got != want {
		t.Errorf("the whole sheet is %d high, want %d", got, want)
	}
}
