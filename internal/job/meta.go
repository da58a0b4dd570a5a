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

// Meta is candidates.meta.json. The candidates file has the original's form; all else that we know
// of a search is here.
type Meta struct {
	Space      *space.Space      `json:"space"`
	Seed       uint64            `json:"seed"`
	Search     map[string]string `json:"search"`
	Weights    string            `json:"weights"`
	Inputs     string            `json:"inputs"`
	Enumerated int64             `json:"enumerated"`
	// Compared is the number of architectures that an exact search or a front chose among. It is
	// all of the space, though not each was scored. Empty for other searches.
	Compared       string                `json:"compared,omitempty"`
	EmptyIntervals []string              `json:"empty_intervals"`
	Cost           string                `json:"cost"`              // that the intervals divide
	Budgets        []float64             `json:"budgets,omitempty"` // bounds of the intervals, where they have no equal steps
	Asked          []search.Asked        `json:"asked,omitempty"`   // none in files of earlier versions
	Spans          [2]float64            `json:"spans"`             // what the space's architectures cost
	Limits         []string              `json:"limits,omitempty"`
	RunnersUp      map[string]string     `json:"runners_up,omitempty"` // by interval: the second best architecture
	Ranking        *Ranking              `json:"ranking,omitempty"`    // of the shortlists; null where there was none
	Measured       *Measured             `json:"measured,omitempty"`   // how scores were measured; null where they were computed
	Sums           string                `json:"sums,omitempty"`       // digest under which the sums of scores are stored
	Stability      []search.BinStability `json:"stability,omitempty"`
	Versions       map[string]string     `json:"versions"`
	// Files are the digests, by name, of the files that were written with this one; the candidates
	// file is among them. None in files of earlier versions.
	Files map[string]string `json:"files,omitempty"`
}

// metaPath is the path of the meta file beside a candidates file.
func metaPath(candidates string) string {
	return strings.TrimSuffix(candidates, ".json") + ".meta.json"
}

// CandidateFiles are the files that a search writes, the candidates file first.
func CandidateFiles(candidates string) []string {
	return []string{candidates, metaPath(candidates), sumsPath(candidates), partsPath(candidates), measuredPath(candidates)}
}

// ReadMeta reads the meta file beside a candidates file. Its error wraps fs.ErrNotExist where there
// is none: files of the original have none.
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

// of tells whether the meta file belongs to the candidates file as it is now. If not, one of them
// was edited, or a search was stopped after it had written the first of them.
func (m Meta) of(candidates string) bool {
	if len(m.Files) == 0 {
		return true // a file of an earlier version has no digest to compare
	}
	sum, err := fsys.Sum(candidates)
	return err != nil || slices.Contains(slices.Collect(maps.Values(m.Files)), sum) // the file may have been renamed
}

// holdFile locks a file against other processes until release is called. It also finds out, before
// the long work, whether the file can be written. by is the input that names the file.
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
