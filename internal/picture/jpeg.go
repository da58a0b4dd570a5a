package picture

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
)

// What an Adobe marker says of the colours of a JPEG file.
const (
	adobeAsStored = 0 // RGB or CMYK
	adobeYCbCr    = 1
)

// adobe is an Adobe marker (APP14): version 100, no flags, and the colours.
func adobe(colours byte) []byte {
	return append([]byte("\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"), colours)
}

// maxScanned bounds the pixels that the scans of a file go over, all together: a scan may be a few
// bytes, and the decoder goes over the whole image in each.
const maxScanned = 1 << 34

var errScans = errors.New("the JPEG image has more scans than an image of its size may have")

// countScans counts the scans of a JPEG file.
func countScans(text []byte) (scans int) {
	for at := 2; ; {
		next := bytes.IndexByte(text[min(at, len(text)):], 0xff)
		if next < 0 || at+next+3 >= len(text) {
			return scans
		}
		at += next + 2
		switch marker := text[at-1]; {
		case marker == 0xff: // fills up
			at--
		case marker == 0xda:
			scans++
		case marker == 0xd9:
			return scans
		case marker >= 0xc0 && (marker < 0xd0 || marker > 0xd7): // of a segment with a length
			at += int(text[at])<<8 | int(text[at+1])
		}
	}
}

// decodeJPEG decodes a JPEG file. Four colours without an Adobe marker are CMYK as Adobe
// stores it, which is how Pillow takes them and Go's decoder does not.
func decodeJPEG(text []byte) (image.Image, error) {
	config, err := jpeg.DecodeConfig(bytes.NewReader(text))
	if err == nil && countScans(text) > maxScanned/max(1, config.Width*config.Height) {
		return nil, errScans
	}
	img, err := jpeg.Decode(bytes.NewReader(text))
	if _, unsupported := err.(jpeg.UnsupportedError); unsupported && !bytes.Contains(text, []byte("Adobe\x00")) {
		marked := append(append(bytes.Clone(text[:2]), adobe(adobeAsStored)...), text[2:]...)
		if again, failed := jpeg.Decode(bytes.NewReader(marked)); failed == nil {
			return again, nil
		}
	}
	return img, jpegError(err)
}

// jpegError tells what Go's decoder does not know from what is damaged.
func jpegError(err error) error {
	var unsupported jpeg.UnsupportedError
	if errors.As(err, &unsupported) {
		return &NotDecoded{Kind{Format: "jpeg", Name: "a JPEG image"}, "an unusual " + string(unsupported)}
	}
	return err
}
