package source

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"path/filepath"
	"strings"
	"testing"

	"prenas/internal/data"
	"prenas/internal/data/datatest"
	"prenas/internal/data/inspect"
)

// Images with nothing to see in them are counted, and the ranges of values told: grey of 16
// bits with small values and pictures that are in the transparency alone are black.
func TestImagesOfOneColour(t *testing.T) {
	encode := func(img image.Image) []byte {
		var text bytes.Buffer
		if err := png.Encode(&text, img); err != nil {
			t.Fatal(err)
		}
		return text.Bytes()
	}
	small, shape, white, plain := image.NewGray16(image.Rect(0, 0, 20, 20)), image.NewNRGBA(image.Rect(0, 0, 20, 20)), image.NewGray(image.Rect(0, 0, 20, 20)), image.NewNRGBA(image.Rect(0, 0, 20, 20))
	for y := range 20 {
		for x := range 20 {
			small.SetGray16(x, y, color.Gray16{uint16(x * y)})
			shape.SetNRGBA(x, y, color.NRGBA{0, 0, 0, uint8(x * y)})
			white.SetGray(x, y, color.Gray{uint8(255 - x/4)})
			plain.SetNRGBA(x, y, color.NRGBA{uint8(10 * x), uint8(10 * y), 9, 255})
		}
	}
	dir := t.TempDir()
	files := map[string][]byte{"b/0.png": encode(plain), "a/readme.txt": []byte("a note")}
	for name, img := range map[string]image.Image{"a/0.png": small, "a/1.png": shape, "a/2.png": white} {
		files[name] = encode(img)
	}
	datatest.Write(t, dir, files)
	want := inspect.OneColourInfo{Images: 3, Black: 2, White: 1, First: filepath.Join(dir, "a", "0.png")}
	for _, src := range []string{"folder:" + dir, "tar:" + dir + "/shards"} {
		if strings.HasPrefix(src, "tar") {
			datatest.Write(t, dir, map[string][]byte{"shards/0.tar": datatest.Tar(t, "a/0.png", string(files["a/0.png"]), "a/1.png", string(files["a/1.png"]), "a/2.png", string(files["a/2.png"]), "b/0.png", string(files["b/0.png"]), "a/readme.txt", "a note")})
			want.First = dir + "/shards/0.tar, a/0.png"
		}
		d := open0(t, src)
		info, err := inspect.Describe(context.Background(), src, d, 100, nil)
		if err != nil || info.Values.OneColour != want {
			t.Errorf("%s: %+v (%v), want %+v", src, info.Values.OneColour, err, want)
		}
		if low, high := info.Values.Lowest, info.Values.Highest; low != (inspect.Spread{Max: 251}) || high != (inspect.Spread{Median: 190, Max: 255}) {
			t.Errorf("%s: lowest %v, highest %v", src, low, high)
		}
		if len(info.LeftOut.Files) != 1 || info.LeftOut.Files[0] != (data.LeftOutFiles{Ending: ".txt", Count: 1, What: "a text"}) {
			t.Errorf("%s: left out %+v", src, info.LeftOut)
		}
		checked, err := inspect.Check(context.Background(), d, 2, nil)
		if err != nil || checked.OneColour != want || checked.Images != 4 || len(checked.Damaged) != 0 || len(checked.LeftOut.Files) != 1 {
			t.Errorf("%s: %+v (%v)", src, checked, err)
		}
		var said []string
		if _, err := Open(context.Background(), src, Options{Look: true, Log: func(line string) { said = append(said, line) }}); err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(said, "\n"); !strings.Contains(text, "3 of 4 training images that were looked at are of nearly one colour (2 black, 1 white)") {
			t.Errorf("%s: said %q", src, text)
		}
	}
}
