//go:build linux && cgo

package memory

// #cgo LDFLAGS: -ldl
// #include "pool.h"
import "C"

func trim() { C.prenas_memory_trim() }

func pooled() bool { return C.prenas_regions[1].end != 0 }
