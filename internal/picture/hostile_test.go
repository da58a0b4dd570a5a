package picture

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/jpeg"
	"strings"
	"testing"
)

// tiffOf is a little-endian TIFF of tags with one number each; those of several are all zero.
func tiffOf(tags [][2]int, more map[int]int, size int) []byte {
	text := []byte("II*\x00\x08\x00\x00\x00")
	order := binary.LittleEndian
	text = order.AppendUint16(text, uint16(len(tags)+len(more)))
	entry := func(tag, kind, count, value int) {
		text = order.AppendUint16(text, uint16(tag))
		text = order.AppendUint16(text, uint16(kind))
		text = order.AppendUint32(text, uint32(count))
		text = order.AppendUint32(text, uint32(value))
	}
	for _, t := range tags {
		entry(t[0], 4, 1, t[1])
	}
	for tag, count := range more {
		entry(tag, 1, count, 1024)
	}
	return append(text, make([]byte, size)...)
}

// Small files do not ask for work or memory out of all proportion to their pixels.
func TestHostileTIFF(t *testing.T) {
	for name, text := range map[string][]byte{
		"tiles much larger than the page": tiffOf([][2]int{{256, 1}, {257, 1 << 27}, {258, 8}, {259, 8}, {262, 1}, {322, 1025}, {323, 1025}}, map[int]int{324: 1 << 18, 325: 1 << 18}, 1<<19),
		"a part for each pixel":           tiffOf([][2]int{{256, 1 << 13}, {257, 1 << 13}, {258, 8}, {259, 1}, {262, 1}, {322, 1}, {323, 1}}, map[int]int{324: 1 << 20, 325: 1 << 20}, 1<<21),
		"no parts":                        tiffOf([][2]int{{256, 1 << 14}, {257, 1 << 14}, {258, 8}, {259, 1}, {262, 1}}, nil, 100),
		"many samples":                    tiffOf([][2]int{{256, 9}, {257, 9}, {258, 8}, {259, 1}, {262, 2}, {277, 99}}, nil, 100),
	} {
		if _, err := Decode(text); err == nil || !strings.Contains(err.Error(), "TIFF image") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A scan of a few bytes goes over the whole image.
func TestManyScans(t *testing.T) {
	var text bytes.Buffer
	if err := jpeg.Encode(&text, image.NewGray(image.Rect(0, 0, 16, 16)), nil); err != nil {
		t.Fatal(err)
	}
	if n := countScans(text.Bytes()); n != 1 {
		t.Errorf("%d scans, want 1", n)
	}
	whole := text.Bytes()
	at := bytes.Index(whole, []byte("\xff\xda"))
	if n := countScans(append(bytes.Clone(whole[:len(whole)-2]), bytes.Repeat(whole[at:len(whole)-2], 9)...)); n != 10 {
		t.Errorf("%d scans, want 10", n)
	}
	comment := append([]byte("\xff\xd8\xff\xfe\x00\x08\xff\xda\xff\xda\xff\xda"), whole[2:]...)
	if n := countScans(comment); n != 1 {
		t.Errorf("%d scans beside a comment, want 1", n)
	}
	large := bytes.Clone(whole)
	size := bytes.Index(large, []byte("\xff\xc0")) + 5
	copy(large[size:], "\x40\x00\x40\x00") // 16384 by 16384
	scans := append(large[:len(large)-2], bytes.Repeat(whole[at:len(whole)-2], 65)...)
	if _, err := Decode(scans); err != errScans {
		t.Errorf("66 scans of 2^28 pixels: %v", err)
	}
}

func TestIdentify(t *testing.T) {
	for text, want := range map[string]string{
		"\xff\xd8\xff\xe0": "a JPEG image", "II+\x00": "a TIFF image", "P5 1": "a PNM image", "P5\n#": "a PNM image", "Pa 1": "a text", "\x00\x00\x00\x20ftypheic": "a HEIC image",
		"\x00\x00\x00\x20ftypavif": "an AVIF image", "\x00\x00\x00\x20ftypmp42": "a video", "<!DOCTYPE html>": "an HTML page", "\xef\xbb\xbf <HTML>": "an HTML page",
		"version https://git-lfs.github.com/spec/v1\noid": "a Git LFS pointer", "<svg xmlns": "an SVG image", "<?xml version=\"1.0\"?><svg": "an SVG image", "<?xml version=\"1.0\"?><annotation>": "an XML text",
		"\x00\x05\x16\x07": "a Finder's note (AppleDouble)", "hello": "a text", "": "", "\x00\x01\x02": "", "BM": "a text", "BM\x36\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00": "a BMP image",
		"\xff\x0a\x00": "a JPEG XL image", "8BPS\x00": "a Photoshop image", "PK\x03\x04": "a zip archive", "RIFF1234WEBPVP8X": "a WebP image", "RIFF1234WAVE": "a sound",
	} {
		kind := Identify([]byte(text))
		if kind.Name != want {
			t.Errorf("%q is %q, want %q", text, kind.Name, want)
		}
		if kind.Format != "" {
			continue
		}
		if _, err := Decode([]byte(text)); err == nil || kind.Name != "" && !strings.Contains(err.Error(), kind.Name) || kind.Image() && !strings.Contains(err.Error(), "prenas does not decode") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
