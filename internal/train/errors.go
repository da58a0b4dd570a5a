package train

import "errors"

// Errors a caller can act on. All others name the file or the step they are about.
var (
	// ErrInterrupted: the run was stopped by its context after a checkpoint was
	// written; it goes on with Options.Resume.
	ErrInterrupted = errors.New("training was interrupted")

	// ErrNonFinite: the loss or its gradient was not finite too many times in a row, or
	// what the weights have become is not.
	ErrNonFinite = errors.New("training has diverged")
)
