package picture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"math"
	"strconv"
)

// pnmHeader is the header of a PBM, PGM, PPM or PFM file: a magic, width, height and, but for
// PBM, the largest value, as decimal numbers with white space and comments between.
type pnmHeader struct {
	form          byte // '1' to '6', f for grey fractions, F for coloured ones
	width, height int
	most          int     // the largest value
	scale         float64 // of fractions: below 0 where they are little-endian
	pixels        []byte
}

const pnmNumber = 32 // bytes that a number may have

var errPNMShort = errors.New("the PNM image is cut off")

// isPNM tells a PNM file by its magic, a white space behind it and a number or a comment.
func isPNM(head []byte) bool {
	if len(head) < 4 || head[0] != 'P' || !isSpace(head[2]) {
		return false
	}
	switch head[1] {
	case '1', '2', '3', '4', '5', '6', 'f', 'F':
		return head[3] == '#' || isSpace(head[3]) || head[3] >= '0' && head[3] <= '9'
	}
	return false
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// pnmWord cuts the next word off, of at most so many bytes, with white space and comments
// before it.
func pnmWord(text []byte, most int) (word, rest []byte) {
	for len(text) > 0 && (isSpace(text[0]) || text[0] == '#') {
		if text[0] == '#' {
			for len(text) > 0 && text[0] != '\n' && text[0] != '\r' {
				text = text[1:]
			}
			continue
		}
		text = text[1:]
	}
	n := 0
	for n < min(len(text), most) && !isSpace(text[n]) && text[n] != '#' {
		n++
	}
	return text[:n], text[n:]
}

func readPNM(text []byte) (*pnmHeader, error) {
	h := &pnmHeader{form: text[1], most: 1}
	rest := text[2:]
	number := func() (n int, err error) {
		var word []byte
		word, rest = pnmWord(rest, pnmNumber)
		if n, err = strconv.Atoi(string(word)); err != nil || n < 1 || n > math.MaxInt32 {
			return 0, fmt.Errorf("%.20q in the header of a PNM image is no number from 1 on", word)
		}
		return n, nil
	}
	var err error
	if h.width, err = number(); err != nil {
		return nil, err
	}
	if h.height, err = number(); err != nil {
		return nil, err
	}
	switch h.form {
	case '1', '4':
	case 'f', 'F':
		var word []byte
		word, rest = pnmWord(rest, pnmNumber)
		if h.scale, err = strconv.ParseFloat(string(word), 64); err != nil || h.scale == 0 || math.IsInf(h.scale, 0) || math.IsNaN(h.scale) {
			return nil, fmt.Errorf("%.20q in the header of a PFM image is no scale", word)
		}
	default:
		if h.most, err = number(); err != nil || h.most > math.MaxUint16 {
			return nil, fmt.Errorf("the largest value of a PNM image must be from 1 to %d", math.MaxUint16)
		}
	}
	if len(rest) > 0 && h.form >= '4' { // one white space ends the header
		rest = rest[1:]
	}
	h.pixels = rest
	return h, nil
}

// samples are the values of a pixel.
func (h *pnmHeader) samples() int {
	if h.form == '3' || h.form == '6' || h.form == 'F' {
		return 3
	}
	return 1
}

// bytes are those of a row; of a text 1 for each value, as it has no fewer.
func (h *pnmHeader) bytes() int {
	n := h.width * h.samples()
	switch {
	case h.form == '4':
		return (h.width + 7) / 8
	case h.form == 'f' || h.form == 'F':
		return 4 * n
	case h.form >= '4' && h.most > math.MaxUint8:
		return 2 * n
	}
	return n
}

func decodePNM(text []byte) (image.Image, error) {
	h, err := readPNM(text)
	if err != nil {
		return nil, err
	}
	stride, samples := h.bytes(), h.samples()
	if len(h.pixels)/stride < h.height {
		return nil, errPNMShort
	}
	img := NewPixels(h.width, h.height)
	values := make([]uint8, h.width*samples)
	rest := h.pixels
	for y := range h.height {
		to := img.row(y)
		switch {
		case h.form <= '3':
			rest, err = h.words(rest, values)
		default:
			err = h.binary(rest[:stride], values)
			rest = rest[stride:]
		}
		if err != nil {
			return nil, err
		}
		if h.form == 'f' || h.form == 'F' { // from the last row to the first
			to = img.row(h.height - 1 - y)
		}
		for i := range to {
			to[i] = values[i/3*samples+i%3%samples]
		}
	}
	return img, nil
}

// level is a value as 0 to 255: rounded as Pillow does, but for the grey of more than 255
// levels, which has its high byte.
func (h *pnmHeader) level(v int) uint8 {
	switch {
	case h.most > math.MaxUint8 && h.samples() == 1:
		return uint8(min(int(math.RoundToEven(float64(v)*math.MaxUint16/float64(h.most))), math.MaxUint16) >> 8)
	case h.most == math.MaxUint8:
		return uint8(v)
	}
	return uint8(min(math.RoundToEven(float64(v)/float64(h.most)*255), 255))
}

func (h *pnmHeader) binary(from []byte, to []uint8) error {
	for i := range to {
		switch {
		case h.form == '4':
			to[i] = 255 * (1 - from[i/8]>>(7-i%8)&1)
		case h.form == 'f' || h.form == 'F':
			bits := binary.BigEndian.Uint32(from[4*i:])
			if h.scale < 0 {
				bits = binary.LittleEndian.Uint32(from[4*i:])
			}
			to[i] = cut(float64(math.Float32frombits(bits)))
		case h.most > math.MaxUint8:
			to[i] = h.level(int(binary.BigEndian.Uint16(from[2*i:])))
		default:
			to[i] = h.level(int(from[i]))
		}
	}
	return nil
}

// words reads values that are written as text; those of two levels may stand without
// space between them.
func (h *pnmHeader) words(from []byte, to []uint8) (rest []byte, err error) {
	most := pnmNumber
	if h.form == '1' {
		most = 1
	}
	for i := range to {
		var word []byte
		word, from = pnmWord(from, most)
		if len(word) == 0 {
			return nil, errPNMShort
		}
		v, err := strconv.Atoi(string(word))
		if err != nil || v < 0 || v > h.most {
			return nil, fmt.Errorf("%.20q in a PNM image is no value from 0 to %d", word, h.most)
		}
		if h.form == '1' {
			v = 1 - v
		}
		to[i] = h.level(v)
	}
	return from, nil
}

// cut is a number as 0 to 255, without its fraction, as Pillow does.
func cut(v float64) uint8 {
	switch {
	case v >= 255:
		return 255
	case v > 0:
		return uint8(v)
	}
	return 0
}
