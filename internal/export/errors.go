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
	// ErrCut: an ONNX file that is not whole.
	ErrCut = errors.New("it is no whole ONNX file: it was cut off or damaged; fetch or export it again")
	// ErrNoDescription: safetensors that are no exported model.
	ErrNoDescription = fmt.Errorf("%w: it has tensors but no description", ErrModel)
	// ErrArch: an architecture that the weights do not hold.
	ErrArch = errors.New("cannot take architecture")
)
