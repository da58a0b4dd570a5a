package picture

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/image/tiff/lzw"
)

// Compressions of a TIFF.
const (
	tiffPlain      = 1
	tiffFaxRuns    = 2
	tiffGroup3     = 3
	tiffGroup4     = 4
	tiffLZW        = 5
	tiffJPEG       = 7
	tiffDeflate    = 8
	tiffPackBits   = 32773
	tiffOldDeflate = 32946
	tiffZstd       = 50000
)

var compressionNames = map[int]string{
	6: "JPEG of the old kind", 32809: "ThunderScan's compression", 34676: "SGI's compression", 34677: "SGI's compression", 34712: "JPEG 2000",
	34887: "LERC", 34925: "LZMA", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL", 34892: "lossy JPEG of DNG",
}

// maxParts bounds the strips or tiles of a page.
const maxParts = 1 << 20

// tiffBlock is a strip or a tile of a page, or of one of its planes.
type tiffBlock struct {
	x, y, width, height int // width and height as it is stored
	sample              int // of a plane
	text                []byte
}

// blocks lists those that hold the samples that are needed.
func (f *tiffFile) blocks() ([]tiffBlock, error) {
	width, height := f.width, min(f.height, f.tag(tagRowsPerStrip, f.height))
	offsets, lengths := f.tags[tagStripOffsets], f.tags[tagStripBytes]
	tiled := len(f.tags[tagTileOffsets]) > 0
	if tiled {
		width, height = f.tag(tagTileWidth, 0), f.tag(tagTileHeight, 0)
		offsets, lengths = f.tags[tagTileOffsets], f.tags[tagTileBytes]
	}
	if width < 1 || height < 1 {
		return nil, fmt.Errorf("the TIFF image has parts of %d by %d pixels", width, height)
	}
	planes := 1
	if f.planar {
		planes = f.kept()
	}
	across, down := (f.width-1)/width+1, (f.height-1)/height+1
	// Parts are about as large as the page together, but for what fills up the last ones of rows and
	// columns: a small file must not ask for more work than that.
	if float64(across)*float64(width)*float64(down)*float64(height) > 4*float64(f.width)*float64(f.height)+1<<22 || across > maxParts/down {
		return nil, fmt.Errorf("the TIFF image has %d by %d parts of %d by %d pixels", across, down, width, height)
	}
	if n := across * down; len(offsets)/planes < n {
		return nil, fmt.Errorf("the TIFF image has %d parts and needs %d", len(offsets), planes*n)
	}
	list := make([]tiffBlock, 0, planes*across*down)
	for i := range planes * across * down {
		b := tiffBlock{x: i % across * width, y: i / across % down * height, sample: i / across / down, width: width, height: height}
		if !tiled { // the last strip ends with the page
			b.height = min(height, f.height-b.y)
		}
		at := min(offsets[i], uint64(len(f.text)))
		b.text = f.text[at:]
		if i < len(lengths) && lengths[i] > 0 {
			b.text = b.text[:min(lengths[i], uint64(len(b.text)))]
		}
		list = append(list, b)
	}
	return list, nil
}

// putRow takes a row of a block as 8-bit samples [width, stride].
type putRow func(y int, row []uint8, stride int)

// putAll puts all rows of a block, [height, width, stride].
func (put putRow) putAll(samples []uint8, width, stride int) {
	n := width * stride
	for y := range len(samples) / n {
		put(y, samples[y*n:][:n], stride)
	}
}

// decodeBlock decodes a block and puts its rows.
func (f *tiffFile) decodeBlock(b tiffBlock, put putRow) error {
	switch {
	case f.compression == tiffJPEG:
		return f.jpegBlock(b, put)
	case f.photometric == tiffYCbCr && f.samples > 1:
		return f.chromaBlock(b, put)
	}
	stride := f.samples
	if f.planar {
		stride = 1
	}
	rowBytes := (b.width*stride*f.bits + 7) / 8
	raw, err := f.expand(b, rowBytes*b.height)
	if err != nil {
		return err
	}
	samples := make([]uint8, b.width*stride)
	for y := range b.height {
		row := raw[y*rowBytes:][:rowBytes]
		if err := f.predict(row, b.width, stride); err != nil {
			return err
		}
		f.levels(row, len(samples), samples)
		put(y, samples, stride)
	}
	return nil
}

