//go:build linux && cgo

package memory

// #cgo LDFLAGS: -ldl
// #include "pool.h"
import "C"

// Trim gives the pages of freed blocks back to the kernel, for the next block to be touched anew.
// It takes milliseconds. Call it after work that leaves much behind and comes seldom, such as compiling a program.
func Trim() { C.prenas_memory_trim() }

func pooled() bool { return C.prenas_regions[1].end != 0 }
