package source

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"prenas/internal/augment"
	"prenas/internal/data/inspect"
	"prenas/internal/rng"
)

// scene is a made-up photograph: soft blobs of colour.
func scene(number uint64, width, height int) *image.RGBA {
	r := rng.New(7, "scene", number)
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	type blob struct{ x, y, s, red, green, blue float64 }
	var blobs []blob
	for range 12 {
		blobs = append(blobs, blob{r.Float64(), r.Float64(), 0.05 + 0.2*r.Float64(), 200 * r.Float64(), 200 * r.Float64(), 200 * r.Float64()})
	}
	for y := range height {
		for x := range width {
			c := [3]float64{30, 30, 30}
			for _, b := range blobs {
				u, v := (float64(x)/float64(width)-b.x)/b.s, (float64(y)/float64(height)-b.y)/b.s
				w := math.Exp(-u*u - v*v)
				c[0], c[1], c[2] = c[0]+w*b.red, c[1]+w*b.green, c[2]+w*b.blue
			}
			img.SetRGBA(x, y, color.RGBA{uint8(min(255, c[0])), uint8(min(255, c[1])), uint8(min(255, c[2])), 255})
		}
	}
	return img
}

func writeImage(t *testing.T, path string, img image.Image, quality int) {
	t.Helper()
	var text bytes.Buffer
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	switch {
	case err != nil:
	case quality > 0:
		err = jpeg.Encode(&text, img, &jpeg.Options{Quality: quality})
	default:
		err = png.Encode(&text, img)
	}
	if err == nil {
		err = os.WriteFile(path, text.Bytes(), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// brighter is an image in more light.
func brighter(img *image.RGBA) *image.RGBA {
	out := image.NewRGBA(img.Rect)
	for i, v := range img.Pix {
		out.Pix[i] = uint8(min(255, float64(v)*1.15+8))
	}
	return out
}

// What was compressed, scaled or brightened is found, whatever its class; other pictures are not.
// Damaged ones and those of one colour are counted.
func TestTwins(t *testing.T) {
	dir := t.TempDir()
	for k := range uint64(12) {
		writeImage(t, filepath.Join(dir, "train", []string{"a", "b"}[k%2], fmt.Sprintf("%02d.png", k)), scene(k, 120, 90), 0)
	}
	in := func(name string) string { return filepath.Join(dir, "test", name) }
	small := augment.Resize(augment.Image{Pixels: rgb(scene(2, 120, 90)), Height: 90, Width: 120, Channels: 3}, image.Rect(0, 0, 120, 90), 40, 53, augment.Bilinear)
	shrunk := image.NewRGBA(image.Rect(0, 0, 53, 40))
	for p := range 53 * 40 {
		copy(shrunk.Pix[4*p:], small.Pixels[3*p:][:3])
		shrunk.Pix[4*p+3] = 255
	}
	writeImage(t, in("a/same.png"), scene(0, 120, 90), 0)
	writeImage(t, in("a/jpeg.jpg"), scene(4, 120, 90), 40)
	writeImage(t, in("a/small.png"), shrunk, 0)
	writeImage(t, in("b/bright.png"), brighter(scene(7, 120, 90)), 0)
	writeImage(t, in("b/other_class.png"), scene(6, 120, 90), 0)
	for k := range uint64(8) {
		writeImage(t, in(fmt.Sprintf("b/new%d.png", k)), scene(100+k, 120, 90), 0)
	}
	writeImage(t, in("b/black.png"), image.NewRGBA(image.Rect(0, 0, 30, 30)), 0)
	if err := os.WriteFile(in("b/damaged.png"), []byte("\x89PNG\r\n\x1a\nno"), 0o644); err != nil {
		t.Fatal(err)
	}
	set, err := Open(context.Background(), "folder:"+dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := inspect.FindTwins(context.Background(), set, 1000, nil)
	if err != nil {
		t.Fatal(err)
	}
	twins := map[string]string{}
	for _, twin := range got.First {
		twins[filepath.Base(twin.Test)] = filepath.Base(twin.Train)
	}
	want := map[string]string{"same.png": "00.png", "jpeg.jpg": "04.png", "small.png": "02.png", "bright.png": "07.png", "other_class.png": "06.png"}
	if fmt.Sprint(twins) != fmt.Sprint(want) || got.Twins != len(want) || got.OtherClass != 1 || got.LeftOut != 2 {
		t.Errorf("%+v, want %v", got, want)
	}
	if got.Train != 12 || got.Test != 15 || got.AllTrain != 12 || got.AllTest != 15 {
		t.Errorf("compared %+v", got)
	}

	// Bounded: the same images, in any call, of both.
	some, err := inspect.FindTwins(context.Background(), set, 9, nil)
	if err != nil || some.Train+some.Test != 9 || some.Test != 3 || some.AllTest != 15 {
		t.Errorf("%+v, %v", some, err)
	}
	again, err := inspect.FindTwins(context.Background(), set, 9, nil)
	if err != nil || fmt.Sprint(again) != fmt.Sprint(some) {
		t.Errorf("%+v, then %+v, %v", some, again, err)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := inspect.FindTwins(cancelled, set, 1000, nil); err == nil {
		t.Error("it does not stop")
	}
}

func rgb(img *image.RGBA) (pixels []uint8) {
	for i := 0; i < len(img.Pix); i += 4 {
		pixels = append(pixels, img.Pix[i:i+3]...)
	}
	return pixels
}
