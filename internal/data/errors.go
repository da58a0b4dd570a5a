package data

import (
	"errors"
	"io/fs"

	"prenas/internal/data/codec"
)

// Errors of this package; each names the source or the file.
var (
	// ErrSource: a SRC that names no known kind of source.
	ErrSource = errors.New("unknown data source")
	// ErrPattern: a pattern of file names that means nothing.
	ErrPattern = errors.New("malformed pattern")
	// ErrEmpty: a source without images.
	ErrEmpty = errors.New("no images")
	// ErrMissing: there is nothing where a source's path points. It is an fs.ErrNotExist.
	ErrMissing error = missing{}
	// ErrFormat: a file that is not of its kind, or damaged.
	ErrFormat = codec.ErrFormat
	// ErrLayout: folders that look like splits or classes and cannot be both.
	ErrLayout = errors.New("unclear folders")
	// ErrFetch: a data set that could not be had.
	ErrFetch = errors.New("cannot fetch data set")
)

type missing struct{}

func (missing) Error() string        { return "does not exist" }
func (missing) Is(target error) bool { return target == fs.ErrNotExist }
