package export

import "errors"

// Errors of this package.
var (
	// ErrModel: a file that is not an exported model, or contradicts itself.
	ErrModel = errors.New("not an exported model")
	// ErrArch: an architecture that the weights do not hold.
	ErrArch = errors.New("cannot take architecture")
)
