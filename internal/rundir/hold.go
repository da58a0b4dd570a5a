package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"prenas/internal/fsys"
)

// Hold keeps other processes from writing into the run directory run, which is made where
// there is none, and removes what those that were killed left half-written in it. If
// another one writes there the error is an fsys.HeldError.
func Hold(run string) (release func(), err error) {
	release, err = fsys.HoldFolder(run)
	if err != nil {
		return nil, fmt.Errorf("run directory %w", err)
	}
	for _, folder := range []string{CheckpointsDir, BoardDir} {
		if err := fsys.RemoveStale(filepath.Join(run, folder)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			release()
			return nil, fmt.Errorf("run directory %s: %w", run, err)
		}
	}
	return release, nil
}