// expand returns the first n bytes that a block holds.
func (f *tiffFile) expand(b tiffBlock, n int) ([]byte, error) {
	text := b.text
	if f.tag(tagFillOrder, 1) == 2 {
		text = reversed(text)
	}
	var from io.Reader = bytes.NewReader(text)
	switch f.compression {
	case tiffPlain, 0:
		if len(text) < n {
			return nil, errTIFFShort
		}
		return bytes.Clone(text[:n]), nil
	case tiffFaxRuns, tiffGroup3, tiffGroup4:
		if f.bits != 1 || f.samples != 1 {
			return nil, tiffWith("a fax of %d samples of %d bits", f.samples, f.bits)
		}
		return decodeFax(text, f.compression-tiffFaxRuns, f.tag(tagT4Options, 0)&1 != 0, b.width, b.height)
	case tiffPackBits:
		return unpackBits(text, n)
	case tiffLZW:
		r := lzw.NewReader(from, lzw.MSB, 8)
		defer r.Close()
		from = r
	case tiffDeflate, tiffOldDeflate:
		r, err := zlib.NewReader(from)
		if err != nil {
			return nil, fmt.Errorf("the TIFF image: %w", err)
		}
		defer r.Close()
		from = r
	case tiffZstd:
		r, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<27))
		if err != nil {
			return nil, fmt.Errorf("the TIFF image: %w", err)
		}
		defer r.Close()
		from = r
	default:
		if name, known := compressionNames[f.compression]; known {
			return nil, tiffWith("%s", name)
		}
		return nil, tiffWith("the compression %d", f.compression)
	}
	var raw bytes.Buffer // which grows with what there is, not with what the header promises
	if _, err := io.CopyN(&raw, from, int64(n)); err != nil {
		return nil, fmt.Errorf("the TIFF image: %w", err)
	}
	return raw.Bytes(), nil
}

// unpackBits undoes Apple's PackBits: n of 0 to 127 stands before n+1 bytes, one of 129 to 255
// before a byte that is repeated 257-n times, 128 means nothing.
func unpackBits(text []byte, n int) ([]byte, error) {
	var raw []byte
	for len(raw) < n {
		if len(text) < 2 {
			return nil, errTIFFShort
		}
		switch c := int(text[0]); {
		case c < 128:
			if len(text) < c+2 {
				return nil, errTIFFShort
			}
			raw, text = append(raw, text[1:][:c+1]...), text[c+2:]
		case c == 128:
			text = text[1:]
		default:
			raw, text = append(raw, bytes.Repeat(text[1:2], 257-c)...), text[2:]
		}
	}
	return raw[:n], nil
}

// predict undoes the differences between neighbours in a row.
func (f *tiffFile) predict(row []byte, width, stride int) error {
	n := width * stride
	switch predictor := f.tag(tagPredictor, 1); {
	case predictor < 2 || f.compression == tiffPlain || f.compression == tiffPackBits || f.compression <= tiffGroup4:
	case predictor == 2 && f.bits == 8:
		for i := stride; i < n; i++ {
			row[i] += row[i-stride]
		}
	case predictor == 2 && f.bits == 16:
		for i := stride; i < n; i++ {
			f.order.PutUint16(row[2*i:], f.order.Uint16(row[2*i:])+f.order.Uint16(row[2*(i-stride):]))
		}
	case predictor == 2 && f.bits == 32:
		for i := stride; i < n; i++ {
			f.order.PutUint32(row[4*i:], f.order.Uint32(row[4*i:])+f.order.Uint32(row[4*(i-stride):]))
		}
	case predictor == 2 && f.bits == 64:
		for i := stride; i < n; i++ {
			f.order.PutUint64(row[8*i:], f.order.Uint64(row[8*i:])+f.order.Uint64(row[8*(i-stride):]))
		}
	case predictor == 3 && f.format == sampleFloat:
		f.predictFloat(row, n, stride)
	default:
		return tiffWith("the predictor %d of samples of %d bits", predictor, f.bits)
	}
	return nil
}

// predictFloat undoes Adobe's predictor for fractions: all highest bytes of a row stand first,
// then the next ones, and each byte is the difference to the one before (TIFF technical note 3).
func (f *tiffFile) predictFloat(row []byte, n, stride int) {
	for i := stride; i < len(row); i++ {
		row[i] += row[i-stride]
	}
	planes, size := bytes.Clone(row), f.bits/8
	for i := range n {
		var one [8]byte
		for k := range size {
			one[k] = planes[k*n+i]
		}
		if f.order.String() == "LittleEndian" {
			for k := range size / 2 {
				one[k], one[size-1-k] = one[size-1-k], one[k]
			}
		}
		copy(row[i*size:], one[:size])
	}
}

