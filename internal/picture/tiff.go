package picture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"math"
	"math/bits"
	"slices"
)

// Tags of a TIFF (Adobe, revision 6.0, 1992), and of BigTIFF.
const (
	tagWidth          = 256
	tagHeight         = 257
	tagBits           = 258
	tagCompression    = 259
	tagPhotometric    = 262
	tagFillOrder      = 266
	tagStripOffsets   = 273
	tagSamples        = 277
	tagRowsPerStrip   = 278
	tagStripBytes     = 279
	tagPlanar         = 284
	tagT4Options      = 292
	tagPredictor      = 317
	tagPalette        = 320
	tagTileWidth      = 322
	tagTileHeight     = 323
	tagTileOffsets    = 324
	tagTileBytes      = 325
	tagExtraSamples   = 338
	tagSampleFormat   = 339
	tagJPEGTables     = 347
	tagChromaSampling = 530
	tagReference      = 532
)

// How a TIFF's samples are meant.
const (
	whiteIsZero = 0
	blackIsZero = 1
	tiffRGB     = 2
	tiffPalette = 3
	tiffCMYK    = 5
	tiffYCbCr   = 6
)

// What a TIFF's samples are.
const (
	sampleUnsigned = 1
	sampleSigned   = 2
	sampleFloat    = 3
)

// maxSamples bounds the samples of a pixel, which take memory.
const maxSamples = 8

var photometricNames = map[int]string{4: "a mask", 8: "colours of CIELab", 9: "colours of ICCLab", 10: "colours of ITULab", 32803: "the pattern of a camera's sensor", 34892: "a camera's raw values", 32844: "CIE log luminance", 32845: "CIE log colours"}

// tiffFile is the first page of a TIFF.
type tiffFile struct {
	text          []byte
	order         binary.ByteOrder
	tags          map[int][]uint64
	jpegTables    []byte
	width, height int

	compression, photometric int
	samples, bits, format    int // of a pixel, of a sample, and what a sample is
	planar                   bool
	premultiplied            bool // its fourth sample is the transparency, by which the colours were multiplied
	palette                  [][3]uint8
}

var errTIFFShort = errors.New("the TIFF image is cut off")

var tiffKind = Kind{Format: "tiff", Name: "a TIFF image"}

func tiffWith(what string, args ...any) error {
	return &NotDecoded{tiffKind, fmt.Sprintf(what, args...)}
}

// tiffTypes are the bytes of a value of each type.
var tiffTypes = [...]int{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}

// readTIFF reads the tags of the first page.
func readTIFF(text []byte) (*tiffFile, error) {
	f := &tiffFile{text: text, order: binary.LittleEndian, tags: map[int][]uint64{}}
	if text[0] == 'M' {
		f.order = binary.BigEndian
	}
	if err := f.readTags(text[2] == '+' || text[3] == '+'); err != nil {
		return nil, err
	}
	width, height := f.tag(tagWidth, 0), f.tag(tagHeight, 0)
	if width < 1 || height < 1 || width > math.MaxInt32 || height > math.MaxInt32 {
		return nil, fmt.Errorf("the TIFF image is of %d by %d pixels", width, height)
	}
	f.width, f.height = width, height
	return f, f.readLayout()
}

// readTags reads the first directory: a count, and for each tag its number, the type and
// the count of its values, and these or where they are.
func (f *tiffFile) readTags(big bool) error {
	at := func(offset uint64, n int) ([]byte, error) {
		if offset > uint64(len(f.text)) || uint64(len(f.text))-offset < uint64(n) {
			return nil, errTIFFShort
		}
		return f.text[offset:][:n], nil
	}
	// Widths of offsets and counts, and where the first directory's offset is.
	word, countLen, first := 4, 2, uint64(4)
	number := func(b []byte) uint64 { return uint64(f.order.Uint32(b)) }
	if big {
		word, countLen, first = 8, 8, 8
		number = f.order.Uint64
	}
	where, err := at(first, word)
	if err != nil {
		return err
	}
	offset := number(where)
	head, err := at(offset, countLen)
	if err != nil {
		return err
	}
	count := uint64(f.order.Uint16(head))
	if big {
		count = f.order.Uint64(head)
	}
	entry := 4 + 2*word
	if count > math.MaxUint16 {
		return errTIFFShort
	}
	entries, err := at(offset+uint64(countLen), int(count)*entry)
	if err != nil {
		return err
	}
	for ; len(entries) > 0; entries = entries[entry:] {
		tag, kind, n := int(f.order.Uint16(entries)), int(f.order.Uint16(entries[2:])), number(entries[4:])
		if kind >= len(tiffTypes) || tiffTypes[kind] == 0 || n > 4*maxParts {
			continue // of a tag that is not known or not used
		}
		values := entries[4+word:][:word]
		if size := int(n) * tiffTypes[kind]; size > word {
			if values, err = at(number(values), size); err != nil {
				continue
			}
		}
		if tag == tagJPEGTables {
			f.jpegTables = values[:n]
			continue
		}
		f.tags[tag] = f.values(values, kind, int(n))
	}
	return nil
}

