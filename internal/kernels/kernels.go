//go:build linux && cgo

package kernels

// #cgo CFLAGS: -Wall -Wextra
// #cgo LDFLAGS: -ldl -lm
// #include <stdlib.h>
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

func register(plugin string) error {
	path := C.CString(plugin)
	defer C.free(unsafe.Pointer(path))
	if message := C.prenas_register(path); message != nil {
		return fmt.Errorf("kernels for %s: %w", plugin, errors.New(C.GoString(message)))
	}
	return nil
}
