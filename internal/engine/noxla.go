//go:build !cgo

package engine

import (
	"context"
	"fmt"

	"prenas/internal/input"
)

// openXLA returns an error: XLA's plug-ins are libraries of C.
func openXLA(_ context.Context, _, path string, _, _ int, _ func(string)) (*Engine, error) {
	if path != "" {
		path = " the plug-in " + path + " cannot be loaded:"
	}
	return nil, fmt.Errorf("%w:%s this program was built without cgo, which XLA needs; build it with CGO_ENABLED=1 and a C compiler, or take %v go", ErrNoPlugin, path, input.Backend)
}
