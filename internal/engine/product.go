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

// matrixProduct is one of matrices [rows, inner] and [columns, inner].
type matrixProduct struct {
	rows, inner, columns int
	values               dtypes.DType // of the matrices
	multiply             func(x, weight *graph.Node) *graph.Node
}

// trainingProduct is what training spends its time on, of the sizes of a small transformer's MLP:
// Linear of float32 matrices, casts to the operands' type included.
func trainingProduct(operands dtypes.DType) matrixProduct {
	return matrixProduct{1024, 256, 1024, dtypes.Float32, func(x, weight *graph.Node) *graph.Node { return Linear(x, weight, operands) }}
}

// layerProduct is the first layer of an MLP of a large vision transformer over a batch, as a step has it: of operands that
// need no cast.
func layerProduct(values dtypes.DType) matrixProduct {
	return matrixProduct{4096, 640, 2560, values, func(x, weight *graph.Node) *graph.Node {
		return call("prenas_product", shapes.Make(values, x.Shape().Dim(0), weight.Shape().Dim(0)), map[string]int{"over": overColumns}, x, weight)
	}}
}

// squareProduct is what a device does best: XLA's own product of large square matrices, of values that
// need no cast.
func squareProduct(values dtypes.DType) matrixProduct {
	const size = 1024 // unless the device is fast enough for a larger one
	return matrixProduct{size, size, size, values, func(x, weight *graph.Node) *graph.Node {
		return DotGeneral(x, []int{1}, nil, weight, []int{1}, nil, values)
	}}
}

func (p matrixProduct) flops() float64 {
	return 2 * float64(p.rows) * float64(p.inner) * float64(p.columns)
}

// enough is how long a product must take, in seconds, for the call of its program to be
// little beside it. A GPU is done with what keeps a CPU busy in less time than the call.
const enough = 2e-3

// grown is the product with rows and, where square says so, the other sizes doubled until
// one takes long enough, and how long it takes.
func (e *Engine) grown(ctx context.Context, p matrixProduct, square bool) (matrixProduct, float64, error) {
	const mostRows = 1 << 16
	for {
		seconds, err := e.timeProduct(ctx, p)
		if err != nil || seconds >= enough || p.rows >= mostRows {
			return p, seconds, err
		}
		p.rows *= 2
		if square {
			p.inner, p.columns = 2*p.inner, 2*p.columns
		}
	}
}

// timeProduct is the shortest of several times of a product, in seconds. Its matrices are
// made on the device and stay there: only a number of it is read, so no transfer is timed.
func (e *Engine) timeProduct(ctx context.Context, p matrixProduct) (float64, error) {
	const repeats, longest = 20, time.Second
	inputs := []shapes.Shape{shapes.Make(p.values, p.rows, p.inner), shapes.Make(p.values, p.columns, p.inner)}
	args, err := e.filled(inputs)
	if err != nil {
		return 0, err
	}
	defer freeAll(args)
	program, err := e.Compile("product", inputs, func(in []*graph.Node) []*graph.Node {
		y := p.multiply(in[0], in[1])
		return []*graph.Node{graph.Slice(y, graph.AxisElem(0), graph.AxisElem(0)), y}
	})
	if err != nil {
		return 0, err
	}
	defer program.Close()
	best, began := math.Inf(1), time.Now()
	for range repeats {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		at := time.Now()
		out, err := program.Run(args)
		if err != nil {
			return 0, err
		}
		// Reading waits for the result: programs run asynchronously.
		err = out[0].ToLocal()
		best = math.Min(best, time.Since(at).Seconds())
		freeAll(out)
		if err != nil {
			return 0, err
		}
		if time.Since(began) > longest {
			break
		}
	}
	return best, nil
}

// filled are tensors of values between -1 and 1, no two rows alike: products of zeros can
// be faster than any that a model has.
func (e *Engine) filled(of []shapes.Shape) ([]*tensors.Tensor, error) {
	scalar := shapes.Make(dtypes.Float32)
	p, err := e.Compile("fill", []shapes.Shape{scalar}, func(in []*graph.Node) (out []*graph.Node) {
		for _, shape := range of {
			index := shape.Clone()
			index.DType = dtypes.Float32
			row, column := graph.Iota(in[0].Graph(), index, 0), graph.Iota(in[0].Graph(), index, 1)
			wave := graph.Sin(graph.Add(graph.MulScalar(row, 12.9898), graph.Mul(column, in[0])))
			out = append(out, graph.ConvertDType(wave, shape.DType))
		}
		return out
	})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return p.Run([]*tensors.Tensor{tensors.FromScalar(float32(78.233))})
}

// freeAll gives tensors' memory back at once.
func freeAll(of []*tensors.Tensor) {
	for _, t := range of {
		t.FinalizeAll()
	}
}