func (f *tiffFile) values(b []byte, kind, n int) []uint64 {
	list := make([]uint64, n)
	for i := range list {
		switch tiffTypes[kind] {
		case 1:
			list[i] = uint64(b[i])
		case 2:
			list[i] = uint64(f.order.Uint16(b[2*i:]))
		case 4:
			list[i] = uint64(f.order.Uint32(b[4*i:]))
		default: // of fractions the numerator, which only tags have that are not used but one
			list[i] = f.order.Uint64(b[8*i:])
		}
	}
	return list
}

// tag is the first value of a tag, else usual.
func (f *tiffFile) tag(tag, usual int) int {
	if list := f.tags[tag]; len(list) > 0 && list[0] <= math.MaxInt32 {
		return int(list[0])
	}
	return usual
}

// readLayout works out what the pixels are, and refuses what is not decoded.
func (f *tiffFile) readLayout() error {
	f.compression, f.photometric = f.tag(tagCompression, 1), f.tag(tagPhotometric, whiteIsZero)
	f.bits, f.format = f.tag(tagBits, 1), f.tag(tagSampleFormat, sampleUnsigned)
	f.samples = f.tag(tagSamples, max(1, len(f.tags[tagBits])))
	f.planar = f.tag(tagPlanar, 1) == 2 && f.samples > 1
	if f.samples < 1 || f.samples > maxSamples {
		return tiffWith("%d samples a pixel", f.samples)
	}
	for _, b := range f.tags[tagBits] {
		if int(b) != f.bits {
			return tiffWith("samples of %d bits", f.tags[tagBits])
		}
	}
	for _, format := range f.tags[tagSampleFormat] {
		if int(format) != f.format {
			return tiffWith("samples of several kinds")
		}
	}
	if f.format == 4 { // what they are is not known
		f.format = sampleUnsigned
	}
	colours, depths := 1, []int{1, 2, 4, 8, 12, 16, 32}
	switch f.photometric {
	case whiteIsZero, blackIsZero:
		if f.format == sampleFloat {
			depths = []int{32, 64}
		}
	case tiffPalette:
		depths = []int{1, 2, 4, 8}
		if err := f.readPalette(); err != nil {
			return err
		}
	case tiffRGB:
		colours, depths = 3, []int{8, 16}
		f.premultiplied = f.samples > 3 && len(f.tags[tagExtraSamples]) > 0 && f.tags[tagExtraSamples][0] == 1
	case tiffCMYK:
		colours, depths = 4, []int{8, 16}
	case tiffYCbCr:
		colours, depths = min(3, f.samples), []int{8}
	default:
		if name, known := photometricNames[f.photometric]; known {
			return tiffWith("%s", name)
		}
		return tiffWith("colours of the kind %d", f.photometric)
	}
	if f.samples < colours {
		return fmt.Errorf("the TIFF image has %d samples a pixel, and its colours need %d", f.samples, colours)
	}
	if !slices.Contains(depths, f.bits) || f.format < sampleUnsigned || f.format > sampleFloat || colours > 1 && f.format != sampleUnsigned {
		return tiffWith("samples of %d bits of the kind %d", f.bits, f.format)
	}
	return nil
}

// readPalette reads all reds, then greens, then blues, of 16 bits.
func (f *tiffFile) readPalette() error {
	list := f.tags[tagPalette]
	n := len(list) / 3
	if n == 0 {
		return errors.New("the TIFF image has no palette")
	}
	f.palette = make([][3]uint8, n)
	for i := range f.palette {
		f.palette[i] = [3]uint8{uint8(list[i] >> 8), uint8(list[n+i] >> 8), uint8(list[2*n+i] >> 8)}
	}
	return nil
}

