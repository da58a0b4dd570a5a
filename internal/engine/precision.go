package engine

import (
	"context"
	"math"
	"time"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// BFloat16Gain measures how many times faster a product of float32 matrices
// becomes when its operands are cast to bfloat16, casts included. It takes about
// half a second. The pure-Go backend gains nothing, and is not measured.
func (e *Engine) BFloat16Gain(ctx context.Context) (float64, error) {
	if e.plugin == "" {
		return 1, nil
	}
	plain, err := e.timeCast(ctx, dtypes.Float32)
	if err != nil {
		return 0, err
	}
	cast, err := e.timeCast(ctx, dtypes.BFloat16)
	if err != nil {
		return 0, err
	}
	return plain / cast, nil
}

// timeCast is the shortest of several times, in seconds, of a product of the
// sizes of a small transformer's MLP.
func (e *Engine) timeCast(ctx context.Context, operands dtypes.DType) (float64, error) {
	const rows, inner, columns, repeats = 1024, 256, 1024, 20
	inputs := []shapes.Shape{shapes.Make(dtypes.Float32, rows, inner), shapes.Make(dtypes.Float32, columns, inner)}
	p, err := e.Compile("product of "+operands.String(), inputs, func(in []*graph.Node) []*graph.Node {
		x, w := graph.ConvertDType(in[0], operands), graph.ConvertDType(in[1], operands)
		return []*graph.Node{graph.ConvertDType(graph.DotGeneral(x, []int{1}, nil, w, []int{1}, nil), dtypes.Float32)}
	})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	args := []*tensors.Tensor{tensors.FromShape(inputs[0]), tensors.FromShape(inputs[1])}
	best := math.Inf(1)
	for range repeats {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		began := time.Now()
		out, err := p.Run(args)
		if err != nil {
			return 0, err
		}
		// Reading waits for the result: programs run asynchronously.
		if err := out[0].ToLocal(); err != nil {
			return 0, err
		}
		best = math.Min(best, time.Since(began).Seconds())
		if err := out[0].FinalizeAll(); err != nil {
			return 0, err
		}
	}
	return best, nil
}
