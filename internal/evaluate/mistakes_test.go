package evaluate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"image/png"
	"testing"

	"prenas/internal/data"
)

// greys is a split whose image i is of the grey level i.
type greys int

func (g greys) Len() int    { return int(g) }
func (greys) Label(int) int { return 0 }
func (greys) Image(i int) (data.Image, error) {
	if i == 250 {
		return data.Image{}, data.ErrFormat
	}
	return data.Image{Height: 2, Width: 3, Channels: 1, Pixels: bytes.Repeat([]byte{uint8(i)}, 6)}, nil
}

// Each mistake has its own image where the results say, the best architecture's first, each image
// once; more than the picture has room for have none.
func TestDrawMistakes(t *testing.T) {
	r := Results{ImageSize: 8, Archs: []Result{{Arch: "a", Top1: 0.5}, {Arch: "b", Top1: 0.75}}}
	for i := range 90 {
		r.Archs[0].Mistakes = append(r.Archs[0].Mistakes, Mistake{Image: i})
	}
	for i := 80; i < 130; i++ {
		r.Archs[1].Mistakes = append(r.Archs[1].Mistakes, Mistake{Image: i})
	}
	text, err := r.DrawMistakes(greys(200))
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(text); r.Pictures == nil || r.Pictures.Side != 8 || r.Pictures.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("pictures %+v", r.Pictures)
	}
	picture, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	with := map[int]bool{}
	for k, a := range r.Archs {
		for _, m := range a.Mistakes {
			if m.Picture == nil {
				if k == 1 {
					t.Errorf("image %d of the best architecture has no picture", m.Image)
				}
				continue
			}
			with[m.Image] = true
			if v, _, _, _ := picture.At(m.Picture[0]+4, m.Picture[1]+4).RGBA(); int(v>>8) != m.Image {
				t.Errorf("the picture of image %d is of image %d", m.Image, v>>8)
			}
		}
	}
	if len(with) != mistakesMost {
		t.Errorf("%d images are drawn, want %d", len(with), mistakesMost)
	}
	none := Results{Archs: []Result{{Arch: "a"}}}
	if text, err := none.DrawMistakes(greys(1)); text != nil || err != nil || none.Pictures != nil {
		t.Errorf("without mistakes: %d bytes, %v", len(text), err)
	}
	bad := Results{Archs: []Result{{Arch: "a", Mistakes: []Mistake{{Image: 3}, {Image: 250}}}}}
	if _, err := bad.DrawMistakes(greys(300)); err == nil || bad.Pictures != nil || bad.Archs[0].Mistakes[0].Picture != nil {
		t.Errorf("an image that cannot be read: %v, %+v", err, bad)
	}
}
