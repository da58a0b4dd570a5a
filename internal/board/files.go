package board

import (
	"io/fs"
	"os"

	"prenas/internal/fsys"
)

// inside is a file system of which the files below a folder are read; nothing outside of it is
// reached, through links either.
type inside struct {
	fsys.FS // nothing else of it is used
	root    *os.Root
}

func (i inside) Stat(path string) (fs.FileInfo, error) { return i.root.Stat(path) }

// Open opens a file.
func (i inside) Open(path string) (fsys.File, error) {
	file, err := openRegular(i.root, path)
	if err != nil {
		return nil, err
	}
	return file, nil
}

// openRegular opens a file below a folder. What is none, such as a pipe, is refused before it is
// waited for.
func openRegular(root *os.Root, path string) (*os.File, error) {
	info, err := root.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fsys.ErrNotRegular}
	}
	return root.Open(path)
}
