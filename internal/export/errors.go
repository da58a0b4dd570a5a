package export

import (
	"errors"
	"fmt"
)

// Errors of this package.
var (
	// ErrModel: a file that is not an exported model, or contradicts itself.
	ErrModel = errors.New("not an exported model")
	// ErrDamaged: a file whose bytes do not agree with the digest in it.
	ErrDamaged = errors.New("its bytes do not agree with the digest in its metadata, " + sealKey + ": it was damaged, or changed by another program; export it again, or take that entry out")
	// ErrNoDescription: safetensors that are no exported model.
	ErrNoDescription = fmt.Errorf("%w: it has tensors but no description", ErrModel)
	// ErrArch: an architecture that the weights do not hold.
	ErrArch = errors.New("cannot take architecture")
)
