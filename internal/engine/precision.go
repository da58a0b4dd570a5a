package engine

import (
	"context"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
)

// BFloat16Gain measures how many times faster a product of float32 matrices, of
// the sizes of a small transformer's MLP, becomes when its operands are cast to
// bfloat16, casts included. It takes about half a second. The pure-Go backend
// gains nothing, and is not measured.
func (e *Engine) BFloat16Gain(ctx context.Context) (float64, error) {
	if e.plugin == "" {
		return 1, nil
	}
	p, plain, err := e.grown(ctx, matrixProduct{rows: 1024, inner: 256, columns: 1024, values: dtypes.Float32, operands: dtypes.Float32}, false)
	if err != nil {
		return 0, err
	}
	p.operands = dtypes.BFloat16
	cast, err := e.timeProduct(ctx, p)
	if err != nil {
		return 0, err
	}
	return plain / cast, nil
}
