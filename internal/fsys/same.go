package fsys

import (
	"os"
	"path/filepath"
	"strings"
)

// Same tells whether two paths are of one file or folder, be it by links. Of paths at which
// there is nothing yet it tells whether they are the same.
func Same(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	if errX == nil && errY == nil {
		return os.SameFile(x, y)
	}
	return realPath(a) == realPath(b)
}

// Within tells whether a path, at which there need be nothing yet, is a folder or lies in it.
func Within(path, folder string) bool {
	relative, err := filepath.Rel(realPath(folder), realPath(path))
	return err == nil && relative != ".." && !strings.HasPrefix(relative, ".."+string(filepath.Separator))
}

// realPath is an absolute path without links, as far as there is something at it.
func realPath(path string) string {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return filepath.Clean(path)
	}
	rest := ""
	for at := absolute; ; at = filepath.Dir(at) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest)
		}
		if filepath.Dir(at) == at {
			return absolute
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}
