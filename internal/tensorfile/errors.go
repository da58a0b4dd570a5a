package tensorfile

import "errors"

// Errors of this package; every error names the file.
var (
	// ErrFormat: the file is not a well-formed file of its kind.
	ErrFormat = errors.New("malformed tensor file")
	// ErrChecksum: the file's checksum is missing or does not agree with its
	// bytes: it was damaged after it was written.
	ErrChecksum = errors.New("damaged tensor file")
	// ErrDType: a tensor has a type that the caller cannot use.
	ErrDType = errors.New("unusable tensor type")
)
