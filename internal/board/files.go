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

// Open opens a file. What is none, such as a pipe, is refused before it is waited for.
func (i inside) Open(path string) (fsys.File, error) {
	info, err := i.root.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fsys.ErrNotRegular}
	}
	file, err := i.root.Open(path)
	if err != nil {
		return nil, err
	}
	return file, nil
}
