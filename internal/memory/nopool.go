//go:build !linux || !cgo

package memory

func trim() {}

func pooled() bool { return false }