// kept is how many samples of a pixel are needed for its colours.
func (f *tiffFile) kept() int {
	switch {
	case f.photometric == tiffCMYK, f.premultiplied:
		return 4
	case f.photometric == tiffRGB, f.photometric == tiffYCbCr:
		return min(3, f.samples)
	}
	return 1
}

func decodeTIFF(text []byte) (image.Image, error) {
	f, err := readTIFF(text)
	if err != nil {
		return nil, err
	}
	grid, err := f.blocks()
	if err != nil {
		return nil, err
	}
	kept := f.kept()
	img := NewPixels(f.width, f.height)
	samples := img.Pix // [height, width, kept] of 8 bits
	if kept != 3 {
		samples = make([]uint8, kept*f.width*f.height)
	}
	for _, b := range grid {
		err := f.decodeBlock(b, func(y int, row []uint8, stride int) {
			if b.y+y >= f.height {
				return
			}
			to := samples[((b.y+y)*f.width+b.x)*kept:]
			for x := range min(b.width, f.width-b.x) {
				if f.planar {
					to[x*kept+b.sample] = row[x]
					continue
				}
				copy(to[x*kept:][:kept], row[x*stride:])
			}
		})
		if err != nil {
			return nil, err
		}
	}
	f.colour(img, samples, kept)
	return img, nil
}

// colour turns samples of 8 bits into RGB.
func (f *tiffFile) colour(img *Pixels, samples []uint8, kept int) {
	for i := range f.width * f.height {
		to, from := img.Pix[3*i:][:3], samples[kept*i:][:kept]
		switch {
		case f.photometric == tiffCMYK:
			fromCMYK(from, to)
		case f.photometric == tiffPalette:
			c := f.palette[min(int(from[0]), len(f.palette)-1)]
			copy(to, c[:])
		case f.premultiplied:
			for c := range 3 {
				to[c] = 0
				if a := int(from[3]); a > 0 {
					to[c] = uint8(min(int(from[c])*255/a, 255))
				}
			}
		case kept == 1:
			v := from[0]
			if f.photometric == whiteIsZero && f.format == sampleUnsigned && f.bits <= 16 {
				v = 255 - v
			}
			to[0], to[1], to[2] = v, v, v
		}
	}
}

// levels turns n samples of a row into 8 bits: all levels of fewer are spread over 0 to 255,
// of 12 and 16 the highest 8 are taken, and what is larger is cut to 0 to 255. An entry of
// a palette stays as it is.
func (f *tiffFile) levels(row []byte, n int, to []uint8) {
	for i := range n {
		switch f.bits {
		case 1, 2, 4:
			each := 8 / f.bits
			v := row[i/each] >> (8 - f.bits*(i%each+1)) & (1<<f.bits - 1)
			if f.photometric != tiffPalette {
				v *= 255 / (1<<f.bits - 1)
			}
			to[i] = v
		case 8:
			to[i] = row[i] // with a sign or without, as Pillow has it
		case 12:
			if i%2 == 0 {
				to[i] = row[i/2*3]
			} else {
				to[i] = row[i/2*3+1]<<4 | row[i/2*3+2]>>4
			}
		case 16:
			v := f.order.Uint16(row[2*i:])
			to[i] = uint8(v >> 8)
			if f.format == sampleSigned {
				to[i] = cut(float64(int16(v)))
			}
		case 32:
			to[i] = cut(f.number32(row[4*i:]))
		case 64:
			to[i] = cut(math.Float64frombits(f.order.Uint64(row[8*i:])))
		}
	}
}

func (f *tiffFile) number32(b []byte) float64 {
	switch v := f.order.Uint32(b); f.format {
	case sampleFloat:
		return float64(math.Float32frombits(v))
	case sampleSigned:
		return float64(int32(v))
	default:
		return float64(v)
	}
}

// reversed has the bits of each byte the other way round, for writers that fill bytes
// from the lowest bit on.
func reversed(text []byte) []byte {
	out := make([]byte, len(text))
	for i, b := range text {
		out[i] = bits.Reverse8(b)
	}
	return out
}
