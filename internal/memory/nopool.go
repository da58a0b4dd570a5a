//go:build !linux || !cgo

package memory

// Trim does nothing: there is no pool.
func Trim() {}

func pooled() bool { return false }
