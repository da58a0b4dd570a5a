package rundir

import (
	"encoding/binary"
	"path/filepath"

	"prenas/internal/fsys"
	"prenas/internal/tensorfile"
)

// imageDigestsFile of a run directory has the digest of each image that was read, so that a run
// which goes on finds images that changed, or changed places, as it reads them again. The digest of
// the manifest is of names and sizes, which are known before the first step.
const (
	ImageDigestsFile = "images.safetensors"
	imageDigestsName = "sha256" // the first 8 bytes of each, as a whole number; 0: not read yet
)

// WriteImageDigests writes a digest of each image, 0 of one that was not read yet, whole or not
// at all.
func WriteImageDigests(f fsys.FS, run string, sums []uint64) error {
	var text []byte
	for _, sum := range sums {
		text = binary.LittleEndian.AppendUint64(text, sum)
	}
	return tensorfile.Write(f, filepath.Join(run, ImageDigestsFile), &tensorfile.File{
		Tensors: map[string]tensorfile.Tensor{imageDigestsName: {DType: "U64", Shape: []int{len(sums)}, Data: text}},
	})
}

// ReadImageDigests reads what writeImageDigests wrote. The error wraps fs.ErrNotExist where the
// run has none: it is of an earlier version, or was cut before its first checkpoint.
func ReadImageDigests(f fsys.FS, run string) ([]uint64, error) {
	file, err := tensorfile.ReadVerified(f, filepath.Join(run, ImageDigestsFile))
	if err != nil {
		return nil, err
	}
	var sums []uint64
	for text := file.Tensors[imageDigestsName].Data; len(text) >= 8; text = text[8:] {
		sums = append(sums, binary.LittleEndian.Uint64(text))
	}
	return sums, nil
}
