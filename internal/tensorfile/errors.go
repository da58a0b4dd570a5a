package tensorfile

import (
	"errors"
	"fmt"
)

// Errors of this package; every error names the file.
var (
	// ErrFormat: the file is not a well-formed file of its kind.
	ErrFormat = errors.New("malformed tensor file")
	// ErrChecksum: the file's checksum is missing or does not agree with its
	// bytes: it was damaged after it was written.
	ErrChecksum = errors.New("damaged tensor file")
	// ErrForeign: the file has no checksum: another program wrote it, or it was damaged.
	ErrForeign = fmt.Errorf("%w: it has no checksum: it was damaged, or prenas did not write it", ErrFormat)
	// ErrGlobal: a .pth names something that is not on the list of what weights
	// are made of. What comes from an untrusted place may be an attack.
	ErrGlobal = errors.New("the file wants to call")
	// ErrDType: a tensor has a type that the caller cannot use.
	ErrDType = errors.New("unusable tensor type")
)
