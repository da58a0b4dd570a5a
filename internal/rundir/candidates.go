package rundir

import (
	"errors"
	"fmt"
	"path/filepath"

	"prenas/internal/fsys"
	"prenas/pkg/space"
)

// ErrCandidates: the candidates file of a run is not that of what it trained.
var ErrCandidates = errors.New("it is not what the run was trained on: it was damaged or edited, put it back")

// Trained reads the architectures that a run trained: its candidates file, which must be the
// one that its manifest names.
func (m Manifest) Trained(f fsys.FS, run string) (space.Candidates, error) {
	path := filepath.Join(run, CandidatesFile)
	text, err := fsys.ReadText(f, path)
	if err != nil {
		return nil, fmt.Errorf("candidates file: %w", err)
	}
	if Digest(text) == m.Candidates {
		c, err := space.ParseCandidates(text)
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return c, err
	}
	return nil, fmt.Errorf("%s: %w", path, ErrCandidates)
}
