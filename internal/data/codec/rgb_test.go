package codec

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"testing"

	"prenas/internal/pytools"
	"prenas/internal/rng"
)

// pilProgram encodes pictures as JPEG in several ways and says what PIL decodes them to:
// length, file, height, width, RGB.
const pilProgram = `
import io, math, struct, sys
from PIL import Image

def picture(width, height):
    image = Image.new("RGB", (width, height))
    image.putdata([
        (int(128 + 100 * math.sin(x / 9) * math.cos(y / 7)), (x * 5 + y * 3) % 256 if x // 19 % 2 else 90, 255 if (x // 8 + y // 6) % 3 == 0 else 40)
        for y in range(height) for x in range(width)
    ])
    return image

for width, height in [(160, 120), (97, 61), (33, 1), (1, 33), (4, 4), (5, 9), (6, 2), (64, 17)]:
    for sampling in ["4:4:4", "4:2:2", "4:2:0"]:
        for quality in [50, 95]:
            for progressive in [False, True]:
                file = io.BytesIO()
                picture(width, height).save(file, "JPEG", subsampling=sampling, quality=quality, progressive=progressive)
                decoded = Image.open(io.BytesIO(file.getvalue())).convert("RGB")
                sys.stdout.buffer.write(struct.pack("<I", len(file.getvalue())) + file.getvalue())
                sys.stdout.buffer.write(struct.pack("<2I", height, width) + decoded.tobytes())
`

// JPEG pixels are PIL's, within a level on 99 % of the values of each file, but for files
// of so few values that a handful is more than that: these count together. What
// is left is the rounding of the two inverse cosine transforms.
func TestJPEGIsPILs(t *testing.T) {
	out := bytes.NewReader(pytools.Run(t, pytools.Python(t, pytools.Pillow), pilProgram, nil))
	values, unequal, files, allFar := 0, 0, 0, 0
	for out.Len() > 0 {
		var length uint32
		if err := binary.Read(out, binary.LittleEndian, &length); err != nil {
			t.Fatal(err)
		}
		text := make([]byte, length)
		var form [2]uint32
		if _, err := out.Read(text); err != nil {
			t.Fatal(err)
		}
		if err := binary.Read(out, binary.LittleEndian, &form); err != nil {
			t.Fatal(err)
		}
		theirs := make([]byte, 3*form[0]*form[1])
		if _, err := out.Read(theirs); err != nil {
			t.Fatal(err)
		}
		ours, err := Decode(text)
		if err != nil || ours.Height != int(form[0]) || ours.Width != int(form[1]) {
			t.Fatalf("file %d: %dx%d, want %v (%v)", files, ours.Height, ours.Width, form, err)
		}
		far := 0
		for i, v := range theirs {
			if v != ours.Pixels[i] {
				unequal++
			}
			if d := int(v) - int(ours.Pixels[i]); d < -1 || d > 1 {
				far++
			}
		}
		allFar += far
		if len(theirs) > 1000 && 100*far > len(theirs) {
			t.Errorf("file %d of %v pixels: %d of %d values are more than one level from PIL's", files, form, far, len(theirs))
		}
		files, values = files+1, values+len(theirs)
	}
	if 100*allFar > values {
		t.Errorf("%d of %d values are more than one level from PIL's", allFar, values)
	}
	t.Logf("%d files, %d values, %d not equal to PIL's, %d more than a level away", files, values, unequal, allFar)
}

// With half the rows instead of half the columns of chroma, everything is turned.
func TestChromaOfHalfTheRows(t *testing.T) {
	r := rng.New(1, "chroma")
	for _, size := range [][2]int{{40, 30}, {7, 9}, {6, 1}, {5, 5}} {
		wide := image.NewYCbCr(image.Rect(0, 0, size[0], size[1]), image.YCbCrSubsampleRatio422)
		tall := image.NewYCbCr(image.Rect(0, 0, size[1], size[0]), image.YCbCrSubsampleRatio440)
		for y := range size[1] {
			for x := range size[0] {
				wide.Y[wide.YOffset(x, y)] = uint8(r.IntN(256))
				wide.Cb[wide.COffset(x, y)], wide.Cr[wide.COffset(x, y)] = uint8(r.IntN(256)), uint8(r.IntN(256))
			}
		}
		for y := range size[1] {
			for x := range size[0] {
				tall.Y[tall.YOffset(y, x)] = wide.Y[wide.YOffset(x, y)]
				tall.Cb[tall.COffset(y, x)], tall.Cr[tall.COffset(y, x)] = wide.Cb[wide.COffset(x, y)], wide.Cr[wide.COffset(x, y)]
			}
		}
		a, b := FromImage(wide), FromImage(tall)
		for y := range size[1] {
			for x := range size[0] {
				if p, q := a.Pixels[3*(y*size[0]+x):][:3], b.Pixels[3*(x*size[1]+y):][:3]; !bytes.Equal(p, q) {
					t.Fatalf("%v, pixel %d, %d: %v, turned %v", size, x, y, p, q)
				}
			}
		}
	}
}

// Every kind of decoded image, and a part of one, gives the colours that its At gives.
func TestFromImage(t *testing.T) {
	r := rng.New(1, "images")
	const w, h = 9, 7
	all := image.Rect(0, 0, w, h)
	part := image.Rect(2, 1, 8, 6)
	set := func(img interface {
		image.Image
		Set(x, y int, c color.Color)
	}) image.Image {
		for y := range h {
			for x := range w {
				img.Set(x, y, color.NRGBA{uint8(r.IntN(256)), uint8(r.IntN(256)), uint8(r.IntN(256)), uint8(255 - 255*(x%2))})
			}
		}
		return img
	}
	type cut interface {
		SubImage(image.Rectangle) image.Image
	}
	paletted := image.NewPaletted(all, color.Palette{color.Gray{9}, color.NRGBA{1, 2, 3, 255}, color.NRGBA{200, 100, 0, 255}})
	for _, whole := range []image.Image{
		set(image.NewNRGBA(all)), set(image.NewRGBA(all)), set(image.NewGray(all)), set(image.NewGray16(all)),
		set(image.NewNRGBA64(all)), set(paletted),
	} {
		for _, img := range []image.Image{whole, whole.(cut).SubImage(part)} {
			got, b := FromImage(img), img.Bounds()
			for y := range b.Dy() {
				for x := range b.Dx() {
					c := color.NRGBAModel.Convert(img.At(b.Min.X+x, b.Min.Y+y)).(color.NRGBA)
					if p := got.Pixels[3*(y*b.Dx()+x):][:3]; !bytes.Equal(p, []byte{c.R, c.G, c.B}) {
						t.Fatalf("%T %v: pixel %d, %d is %v, want %v", img, b, x, y, p, c)
					}
				}
			}
		}
	}
}
