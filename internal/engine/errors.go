package engine

import "errors"

// Errors of this package.
var (
	// ErrNoPlugin: no PJRT plug-in could be had, and pure Go was not allowed.
	ErrNoPlugin = errors.New("no XLA plug-in")
	// ErrChecksum: a plug-in's bytes are not the pinned ones.
	ErrChecksum = errors.New("wrong checksum")
	// ErrBackend: a backend name that does not exist.
	ErrBackend = errors.New("unknown backend")
	// ErrBuild: a graph could not be built or compiled.
	ErrBuild = errors.New("cannot build program")
	// ErrRun: a program failed while it ran.
	ErrRun = errors.New("program failed")
)
