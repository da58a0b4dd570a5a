package space

import "errors"

// Errors that callers may test for with errors.Is. What is returned wraps one
// of them in a sentence that says where and what to do.
var (
	// ErrSyntax is a space file that is not what a space file looks like: no
	// YAML, an unknown or repeated key, a value of the wrong kind.
	ErrSyntax = errors.New("malformed space file")

	// ErrSpace is a space that reads well and from which nothing can be built.
	ErrSpace = errors.New("impossible search space")

	// ErrUnknownSpace is a name that is neither built in nor a file.
	ErrUnknownSpace = errors.New("unknown space")

	// ErrArch is a text that is not the (canonical) name of an architecture, or
	// an architecture that the space does not contain.
	ErrArch = errors.New("not an architecture")

	// ErrCandidates is a candidates file that is malformed or contradicts itself.
	ErrCandidates = errors.New("malformed candidates file")
)
