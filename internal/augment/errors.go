package augment

import "errors"

// Errors of this package.
var (
	// ErrImage: an image that the transforms do not take.
	ErrImage = errors.New("unsuitable image")
	// ErrOption: an option out of its range.
	ErrOption = errors.New("bad augmentation option")
	// ErrPolicy: a policy that cannot be read.
	ErrPolicy = errors.New("bad augmentation policy")
)
