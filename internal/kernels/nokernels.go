//go:build !linux || !cgo

package kernels

import "errors"

// Register returns an error: there are no functions.
func Register(string) error { return errors.New("kernels need Linux and cgo") }

// Products is false: there are none.
func Products(bool) bool { return false }
