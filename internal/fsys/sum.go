package fsys

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// Sum is the SHA-256 of a file, in hex.
func Sum(path string) (string, error) {
	f, err := OpenRegular(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
