package data

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// ReadImage reads an image file as RGB. Errors name the file.
func ReadImage(path string) (Image, error) { return readImage(path) }

// ListImages lists the image files below a folder, by their endings, in order.
func ListImages(dir string) ([]string, error) {
	var list []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && slices.Contains(imageEndings, strings.ToLower(filepath.Ext(path))) {
			list = append(list, path)
		}
		return err
	})
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("%w in %s: images end in %s", ErrEmpty, dir, strings.Join(imageEndings, " "))
	}
	return list, err
}
