package job

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/sealed"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// Meta is candidates.meta.json: what is ours beside a candidates file.
type Meta struct {
	Space      *space.Space      `json:"space"`
	Seed       uint64            `json:"seed"`
	Search     map[string]string `json:"search"`
	Weights    string            `json:"weights"`
	Inputs     string            `json:"inputs"`
	Enumerated int64             `json:"enumerated"`
	// Compared is how many architectures an exact search or a front chose among, all of the
	// space, without scoring each; empty for other searches.
	Compared       string                `json:"compared,omitempty"`
	EmptyIntervals []string              `json:"empty_intervals"`
	Cost           string                `json:"cost"`              // what intervals cut
	Budgets        []float64             `json:"budgets,omitempty"` // where these were asked for instead of equal steps
	Asked          []search.Asked        `json:"asked,omitempty"`   // none in files of earlier versions
	Spans          [2]float64            `json:"spans"`             // what the space's architectures cost
	Limits         []string              `json:"limits,omitempty"`
	RunnersUp      map[string]string     `json:"runners_up,omitempty"` // by interval: the second best architecture
	Ranking        *Ranking              `json:"ranking,omitempty"`    // of the shortlists; null where there was none
	Measured       *Measured             `json:"measured,omitempty"`   // what scores are, where they were measured
	Sums           string                `json:"sums,omitempty"`       // digest under which the sums of scores are stored
	Stability      []search.BinStability `json:"stability,omitempty"`
	Versions       map[string]string     `json:"versions"`
	// Files are the digests of what was written with this file, the candidates file among
	// them, by name; none in files of earlier versions.
	Files map[string]string `json:"files,omitempty"`
}

// metaPath is the sibling of a candidates file that holds what is ours.
func metaPath(candidates string) string {
	return strings.TrimSuffix(candidates, ".json") + ".meta.json"
}

// CandidateFiles are the files that a search writes, the candidates file first.
func CandidateFiles(candidates string) []string {
	return []string{candidates, metaPath(candidates), sumsPath(candidates), partsPath(candidates), measuredPath(candidates)}
}

// ReadMeta reads the sibling of a candidates file; it wraps fs.ErrNotExist
// where there is none, as beside the original's files.
func ReadMeta(candidates string) (Meta, error) {
	path := metaPath(candidates)
	var m Meta
	if err := sealed.Read(fsys.OS, path, &m); err != nil {
		return Meta{}, err
	}
	if m.Space == nil {
		return Meta{}, fmt.Errorf("%s: it names no space", path)
	}
	if err := m.Space.Validate(); err != nil {
		return Meta{}, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// of tells whether the meta file is of the candidates file as it is now. Where it is not, one
// of them was edited, or a search was cut between the two.
func (m Meta) of(candidates string) bool {
	if len(m.Files) == 0 {
		return true // of an earlier version
	}
	sum, err := fsys.Sum(candidates)
	return err != nil || slices.Contains(slices.Collect(maps.Values(m.Files)), sum) // whatever they are called now
}

// holdFile keeps other processes from writing a file that an input names, and finds out
// before long work whether it can be written.
func holdFile(by input.Name, path string) (release func(), err error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%w %s is a folder: name a file", by, path)
	}
	release, err = fsys.HoldFile(path)
	if err != nil && !errors.Is(err, fsys.ErrHeld) {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return nil, fmt.Errorf("%w %s: its folder cannot be written: %w", by, path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w %w", by, err)
	}
	return release, nil
}

func writeText(f fsys.FS, path string, text []byte) error {
	return fsys.WriteAtomic(f, path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}
