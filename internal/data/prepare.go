package data

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"prenas/internal/augment"
	"prenas/internal/data/codec"
	"prenas/internal/data/disk"
)

// UseImage gives use an image file as RGB. Its pixels count as held, in the budget that all
// workers share, until use returns, whose error it returns. Errors of the file name it.
func UseImage(path string, use func(Image) error) error {
	var used error
	size := int64(0)
	if info, err := os.Stat(path); err == nil { // else reading says what is wrong
		size = info.Size()
	}
	err := codec.Hold(size, func() error {
		text, err := disk.ReadImage(path)
		if err == nil {
			err = codec.DecodePart(text, codec.All, func(p augment.Piece) { used = use(p.Image) })
		}
		return err
	})
	if err != nil {
		return explain(path, err)
	}
	return used
}

// ListImages lists the image files below a folder, by their endings or else by what they hold,
// in order. It passes over what tools leave behind.
func ListImages(dir string) ([]string, error) {
	var list []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != dir && disk.IsLitter(e.Name()):
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case e.IsDir():
			return nil
		}
		is, _, err := disk.IsImage(path)
		if is {
			list = append(list, path)
		}
		return err
	})
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("%w in %s: images end in %s", ErrEmpty, dir, strings.Join(codec.Endings, " "))
	}
	return list, err
}
