package codec

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"strings"
	"testing"

	"prenas/internal/pytools"
)

// What Pillow reads we read alike, over all formats, modes, bits, options and polarities that
// testdata/formats.py makes: to the value where decoding is exact; within one level for
// JPEG, whose decoders round otherwise, in 99 % of the values.
func TestFormats(t *testing.T) {
	program, err := os.ReadFile("testdata/formats.py")
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.NewReader(pytools.Run(t, pytools.Python(t, pytools.Pillow), string(program), nil))
	next := func(n uint32) []byte {
		part := make([]byte, n)
		if _, err := io.ReadFull(out, part); err != nil {
			t.Fatal(err)
		}
		return part
	}
	number := func() uint32 { return binary.LittleEndian.Uint32(next(4)) }
	files := map[string]int{}
	for out.Len() > 0 {
		name, near, text := string(next(number())), string(next(number())), next(number())
		height, width := number(), number()
		want := next(3 * height * width)
		format, _, _ := strings.Cut(name, " ")
		files[format]++
		img, err := Decode(text)
		switch {
		case near == "not decoded":
			if err == nil || strings.Contains(err.Error(), "malformed") || !strings.Contains(err.Error(), "convert it to") {
				t.Errorf("%s: %v, want what it is and how to convert it", name, err)
			}
			continue
		case err != nil:
			t.Errorf("%s: %v", name, err)
			continue
		case img.Height != int(height) || img.Width != int(width) || img.Channels != 3:
			t.Errorf("%s: %dx%dx%d, Pillow has %dx%d", name, img.Height, img.Width, img.Channels, height, width)
			continue
		}
		level, allowed := 0, 0
		if near == "jpeg" {
			level, allowed = 1, len(want)/100
		}
		far, farthest, first := 0, 0, -1
		for i, v := range want {
			d := max(int(v)-int(img.Pixels[i]), int(img.Pixels[i])-int(v))
			if farthest = max(farthest, d); d > level {
				if far++; first < 0 {
					first = i
				}
			}
		}
		if far > allowed {
			t.Errorf("%s: %d of %d values are more than %d levels from Pillow's, by up to %d; the first is %d at %d, not %d", name, far, len(want), level, farthest, img.Pixels[first], first, want[first])
		}
	}
	for format, least := range map[string]int{"jpeg": 40, "png": 150, "webp": 80, "gif": 40, "bmp": 80, "pnm": 20, "tiff": 700} {
		if files[format] < least {
			t.Errorf("%d files of %s are fewer than Pillow was to write", files[format], format)
		}
	}
	t.Logf("files: %v", files)
}
