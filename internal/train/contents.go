package train

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"prenas/internal/data"
	"prenas/internal/tensorfile"
)

// contentsFile of a run directory has the digest of each image that was read, so that a run
// which goes on finds images that changed, or changed places, as it reads them again. The digest of
// the manifest is of names and sizes, which are known before the first step.
const (
	contentsFile = "images.safetensors"
	contentsName = "sha256" // the first 8 bytes of each, as a whole number; 0: not read yet
)

// contents of the source's images, if it has them.
func (t *trainer) contents() *data.Contents {
	if s, ok := t.Source.(interface{ Contents() *data.Contents }); ok {
		return s.Contents()
	}
	return nil
}

// saveContents writes the digests of images if there are new ones.
func (t *trainer) saveContents() error {
	c := t.contents()
	if c == nil {
		return nil
	}
	sums, news := c.Sums()
	if !news {
		return nil
	}
	var text []byte
	for _, sum := range sums {
		text = binary.LittleEndian.AppendUint64(text, sum)
	}
	return tensorfile.Write(t.FS, filepath.Join(t.Out, contentsFile), &tensorfile.File{
		Tensors: map[string]tensorfile.Tensor{contentsName: {DType: "U64", Shape: []int{len(sums)}, Data: text}},
	})
}

// rememberContents reads what an earlier process wrote. Without it the run goes on: that
// is told, as images are then taken as they are.
func (t *trainer) rememberContents() error {
	c := t.contents()
	if c == nil {
		return nil
	}
	path := filepath.Join(t.Out, contentsFile)
	file, err := tensorfile.ReadVerified(t.FS, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // of an earlier version, or cut before its first checkpoint
	}
	if err == nil {
		text := file.Tensors[contentsName].Data
		var sums []uint64
		for ; len(text) >= 8; text = text[8:] {
			sums = append(sums, binary.LittleEndian.Uint64(text))
		}
		err = c.Remember(sums)
	}
	if errors.Is(err, data.ErrChanged) {
		return fmt.Errorf("resume %s: %w", t.Out, err)
	}
	if err != nil {
		t.Log(fmt.Sprintf("skipped %s: %v; whether images changed is not seen", path, err))
	}
	return nil
}
