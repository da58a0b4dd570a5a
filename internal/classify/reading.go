package classify

import (
	"errors"
	"io/fs"

	"prenas/internal/fsys"
)

// reading is a file system of a Go program, such as an embed.FS, of which files are read.
type reading struct {
	fsys.FS // nothing else of it is used
	in      fs.FS
}

func (r reading) Stat(path string) (fs.FileInfo, error) { return fs.Stat(r.in, path) }

func (r reading) Open(path string) (fsys.File, error) {
	file, err := r.in.Open(path)
	if err != nil {
		return nil, err
	}
	return readOnly{file, path}, nil
}

type readOnly struct {
	fs.File
	path string
}

func (readOnly) Write([]byte) (int, error) { return 0, errors.ErrUnsupported }
func (readOnly) Sync() error               { return errors.ErrUnsupported }
func (r readOnly) Name() string            { return r.path }
