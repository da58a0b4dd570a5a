//go:build !turbojpeg

package codec

import "prenas/internal/augment"

// decodeJPEG leaves every file to Go's decoder; the build tag turbojpeg has another one.
func decodeJPEG([]byte, int, int, augment.Box, int) (augment.Piece, bool) {
	return augment.Piece{}, false
}