// jpegBlock decodes a block that is a JPEG file without the tables that all blocks share.
func (f *tiffFile) jpegBlock(b tiffBlock, put putRow) error {
	if len(b.text) < 4 {
		return errTIFFShort
	}
	text := []byte("\xff\xd8")
	if n := len(f.jpegTables); n > 4 { // between its own start and end
		text = append(text, f.jpegTables[2:n-2]...)
	}
	// What the TIFF says of its colours holds, not what a decoder makes of the file.
	colours := byte(adobeAsStored)
	if f.photometric == tiffYCbCr {
		colours = adobeYCbCr
	}
	text = append(append(text, adobe(colours)...), b.text[2:]...)
	config, err := jpeg.DecodeConfig(bytes.NewReader(text))
	if err != nil {
		return jpegError(err)
	}
	if config.Width < b.width || config.Height < min(b.height, f.height-b.y) || config.Width > b.width+64 || config.Height > b.height+64 {
		return fmt.Errorf("the TIFF image has a part of %d by %d pixels where it says %d by %d", config.Width, config.Height, b.width, b.height)
	}
	img, err := jpeg.Decode(bytes.NewReader(text))
	if err != nil {
		return jpegError(err)
	}
	rows := min(b.height, config.Height)
	switch img := img.(type) {
	case *image.Gray:
		if !f.planar && f.samples > 1 {
			return errors.New("the TIFF image has a grey part where it has colours")
		}
		for y := range rows {
			put(y, img.Pix[y*img.Stride:], 1)
		}
	case *image.CMYK: // taken to be stored inverted, as Adobe does in JPEG files
		for i := range img.Pix {
			img.Pix[i] = 255 - img.Pix[i]
		}
		for y := range rows {
			put(y, img.Pix[y*img.Stride:], 4)
		}
	default:
		put.putAll(RGB(img, image.Rect(0, 0, b.width, rows)), b.width, 3)
	}
	return nil
}

// chromaBlock decodes a block of luma and chroma. Where there are fewer of chroma, each stands
// behind the luma of the columns and rows that it is for.
func (f *tiffFile) chromaBlock(b tiffBlock, put putRow) error {
	h, v := 2, 2
	if list := f.tags[tagChromaSampling]; len(list) == 2 {
		h, v = int(list[0]), int(list[1])
	}
	switch {
	case f.planar || f.samples != 3 || h != 1 && h != 2 && h != 4 || v != 1 && v != 2 && v != 4:
		return tiffWith("chroma of %d by %d pixels", h, v)
	case !f.fullRange():
		return tiffWith("luma and chroma of limited range")
	case f.tag(tagPredictor, 1) != 1 && f.compression != tiffPlain:
		return tiffWith("a predictor of luma and chroma")
	}
	across, down := (b.width+h-1)/h, (b.height+v-1)/v
	unit := h*v + 2
	raw, err := f.expand(b, across*down*unit)
	if err != nil {
		return err
	}
	img := image.NewYCbCr(image.Rect(0, 0, b.width, b.height), image.YCbCrSubsampleRatio444)
	for y := range b.height {
		for x := range b.width {
			one := raw[(y/v*across+x/h)*unit:][:unit]
			at := y*img.YStride + x
			img.Y[at], img.Cb[at], img.Cr[at] = one[y%v*h+x%h], one[unit-2], one[unit-1]
		}
	}
	put.putAll(RGB(img, img.Rect), b.width, 3)
	return nil
}

// fullRange tells whether luma goes from 0 to 255 and chroma is around 128, as it does where
// nothing else is said.
func (f *tiffFile) fullRange() bool {
	list := f.tags[tagReference]
	if len(list) != 6 {
		return true
	}
	for i, want := range [6]uint64{0, 255, 128, 255, 128, 255} {
		numerator, denominator := list[i]&0xffffffff, list[i]>>32
		if f.order.String() == "BigEndian" {
			numerator, denominator = denominator, numerator
		}
		if numerator != want*denominator {
			return false
		}
	}
	return true
}
