package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"prenas/internal/pytools"
)

// filesProgram writes, for images of every form that PIL can save, a name, the file,
// and the size and pixels of what PIL reads from it as upright RGB.
const filesProgram = `
import io, struct, sys
from PIL import Image, ImageOps

def picture(mode, w, h):
    i = Image.new("RGB", (w, h))
    i.putdata([((x * 7 + y * 3) % 256, (x * x // 5 + y) % 256, (255 - x + y * 5) % 256) for y in range(h) for x in range(w)])
    if mode == "RGBA":
        i.putalpha(Image.linear_gradient("L").resize((w, h)))
        return i
    if mode == "LA":
        l = i.convert("L").convert("LA")
        l.putalpha(Image.linear_gradient("L").resize((w, h)))
        return l
    if mode == "I;16":
        wide = Image.new("I;16", (w, h))
        wide.putdata([(x * 997 + y * 1201) % 65536 for y in range(h) for x in range(w)])
        return wide
    return i.convert(mode)

def emit(name, text, want):
    sys.stdout.buffer.write(struct.pack("<I", len(name)) + name.encode() + struct.pack("<I", len(text)) + text)
    sys.stdout.buffer.write(struct.pack("<2I", want.size[1], want.size[0]) + want.tobytes())

def save(name, image, want=None, **how):
    text = io.BytesIO()
    image.save(text, **how)
    text = text.getvalue()
    emit(name, text, want or ImageOps.exif_transpose(Image.open(io.BytesIO(text))).convert("RGB"))

def exif(orientation):
    e = Image.Exif()
    e[0x0112] = orientation
    return e

for w, h in ((31, 22), (16, 8), (1, 1), (3, 50)):
    size = f"{w}x{h}"
    for mode in ("RGB", "L", "CMYK"):
        for sampling in (0,) if mode == "CMYK" else (0, 1, 2):
            save(f"jpeg {mode} {sampling} {size}", picture(mode, w, h), format="JPEG", quality=90, subsampling=sampling)
        save(f"jpeg progressive {mode} {size}", picture(mode, w, h), format="JPEG", quality=80, progressive=True)
    for mode in ("RGB", "L", "RGBA", "LA", "P", "1"):
        save(f"png {mode} {size}", picture(mode, w, h), format="PNG")
    wide = picture("I;16", w, h)
    save(f"png 16 bit {size}", wide, Image.frombytes("L", (w, h), bytes(v >> 8 for v in wide.getdata())).convert("RGB"), format="PNG")
    save(f"png with a colour that is clear {size}", picture("RGB", w, h), format="PNG", transparency=(0, 0, 255))
    save(f"webp {size}", picture("RGB", w, h), format="WEBP", lossless=True)
    save(f"webp RGBA {size}", picture("RGBA", w, h), format="WEBP", lossless=True, exact=True)
    for mode in ("RGB", "L", "P", "1"):
        save(f"bmp {mode} {size}", picture(mode, w, h), format="BMP")
        save(f"gif {mode} {size}", picture(mode, w, h), format="GIF")
    frames = [picture("P", w, h), picture("L", w, h).convert("P")]
    save(f"gif of two frames {size}", frames[0], format="GIF", save_all=True, append_images=frames[1:], transparency=3)
    for mode in ("RGB", "L", "RGBA", "P", "1"):
        for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate"):
            save(f"tiff {mode} {compression} {size}", picture(mode, w, h), format="TIFF", compression=compression)
for orientation in range(1, 9):
    for form in ("JPEG", "PNG", "WEBP", "TIFF"):
        how = {"lossless": True} if form == "WEBP" else {"quality": 95} if form == "JPEG" else {}
        save(f"{form} turned {orientation}", picture("RGB", 33, 20), format=form, exif=exif(orientation), **how)

def gif(background, clear, left, top):
    "A frame of two pixels in a picture of 4 by 3, which PIL cannot save."
    text = b"GIF89a" + struct.pack("<HHBBB", 4, 3, 0x81, background, 0) + bytes([10, 20, 30, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    if clear is not None:
        text += b"\x21\xf9\x04\x01\0\0" + bytes([clear]) + b"\0"
    text += b"," + struct.pack("<HHHHB", left, top, 2, 1, 0)
    codes = "".join(format(c, "03b") for c in (5, 3, 1, 4))
    codes = int(codes, 2).to_bytes(2, "little")
    return text + bytes([2, len(codes)]) + codes + b"\0;"

for background, clear in ((0, None), (2, None), (2, 3), (0, 1)):
    text = gif(background, clear, 1, 2)
    emit(f"gif part {background} {clear}", text, Image.open(io.BytesIO(text)).convert("RGB"))
`

// What PIL reads we read alike: values within one level, but for the colours of CMYK
// and lossy files, where at least 99 % of them must be.
func TestDecodesAsPIL(t *testing.T) {
	python := pytools.Python(t, pytools.Pillow)
	out := bytes.NewReader(pytools.Run(t, python, filesProgram, nil))
	next := func(n uint32) []byte {
		part := make([]byte, n)
		if _, err := io.ReadFull(out, part); err != nil {
			t.Fatal(err)
		}
		return part
	}
	number := func() uint32 { return binary.LittleEndian.Uint32(next(4)) }
	files := 0
	for ; out.Len() > 0; files++ {
		name := string(next(number()))
		text := next(number())
		height, width := number(), number()
		want := next(3 * height * width)
		img, err := decode(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if img.Height != int(height) || img.Width != int(width) || img.Channels != 3 {
			t.Errorf("%s: %dx%dx%d, PIL has %dx%d", name, img.Height, img.Width, img.Channels, height, width)
			continue
		}
		far, farthest := 0, 0
		for i, v := range want {
			d := max(int(v)-int(img.Pixels[i]), int(img.Pixels[i])-int(v))
			if farthest = max(farthest, d); d > 1 {
				far++
			}
		}
		if 100*far > len(want) {
			t.Errorf("%s: %d of %d values are more than one level from PIL's, by up to %d", name, far, len(want), farthest)
		}
	}
	if files < 150 {
		t.Errorf("%d files are fewer than PIL was to write", files)
	}
}

// An orientation is the inverse of how the image was stored.
func TestUprightTwiceIsWhereItBegan(t *testing.T) {
	img := Image{Height: 3, Width: 5, Channels: 3, Pixels: make([]uint8, 45)}
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
	f.Add([]byte("BM\x1e\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		img, err := decode(text)
		if err == nil && len(img.Pixels) != img.Height*img.Width*3 {
			t.Errorf("%d values for %dx%d", len(img.Pixels), img.Height, img.Width)
		}
	})
}
