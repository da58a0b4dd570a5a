//go:build !cgo

package classify

import (
	"context"
	"fmt"
	"os"

	"prenas/internal/export"
)

// openONNX returns an error: onnxruntime is a library of C.
func openONNX(_ context.Context, path string, _ Options) (runner, export.Info, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, export.Info{}, err
	}
	return nil, export.Info{}, fmt.Errorf("%w: this program was built without cgo, which onnxruntime needs; build it with CGO_ENABLED=1 and a C compiler, or export the model as safetensors", ErrNoRuntime)
}
