package picture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"math/bits"
)

// bmpHeader is what stands before the pixels of a BMP file: a file header of 14 bytes, an info
// header whose length tells its version, masks and a palette.
type bmpHeader struct {
	width, height int
	topDown       bool
	bits          int
	coding        uint32    // bmpPlain and so on
	masks         [3]uint32 // of red, green and blue in a pixel of 16 or 32 bits
	palette       [][3]uint8
	pixels        []byte
}

const (
	bmpFileHeader = 14

	bmpPlain   = 0
	bmpRLE8    = 1
	bmpRLE4    = 2
	bmpMasks   = 3
	bmpMasks32 = 6 // with one for transparency
)

var errBMPShort = errors.New("the BMP image is cut off")

var bmpKind = Kind{Format: "bmp", Name: "a BMP image"}

// isBMP tells a BMP file by its magic and the length of its info header.
func isBMP(head []byte) bool {
	if len(head) < bmpFileHeader+4 || string(head[:2]) != "BM" {
		return false
	}
	switch binary.LittleEndian.Uint32(head[bmpFileHeader:]) {
	case 12, 40, 52, 56, 64, 108, 124:
		return true
	}
	return false
}

// readBMP reads the header.
func readBMP(text []byte) (*bmpHeader, error) {
	order := binary.LittleEndian
	info := text[bmpFileHeader:]
	n := int(order.Uint32(info))
	if len(info) < n {
		return nil, errBMPShort
	}
	h := &bmpHeader{}
	colours, entry := 0, 4
	if n == 12 { // of OS/2
		h.width, h.height, h.bits = int(order.Uint16(info[4:])), int(order.Uint16(info[6:])), int(order.Uint16(info[10:]))
		entry = 3
	} else {
		h.width, h.height, h.bits = int(int32(order.Uint32(info[4:]))), int(int32(order.Uint32(info[8:]))), int(order.Uint16(info[14:]))
		h.coding, colours = order.Uint32(info[16:]), int(order.Uint32(info[32:]))
		if h.height < 0 {
			h.height, h.topDown = -h.height, true
		}
	}
	if h.width < 1 || h.height < 1 {
		return nil, fmt.Errorf("the BMP image is of %d by %d pixels", h.width, h.height)
	}
	rest := info[n:]
	switch {
	case h.coding == bmpMasks || h.coding == bmpMasks32:
		from := rest
		if n >= 52 {
			from = info[40:]
		} else if len(rest) >= 12 {
			rest = rest[12:]
		}
		if len(from) < 12 {
			return nil, errBMPShort
		}
		for c := range h.masks {
			h.masks[c] = order.Uint32(from[4*c:])
		}
	case h.bits == 16:
		h.masks = [3]uint32{0x7c00, 0x3e0, 0x1f}
	case h.bits == 32:
		h.masks = [3]uint32{0xff0000, 0xff00, 0xff}
	}
	switch known := h.coding == bmpPlain; {
	case h.bits == 1, h.bits == 2, h.bits == 4, h.bits == 8:
		known = known || h.bits == 8 && h.coding == bmpRLE8 || h.bits == 4 && h.coding == bmpRLE4
		if colours < 1 || colours > 1<<h.bits {
			colours = 1 << h.bits
		}
		colours = min(colours, len(rest)/entry)
		for i := range colours {
			h.palette = append(h.palette, [3]uint8{rest[i*entry+2], rest[i*entry+1], rest[i*entry]})
		}
		rest = rest[colours*entry:]
		if !known {
			return nil, h.unknown()
		}
	case h.bits == 24 && known, (h.bits == 16 || h.bits == 32) && (known || h.coding == bmpMasks || h.coding == bmpMasks32):
	default:
		return nil, h.unknown()
	}
	h.pixels = rest
	if at := int(order.Uint32(text[10:])); at >= bmpFileHeader+n && at <= len(text) {
		h.pixels = text[at:]
	}
	return h, nil
}

func (h *bmpHeader) unknown() error {
	return &NotDecoded{bmpKind, fmt.Sprintf("%d bits a pixel in the coding %d", h.bits, h.coding)}
}

