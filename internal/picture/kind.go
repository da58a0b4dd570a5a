package picture

import (
	"bytes"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"
	"unicode/utf8"

	"prenas/internal/mistaken"
)

// HeadLen is how many of a file's first bytes Identify wants, fewer of a shorter file.
const HeadLen = 512

// Kind is what a file is by its first bytes.
type Kind struct {
	Format string // by which Decode knows it: jpeg, png, gif, webp, tiff, bmp, pnm; else empty
	Name   string // as in a sentence: a PNG image, an AVIF image, an HTML page; empty if not known
	advice string // what can be done where it is not decoded
}

// Image tells whether the file is an image, whether or not it can be decoded.
func (k Kind) Image() bool { return k.Format != "" || strings.HasSuffix(k.Name, " image") }

// signature is how files of a kind begin; ? stands for any byte.
type signature struct {
	begins string
	Kind
}

const magick = "convert it to PNG or JPEG, as with ImageMagick's: magick"

var signatures = []signature{
	{"\xff\xd8\xff", Kind{Format: "jpeg", Name: "a JPEG image"}},
	{"\x89PNG\r\n\x1a\n????CgBI", Kind{Name: "an iPhone PNG image", advice: "convert it back to PNG, as with Xcode's: pngcrush -revert-iphone-optimizations"}},
	{"\x89PNG\r\n\x1a\n", Kind{Format: "png", Name: "a PNG image"}},
	{"GIF87a", Kind{Format: "gif", Name: "a GIF image"}},
	{"GIF89a", Kind{Format: "gif", Name: "a GIF image"}},
	{"RIFF????WEBPVP8", Kind{Format: "webp", Name: "a WebP image"}},
	{"II*\x00", Kind{Format: "tiff", Name: "a TIFF image"}},
	{"MM\x00*", Kind{Format: "tiff", Name: "a TIFF image"}},
	{"II+\x00", Kind{Format: "tiff", Name: "a TIFF image"}}, // BigTIFF
	{"MM\x00+", Kind{Format: "tiff", Name: "a TIFF image"}},
	{"????ftypavif", Kind{Name: "an AVIF image", advice: "convert it to PNG, as with libavif's: avifdec"}},
	{"????ftypavis", Kind{Name: "an AVIF image", advice: "convert it to PNG, as with libavif's: avifdec"}},
	{"????ftypmif1", Kind{Name: "a HEIF image", advice: heic}},
	{"????ftypmsf1", Kind{Name: "a HEIF image", advice: heic}},
	{"????ftyphei", Kind{Name: "a HEIC image", advice: heic}},
	{"????ftyphev", Kind{Name: "a HEIC image", advice: heic}},
	{"????ftypcrx", Kind{Name: "a CR3 raw image", advice: raw}},
	{"????ftyp", Kind{Name: "a video"}},
	{"\xff\x0a", Kind{Name: "a JPEG XL image", advice: "convert it to PNG, as with libjxl's: djxl"}},
	{"\x00\x00\x00\x0cJXL \r\n\x87\n", Kind{Name: "a JPEG XL image", advice: "convert it to PNG, as with libjxl's: djxl"}},
	{"\x00\x00\x00\x0cjP  \r\n\x87\n", Kind{Name: "a JPEG 2000 image", advice: "convert it to PNG, as with OpenJPEG's: opj_decompress"}},
	{"\xff\x4f\xff\x51", Kind{Name: "a JPEG 2000 image", advice: "convert it to PNG, as with OpenJPEG's: opj_decompress"}},
	{"II\xbc", Kind{Name: "a JPEG XR image", advice: magick}},
	{"\x00\x00\x01\x00?\x00", Kind{Name: "an ICO image", advice: magick}},
	{"\x00\x00\x02\x00?\x00", Kind{Name: "a CUR image", advice: magick}},
	{"8BPS", Kind{Name: "a Photoshop image", advice: magick}},
	{"gimp xcf", Kind{Name: "a GIMP image", advice: magick}},
	{"v/1\x01", Kind{Name: "an OpenEXR image", advice: magick}},
	{"#?RADIANCE", Kind{Name: "a Radiance HDR image", advice: magick}},
	{"DDS ", Kind{Name: "a DDS image", advice: magick}},
	{"qoif", Kind{Name: "a QOI image", advice: magick}},
	{"SIMPLE  =", Kind{Name: "a FITS image", advice: magick}},
	{"\x01\xda", Kind{Name: "an SGI image", advice: magick}},
	{"IIU\x00", Kind{Name: "a raw image of a camera", advice: raw}},
	{"IIRO", Kind{Name: "a raw image of a camera", advice: raw}},
	{"FUJIFILM", Kind{Name: "a raw image of a camera", advice: raw}},
	{"%PDF-", Kind{Name: "a PDF document"}},
	{"%!PS", Kind{Name: "a PostScript document"}},
	{"PK\x03\x04", Kind{Name: "a zip archive", advice: "unpack it"}},
	{"\x1f\x8b", Kind{Name: "a gzip file", advice: "unpack it"}},
	{"\x28\xb5\x2f\xfd", Kind{Name: "a zstd file", advice: "unpack it"}},
	{"7z\xbc\xaf\x27\x1c", Kind{Name: "a 7z archive", advice: "unpack it"}},
	{"Rar!\x1a", Kind{Name: "a RAR archive", advice: "unpack it"}},
	{"\x93NUMPY", Kind{Name: "a NumPy array"}},
	{"\x89HDF", Kind{Name: "an HDF5 file"}},
	{"\x1aE\xdf\xa3", Kind{Name: "a video"}},
	{"RIFF????AVI ", Kind{Name: "a video"}},
	{"RIFF????WAVE", Kind{Name: "a sound"}},
	{"\x00\x05\x16\x07", Kind{Name: "a Finder's note (AppleDouble)", advice: "it belongs to another file; delete it"}},
}

