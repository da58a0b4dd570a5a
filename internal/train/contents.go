package train

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"prenas/internal/data"
	"prenas/internal/rundir"
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
	if err := t.gatherContents(c); err != nil {
		return err
	}
	sums, news := c.Sums()
	if !news && t.world().Size() == 1 {
		return nil
	}
	return rundir.WriteImageDigests(t.FS, t.Out, sums)
}

// rememberContents reads what an earlier process wrote. Without it the run goes on: that
// is told, as images are then taken as they are.
func (t *trainer) rememberContents() error {
	c := t.contents()
	if c == nil {
		return nil
	}
	sums, err := rundir.ReadImageDigests(t.FS, t.Out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // of an earlier version, or cut before its first checkpoint
	}
	if err == nil {
		err = c.Remember(sums)
	}
	if errors.Is(err, data.ErrChanged) {
		return fmt.Errorf("resume %s: %w", t.Out, err)
	}
	if err != nil {
		t.Log(fmt.Sprintf("skipped %s: %v; whether images changed is not seen", filepath.Join(t.Out, rundir.ImageDigestsFile), err))
	}
	return nil
}
