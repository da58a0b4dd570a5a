package job

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"prenas/internal/data"
	"prenas/internal/fsys"
)

// SkippedFile of a run directory lists the damaged images that were left out of it, by
// training or by evaluation: a line of JSON for each.
const SkippedFile = "bad-images.jsonl"

// noteSkipped adds what was left out to the list of a run directory and tells how much
// it was. It writes nothing where all images were sound.
func noteSkipped(run string, skipped *data.Skipped, log func(string)) error {
	n := len(skipped.List())
	if n == 0 {
		return nil
	}
	path := filepath.Join(run, SkippedFile)
	if err := addListed(path, skipped); err != nil {
		return err
	}
	log(fmt.Sprintf("%s left out: see %s", damaged(n), path))
	return fsys.WriteAtomic(fsys.OS, path, func(w io.Writer) error {
		lines := json.NewEncoder(w)
		for _, image := range skipped.List() {
			if err := lines.Encode(image); err != nil {
				return err
			}
		}
		return nil
	})
}

// tellSkipped names what was left out where there is no run directory to list it in.
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
	return fmt.Sprintf("%d damaged images were", n)
}

// addListed adds the images of a list on disk, if there is one.
func addListed(path string, to *data.Skipped) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	for lines := json.NewDecoder(bufio.NewReader(file)); ; {
		var image data.SkippedImage
		switch err := lines.Decode(&image); {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", path, err)
		}
		to.Add(&data.DamagedImage{Name: image.Image, Err: errors.New(image.Why)})
	}
}
