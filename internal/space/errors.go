package space

import "errors"

// Errors of this package.
var (
	// ErrSpace: a space file or its values make no usable space.
	ErrSpace = errors.New("invalid search space")
	// ErrArch: text that is no architecture, or an architecture that is not of
	// the space.
	ErrArch = errors.New("invalid architecture")
	// ErrCandidates: a candidates file that is malformed or contradicts itself.
	ErrCandidates = errors.New("invalid candidates file")
	// ErrUnknownSpace: a name that is neither a built-in space nor a file.
	ErrUnknownSpace = errors.New("unknown space")
	// ErrSyntax: a space file that is not YAML of the expected form.
	ErrSyntax = errors.New("malformed space file")
)
