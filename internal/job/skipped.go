package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"prenas/internal/data"
	"prenas/internal/fsys"
	"prenas/internal/printable"
)

// SkippedFile of a run directory lists the damaged images that training or evaluation left out: a
// line of JSON for each.
const SkippedFile = "bad-images.jsonl"

// noteSkipped adds the images that were left out to the list of a run directory, and logs their
// number. It writes nothing where all images were sound. A list that cannot be written is no error,
// since the run does not depend on it: the images are then logged one by one.
func noteSkipped(run string, skipped *data.Skipped, log func(string)) {
	n := len(skipped.List())
	if n == 0 {
		return
	}
	path := filepath.Join(run, SkippedFile)
	log(fmt.Sprintf("%s left out: see %s", damaged(n), path))
	lost, err := addListed(path, skipped)
	if lost > 0 {
		log(fmt.Sprintf("warning: %s: lines that were damaged are lost (%d)", path, lost))
	}
	if err == nil {
		err = fsys.WriteAtomic(fsys.OS, path, func(w io.Writer) error {
			lines := json.NewEncoder(w)
			for _, image := range skipped.List() {
				if err := lines.Encode(image); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		log(fmt.Sprintf("warning: what was left out is not listed: %v", err))
		tellSkipped(skipped, log)
	}
}

// tellSkipped logs the images that were left out, one by one, where no run directory lists them.
func tellSkipped(skipped *data.Skipped, log func(string)) {
	list := skipped.List()
	for _, image := range list {
		log(fmt.Sprintf("left out: %s: %s", image.Image, image.Why))
	}
	if len(list) > 0 {
		log(damaged(len(list)) + " left out")
	}
}

func damaged(n int) string {
	if n == 1 {
		return "1 damaged image was"
	}
	return printable.Count(n, "damaged image") + " were"
}

// addListed adds the images of a list on disk, if there is one. lost is the number of its lines that
// cannot be read.
func addListed(path string, to *data.Skipped) (lost int, err error) {
	text, err := fsys.ReadFile(fsys.OS, path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	for line := range bytes.Lines(text) {
		var image data.SkippedImage
		if err := json.Unmarshal(line, &image); err != nil {
			lost++
			continue
		}
		to.Add(&data.DamagedImage{Name: image.Image, Err: errors.New(image.Why)})
	}
	return lost, err
}
