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

// decodeJPEG decodes a JPEG file. Four colours without an Adobe marker are CMYK as Adobe
// stores it, which is how Pillow takes them and Go's decoder does not.
func decodeJPEG(text []byte) (image.Image, error) {
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
