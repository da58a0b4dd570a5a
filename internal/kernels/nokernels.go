//go:build !linux || !cgo

package kernels

import "errors"

// Register returns an error: there are no functions.
func Register(string) error { return errors.New("kernels need Linux and cgo") }

// Products is false: there are none.
func Products(bool) bool { return false }

// AMX says that there is none.
func AMX() string { return "kernels need Linux and cgo" }

// AMXPeak is 0: there is none.
func AMXPeak() float64 { return 0 }
