//go:build !cgo

package engine

import (
	"context"
	"fmt"
)

// openXLA returns an error: XLA's plug-ins are libraries of C.
func openXLA(context.Context, string, string, int, func(string)) (*Engine, error) {
	return nil, fmt.Errorf("%w: this program was built without cgo, which XLA needs; build it with CGO_ENABLED=1 and a C compiler", ErrNoPlugin)
}