const (
	heic = "convert it to JPEG, as with libheif's: heif-convert"
	raw  = "convert it to JPEG with the camera maker's program, or to TIFF, as with: dcraw -T"
)

// Identify says what a file is by its first HeadLen bytes, or all that it has.
func Identify(head []byte) Kind {
	for _, s := range signatures {
		if s.begin(head) {
			return s.Kind
		}
	}
	switch {
	case isBMP(head):
		return Kind{Format: "bmp", Name: "a BMP image"}
	case isPNM(head):
		return Kind{Format: "pnm", Name: "a PNM image"}
	}
	return textKind(head)
}

func (s signature) begin(head []byte) bool {
	if len(head) < len(s.begins) {
		return false
	}
	for i := range len(s.begins) {
		if s.begins[i] != '?' && s.begins[i] != head[i] {
			return false
		}
	}
	return true
}

// textKind tells what a text is, as what servers send in place of an image.
func textKind(head []byte) Kind {
	text := bytes.ToLower(bytes.TrimSpace(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))))
	if name, advice := mistaken.For(head); name != "" {
		return Kind{Name: name, advice: advice}
	}
	switch {
	case bytes.HasPrefix(text, []byte("<svg")), bytes.HasPrefix(text, []byte("<?xml")) && bytes.Contains(text, []byte("<svg")):
		return Kind{Name: "an SVG image", advice: "draw it as PNG, as with: rsvg-convert"}
	case bytes.HasPrefix(text, []byte("<?xml")):
		return Kind{Name: "an XML text"}
	case len(text) > 0 && utf8.Valid(head[:max(0, len(head)-utf8.UTFMax)]) && !bytes.ContainsFunc(head, func(r rune) bool { return r < ' ' && !strings.ContainsRune("\t\r\n\f", r) }):
		return Kind{Name: "a text"}
	}
	return Kind{}
}

// NotDecoded is the error of a file that is no image, or one that is known but not decoded.
type NotDecoded struct {
	Kind
	With string // what of a known format is not decoded; empty: nothing of it is
}

func (e *NotDecoded) Error() string {
	switch {
	case e.With != "":
		return fmt.Sprintf("it is %s with %s, which prenas does not decode: %s", e.Name, e.With, magick)
	case e.Name == "":
		return "it is no image of a known format"
	case e.advice != "" && e.Image():
		return fmt.Sprintf("it is %s, which prenas does not decode: %s", e.Name, e.advice)
	case e.advice != "":
		return fmt.Sprintf("it is %s, no image: %s", e.Name, e.advice)
	}
	return fmt.Sprintf("it is %s, no image", e.Name)
}

// Config reads the size of an image, as it is stored, and the name of its format from its header.
func Config(text []byte) (width, height int, format string, err error) {
	kind := Identify(text[:min(len(text), HeadLen)])
	var c image.Config
	switch kind.Format {
	case "jpeg":
		c, err = jpeg.DecodeConfig(bytes.NewReader(text))
		err = jpegError(err)
	case "png":
		c, err = png.DecodeConfig(bytes.NewReader(text))
	case "gif":
		c, err = gif.DecodeConfig(bytes.NewReader(text))
	case "webp":
		c, err = webpConfig(text)
	case "tiff":
		var f *tiffFile
		if f, err = readTIFF(text); err == nil {
			c.Width, c.Height = f.width, f.height
		}
	case "bmp":
		var h *bmpHeader
		if h, err = readBMP(text); err == nil {
			c.Width, c.Height = h.width, h.height
		}
	case "pnm":
		var h *pnmHeader
		if h, err = readPNM(text); err == nil {
			c.Width, c.Height = h.width, h.height
		}
	default:
		err = &NotDecoded{Kind: kind}
	}
	return c.Width, c.Height, kind.Format, err
}

// Decode decodes the first frame or page of an image as it is stored. It asks for memory in
// proportion to the size that Config tells, which the caller must find fit; a decoder may panic
// on a hostile file.
func Decode(text []byte) (image.Image, error) {
	switch kind := Identify(text[:min(len(text), HeadLen)]); kind.Format {
	case "jpeg":
		return decodeJPEG(text)
	case "png":
		return png.Decode(bytes.NewReader(text))
	case "gif":
		return decodeGIF(text)
	case "webp":
		return decodeWebP(text)
	case "tiff":
		return decodeTIFF(text)
	case "bmp":
		return decodeBMP(text)
	case "pnm":
		return decodePNM(text)
	default:
		return nil, &NotDecoded{Kind: kind}
	}
}
