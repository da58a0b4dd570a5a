// Package plaintext reads text files that people write by hand, in whatever coding their editor
// chose: UTF-8, with a byte order mark or without, or UTF-16 with one, become UTF-8 without.
package plaintext

import (
	"io"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Reader reads r as UTF-8 without a byte order mark. Without one in r, bytes pass as they are.
func Reader(r io.Reader) io.Reader {
	return transform.NewReader(r, unicode.BOMOverride(transform.Nop))
}

// UTF8 is a whole text as UTF-8 without a byte order mark.
func UTF8(text []byte) ([]byte, error) {
	out, _, err := transform.Bytes(unicode.BOMOverride(transform.Nop), text)
	return out, err
}
