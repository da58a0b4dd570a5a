package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"

	"golang.org/x/image/webp"
)

// webpChunk is a chunk of a RIFF file.
type webpChunk struct {
	name string
	data []byte
}

// webpChunks divides what stands in a RIFF file behind its header, or in a frame of one, into
// chunks. One that is cut off ends at the end of the text.
func webpChunks(text []byte) (chunks []webpChunk) {
	for len(text) >= 8 {
		n := int(min(uint64(binary.LittleEndian.Uint32(text[4:])), uint64(len(text)-8)))
		chunks = append(chunks, webpChunk{string(text[:4]), text[8:][:n]})
		text = text[min(8+n+n%2, len(text)):]
	}
	return chunks
}

func appendChunk(to []byte, c webpChunk) []byte {
	to = binary.LittleEndian.AppendUint32(append(to, c.name...), uint32(len(c.data)))
	return append(append(to, c.data...), make([]byte, len(c.data)%2)...)
}

const (
	riffHeader = 12 // "RIFF", the length, "WEBP"
	vp8xHeader = 10 // flags, 3 bytes kept, width-1 and height-1 in 3 bytes each
	anmfHeader = 16 // x/2, y/2, width-1, height-1 and the time in 3 bytes each, flags

	vp8xAnimation = 1 << 1
	vp8xAlpha     = 1 << 4
)

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// animation is the canvas of an animated WebP and its first frame, as a file of its own that
// does not move.
type animation struct {
	width, height int
	at            image.Point // of the frame on the canvas
	frame         []byte
}

var errNoFrame = errors.New("an animated WebP image without a whole frame")

// readAnimation reads an animated WebP; it returns nil for one that is not.
func readAnimation(text []byte) (*animation, error) {
	chunks := webpChunks(text[min(riffHeader, len(text)):])
	if len(chunks) == 0 || chunks[0].name != "VP8X" || len(chunks[0].data) < vp8xHeader || chunks[0].data[0]&vp8xAnimation == 0 {
		return nil, nil
	}
	canvas := chunks[0].data
	for _, c := range chunks[1:] {
		if c.name != "ANMF" {
			continue
		}
		if len(c.data) < anmfHeader {
			return nil, errNoFrame
		}
		a := &animation{width: uint24(canvas[4:]) + 1, height: uint24(canvas[7:]) + 1, at: image.Pt(2*uint24(c.data), 2*uint24(c.data[3:]))}
		if a.at.X+uint24(c.data[6:])+1 > a.width || a.at.Y+uint24(c.data[9:])+1 > a.height {
			return nil, errNoFrame
		}
		header := make([]byte, vp8xHeader)
		copy(header[4:], c.data[6:12]) // width and height
		var rest []byte
		for _, part := range webpChunks(c.data[anmfHeader:]) {
			switch part.name {
			case "ALPH":
				header[0] = vp8xAlpha
				rest = appendChunk(rest, part)
			case "VP8 ", "VP8L":
				rest = appendChunk(rest, part)
			}
		}
		a.frame = appendChunk([]byte("RIFF\x00\x00\x00\x00WEBP"), webpChunk{"VP8X", header})
		a.frame = append(a.frame, rest...)
		binary.LittleEndian.PutUint32(a.frame[4:], uint32(len(a.frame)-8))
		return a, nil
	}
	return nil, errNoFrame
}

func webpConfig(text []byte) (image.Config, error) {
	a, err := readAnimation(text)
	if err != nil {
		return image.Config{}, err
	}
	if a != nil {
		return image.Config{Width: a.width, Height: a.height}, nil
	}
	return webp.DecodeConfig(bytes.NewReader(text))
}

// decodeWebP decodes a WebP image, of an animated one the first frame on black.
func decodeWebP(text []byte) (image.Image, error) {
	a, err := readAnimation(text)
	if err != nil {
		return nil, err
	}
	if a == nil {
		return decodeStillWebP(text)
	}
	frame, err := decodeStillWebP(a.frame)
	if err != nil {
		return nil, err
	}
	canvas := NewPixels(a.width, a.height)
	size := frame.Bounds().Size()
	part := image.Rectangle{Min: a.at, Max: a.at.Add(size)}
	if !part.In(canvas.Rect) {
		return nil, errNoFrame
	}
	pixels := RGB(frame, frame.Bounds())
	for y := range size.Y {
		copy(canvas.row(part.Min.Y + y)[3*part.Min.X:], pixels[3*y*size.X:][:3*size.X])
	}
	return canvas, nil
}

// decodeStillWebP decodes a WebP image that does not move. Lossy ones are luma and chroma of
// limited range, which the library hands on as if they were of full range.
func decodeStillWebP(text []byte) (image.Image, error) {
	img, err := webp.Decode(bytes.NewReader(text))
	switch lossy := img.(type) {
	case *image.YCbCr:
		return fromVP8(lossy), err
	case *image.NYCbCrA:
		return fromVP8(&lossy.YCbCr), err
	}
	return img, err
}

// fromVP8 turns the luma (16 to 235) and chroma (16 to 240), of half the columns and rows, of
// a VP8 frame into RGB as libwebp does: chroma is interpolated from the four nearest
// values, weighted 9, 3, 3 and 1, in its order of rounding.
func fromVP8(from *image.YCbCr) *Pixels {
	width, height := from.Rect.Dx(), from.Rect.Dy()
	to := NewPixels(width, height)
	last := (height+1)/2 - 1
	line := func(plane []uint8, row int) []uint8 { return plane[row*from.CStride:][:(width+1)/2] }
	for y := range height {
		near, far := y/2, min(max(y/2-1+y%2*2, 0), last) // the rows of chroma nearest to it
		vp8Row(from.Y[y*from.YStride:][:width],
			[2][]uint8{line(from.Cb, near), line(from.Cb, far)},
			[2][]uint8{line(from.Cr, near), line(from.Cr, far)}, to.row(y))
	}
	return to
}

// vp8Row writes a row as RGB. cb and cr are the nearest row of chroma and the one next to it.
func vp8Row(luma []uint8, cb, cr [2][]uint8, to []uint8) {
	last := len(cb[0]) - 1
	for x, y := range luma {
		near, far := x/2, min(max(x/2-1+x%2*2, 0), last)
		var u, v int32
		if near == far { // at the edges there is no other column
			u, v = vp8Edge(cb, near), vp8Edge(cr, near)
		} else {
			u, v = vp8Chroma(cb, near, far), vp8Chroma(cr, near, far)
		}
		l := int32(y) * 19077 >> 8
		to[3*x] = vp8Clip(l + v*26149>>8 - 14234)
		to[3*x+1] = vp8Clip(l - u*6419>>8 - v*13320>>8 + 8708)
		to[3*x+2] = vp8Clip(l + u*33050>>8 - 17685)
	}
}

// vp8Edge is chroma in the first or last column: 3/4 of the near row, 1/4 of the far one.
func vp8Edge(c [2][]uint8, x int) int32 { return (3*int32(c[0][x]) + int32(c[1][x]) + 2) >> 2 }

func vp8Chroma(c [2][]uint8, near, far int) int32 {
	a, b := int32(c[0][near]), int32(c[0][far])
	d, e := int32(c[1][near]), int32(c[1][far])
	return ((a+b+d+e+8+2*(b+d))>>3 + a) >> 1 // of (9a + 3b + 3d + e + 8) / 16
}

// vp8Clip drops the 6 bits behind the point.
func vp8Clip(v int32) uint8 { return clip(v >> 6) }
