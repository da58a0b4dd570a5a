package search

import "errors"

// Errors that callers may test for with errors.Is. What is returned wraps one
// of them in a sentence that says what to do.
var (
	// ErrMethod is the name of a score, a block score, a search method or a way
	// of splitting that is not known, or one that cannot do what is asked.
	ErrMethod = errors.New("unknown method")

	// ErrWeights are weights or gradients that lack a tensor of the space or
	// have one of another shape.
	ErrWeights = errors.New("weights do not fit the space")

	// ErrNotFinite are weights or gradients with NaN or infinity, or a score
	// that comes out as one.
	ErrNotFinite = errors.New("not a finite number")

	// ErrZeroGradients are gradients that are all zero, which rank nothing.
	ErrZeroGradients = errors.New("all gradients are zero")

	// ErrInterval is an interval that cuts nothing: a limit below the minimum,
	// a step that is not positive.
	ErrInterval = errors.New("impossible interval")

	// ErrBudget are limits that no architecture can meet together.
	ErrBudget = errors.New("no architecture meets the limits")

	// ErrEmpty is a search whose intervals are all empty.
	ErrEmpty = errors.New("no architecture")

	// ErrTooLarge is a space or a problem too large for the method.
	ErrTooLarge = errors.New("too large")
)
