//go:build linux && cgo

package kernels

// #cgo CFLAGS: -Wall -Wextra
// #cgo LDFLAGS: -ldl -lm
// #include <stdlib.h>
// #include "amx.h"
// #include "call.h"
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"
)

var registered sync.Map // of paths: func() error

// Register makes the functions known to the CPU plug-in at this path, which must be loaded.
// A second call does nothing and returns what the first did.
func Register(plugin string) error {
	once, _ := registered.LoadOrStore(plugin, sync.OnceValue(func() error { return register(plugin) }))
	return once.(func() error)()
}

// Products tells whether the processor has what products take, of operands of bf16 or of float32.
func Products(bf16 bool) bool { return bool(C.prenas_products(C.bool(bf16))) }

// AMX is empty where products in bf16 run on tiles of AMX, and else why they do not. Its first call asks the system for them, once
// for the whole process; PRENAS_NO_AMX=1 in the environment keeps it from that.
func AMX() string {
	if refused := C.prenas_amx_refused(); refused != nil {
		return C.GoString(refused)
	}
	return ""
}

// AMXPeak is the most that one thread can multiply with tiles of AMX, in GFLOP/s of the processor's time that it gets: measured
// for some tens of milliseconds. 0 without AMX.
func AMXPeak() float64 { return float64(C.prenas_amx_peak()) }

func register(plugin string) error {
	path := C.CString(plugin)
	defer C.free(unsafe.Pointer(path))
	if message := C.prenas_register(path); message != nil {
		return fmt.Errorf("kernels for %s: %w", plugin, errors.New(C.GoString(message)))
	}
	return nil
}
