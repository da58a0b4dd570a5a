package codec

import (
	"fmt"
	"testing"

	"prenas/internal/augment"
)

// An orientation is the inverse of how the image was stored.
func TestUprightTwiceIsWhereItBegan(t *testing.T) {
	img := augment.Image{Height: 3, Width: 5, Channels: 3, Pixels: make([]uint8, 45)}
	for i := range img.Pixels {
		img.Pixels[i] = uint8(i)
	}
	for turned := 1; turned <= 8; turned++ {
		back := turned
		if turned == 6 || turned == 8 { // right and left undo each other
			back = 14 - turned
		}
		if again := upright(upright(img, turned), back); fmt.Sprint(again) != fmt.Sprint(img) {
			t.Errorf("orientation %d and back: %v", turned, again)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("GIF89a\x04\x00\x03\x00\x81\x00\x00"))
	f.Add([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00"))
	f.Add([]byte("\xff\xd8\xff\xe1\x00\x18Exif\x00\x00MM\x00*\x00\x00\x00\x08"))
	f.Add([]byte("RIFF\x1a\x00\x00\x00WEBPVP8L"))
	f.Add([]byte("II*\x00\x08\x00\x00\x00"))
	f.Add([]byte("P6 2 1 31\n012345"))
	f.Add([]byte("II*\x00\x08\x00\x00\x00\x04\x00\x00\x01\x03\x00\x01\x00\x00\x00\x08\x00\x00\x00\x01\x01\x03\x00\x01\x00\x00\x00\x01\x00\x00\x00" +
		"\x03\x01\x03\x00\x01\x00\x00\x00\x04\x00\x00\x00\x11\x01\x04\x00\x01\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("BM\x1e\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		img, err := Decode(text)
		if err == nil && len(img.Pixels) != img.Height*img.Width*3 {
			t.Errorf("%d values for %dx%d", len(img.Pixels), img.Height, img.Width)
		}
	})
}