func decodeBMP(text []byte) (image.Image, error) {
	h, err := readBMP(text)
	if err != nil {
		return nil, err
	}
	img := NewPixels(h.width, h.height)
	row := func(y int) []uint8 {
		if h.topDown {
			return img.row(y)
		}
		return img.row(h.height - 1 - y)
	}
	if h.coding == bmpRLE8 || h.coding == bmpRLE4 {
		return img, h.runs(row)
	}
	stride := (h.width*h.bits + 31) / 32 * 4
	line := (h.width*h.bits + 7) / 8 // of it in use: the last row of some files ends there
	for y := range h.height {
		at := y * stride
		if at+line > len(h.pixels) {
			return nil, errBMPShort
		}
		if err := h.plain(h.pixels[at:][:line], row(y)); err != nil {
			return nil, err
		}
	}
	return img, nil
}

// plain turns a row of pixels into RGB.
func (h *bmpHeader) plain(from, to []uint8) error {
	switch h.bits {
	case 16, 32:
		for x := range h.width {
			var v uint32
			if h.bits == 16 {
				v = uint32(binary.LittleEndian.Uint16(from[2*x:]))
			} else {
				v = binary.LittleEndian.Uint32(from[4*x:])
			}
			for c, mask := range h.masks {
				to[3*x+c] = masked(v, mask)
			}
		}
	case 24:
		for x := range h.width {
			to[3*x], to[3*x+1], to[3*x+2] = from[3*x+2], from[3*x+1], from[3*x]
		}
	default:
		each := 8 / h.bits
		for x := range h.width {
			index := from[x/each] >> (8 - h.bits*(x%each+1)) & (1<<h.bits - 1)
			if err := h.colour(index, to[3*x:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// masked is the part of a pixel under a mask, as 0 to 255.
func masked(v, mask uint32) uint8 {
	most := mask >> bits.TrailingZeros32(mask|1<<31)
	if most == 0 {
		return 0
	}
	return uint8(uint64(v&mask>>bits.TrailingZeros32(mask)) * 255 / uint64(most))
}

// colour writes an entry of the palette.
func (h *bmpHeader) colour(index uint8, to []uint8) error {
	if int(index) >= len(h.palette) {
		return fmt.Errorf("the BMP image has the colour %d of a palette of %d", index, len(h.palette))
	}
	copy(to, h.palette[index][:])
	return nil
}

// runs decodes runs of equal pixels. Pixels that are passed over have the first colour.
func (h *bmpHeader) runs(row func(y int) []uint8) error {
	for y := range h.height {
		for x := range h.width {
			if err := h.colour(0, row(y)[3*x:]); err != nil {
				return err
			}
		}
	}
	x, y := 0, 0
	put := func(index uint8) error {
		if y >= h.height || x >= h.width { // more than the row takes is passed over
			return nil
		}
		x++
		return h.colour(index, row(y)[3*(x-1):])
	}
	text := h.pixels
	for len(text) >= 2 {
		n, value := int(text[0]), text[1]
		text = text[2:]
		switch {
		case n > 0:
			for i := range n {
				index := value
				if h.coding == bmpRLE4 {
					index = nibble(value, i)
				}
				if err := put(index); err != nil {
					return err
				}
			}
		case value == 0:
			x, y = 0, y+1
		case value == 1:
			return nil
		case value == 2:
			if len(text) < 2 {
				return errBMPShort
			}
			x, y = x+int(text[0]), y+int(text[1])
			text = text[2:]
		default:
			length := int(value)
			if h.coding == bmpRLE4 {
				length = (length + 1) / 2
			}
			if len(text) < length {
				return errBMPShort
			}
			for i := range int(value) {
				index := text[min(i, length-1)]
				if h.coding == bmpRLE4 {
					index = nibble(text[i/2], i)
				}
				if err := put(index); err != nil {
					return err
				}
			}
			text = text[min(length+length%2, len(text)):]
		}
	}
	if y < h.height-1 {
		return errBMPShort
	}
	return nil
}

// nibble is the upper half of a byte for even numbers, the lower one for odd ones.
func nibble(b uint8, i int) uint8 {
	if i%2 == 0 {
		return b >> 4
	}
	return b & 15
}
