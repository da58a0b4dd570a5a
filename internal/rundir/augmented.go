package rundir

import (
	"io"
	"path/filepath"

	"prenas/internal/fsys"
)

// AugmentedFile of a run directory is a picture of what augmentation makes of some training images:
// a row for each, in it first the image as a trained model is shown it, then as training sees it in
// the first epochs.
const AugmentedFile = "augmented.png"

// WriteAugmented writes the picture, whole or not at all.
func WriteAugmented(f fsys.FS, run string, write func(io.Writer) error) error {
	return fsys.WriteAtomic(f, filepath.Join(run, AugmentedFile), write)
}
