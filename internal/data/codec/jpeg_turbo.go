//go:build turbojpeg

package codec

/*
#cgo LDFLAGS: -lturbojpeg
#include <turbojpeg.h>
*/
import "C"

import (
	"unsafe"

	"prenas/internal/augment"
)

// decodeJPEG decodes a JPEG file of a known size with libjpeg-turbo, as PIL does, and
// smaller by 1, 2, 4 or 8 times: of each block of 8x8 values only the lowest frequencies
// are transformed back. part is where the part that is wanted is stored.
//
// It leaves to Go's decoder the files of four colours, and all that the library so much as
// warns of, so that what that decoder takes to be damaged does not pass half decoded.
func decodeJPEG(text []byte, height, width int, part augment.Box, by int) (augment.Piece, bool) {
	handle := C.tjInitDecompress()
	if handle == nil {
		return augment.Piece{}, false
	}
	defer C.tjDestroy(handle)
	file, size := (*C.uchar)(unsafe.Pointer(unsafe.SliceData(text))), C.ulong(len(text))
	var w, h, sampling, space C.int
	if C.tjDecompressHeader3(handle, file, size, &w, &h, &sampling, &space) != 0 || int(w) != width || int(h) != height {
		return augment.Piece{}, false
	}
	if space == C.TJCS_CMYK || space == C.TJCS_YCCK {
		return augment.Piece{}, false
	}
	img := augment.Image{Height: (height + by - 1) / by, Width: (width + by - 1) / by, Channels: 3}
	img.Pixels = make([]uint8, 3*img.Height*img.Width)
	to := (*C.uchar)(unsafe.Pointer(unsafe.SliceData(img.Pixels)))
	if C.tjDecompress2(handle, file, size, to, C.int(img.Width), 0, C.int(img.Height), C.TJPF_RGB, C.TJFLAG_ACCURATEDCT) != 0 {
		return augment.Piece{}, false
	}
	s := 1 / float64(by)
	return augment.Piece{Image: img, Box: augment.Box{Left: s * part.Left, Top: s * part.Top, Right: s * part.Right, Bottom: s * part.Bottom}}, true
}
