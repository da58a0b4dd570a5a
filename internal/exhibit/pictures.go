package exhibit

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"image/png"
	"io"
	"path/filepath"

	"prenas/internal/evaluate"
	"prenas/internal/rundir"
)

// Limits of a picture that is embedded in a page.
const (
	maxPicture     = 8 << 20 // bytes
	maxPictureSide = 1 << 14 // pixels
)

// embedded is a picture inside a page.
type embedded struct {
	URL           template.URL // data:
	Width, Height int
}

// readPicture reads a PNG file of the run.
func (r *Run) readPicture(name string) (text []byte, e *embedded, err error) {
	path := filepath.Join(r.dir, name)
	info, err := r.fs.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if info.Size() > maxPicture {
		return nil, nil, fmt.Errorf("%s: it has %d bytes, a picture of a run has at most %d", path, info.Size(), maxPicture)
	}
	file, err := r.fs.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	if text, err = io.ReadAll(io.LimitReader(file, maxPicture)); err != nil {
		return nil, nil, err
	}
	c, err := png.DecodeConfig(bytes.NewReader(text))
	if err == nil && max(c.Width, c.Height) > maxPictureSide {
		err = fmt.Errorf("%d x %d pixels", c.Width, c.Height)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: no picture of a run: %w", path, err)
	}
	return text, &embedded{template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(text)), c.Width, c.Height}, nil
}

func (r *Run) readAugmented() (err error) {
	_, r.augmented, err = r.readPicture(rundir.AugmentedFile)
	return err
}

// readMistakes reads the thumbnails of mistakes, if the results have them.
func (r *Run) readMistakes() error {
	if r.results == nil || r.results.Pictures == nil {
		return nil
	}
	text, e, err := r.readPicture(evaluate.MistakesFile)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != r.results.Pictures.SHA256 {
		return fmt.Errorf("%s is of other results than %s; prenas eval writes both anew", filepath.Join(r.dir, evaluate.MistakesFile), evaluate.ResultsFile)
	}
	r.mistakes = e
	return nil
}

// augmented is what the section of that name shows.
type augmented struct {
	embedded
	Mixes bool // the training also mixes the images of a batch, which is not shown
}
