package supernet

import (
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"

	"prenas/internal/engine"
)

// builder is what the graphs of both families are built with.
type builder struct {
	*Net
	Forward
	weights []*graph.Node
}

func (b *builder) weight(name string) *graph.Node {
	w := b.weights[b.Index(name)]
	if w == nil {
		panic(fmt.Errorf("supernet: weight %q is used by %s but was not given", name, b.Arch))
	}
	return w
}

// tap shows an activation to whoever asked for it.
func (b *builder) tap(at Site, x *graph.Node) *graph.Node {
	if b.Tap != nil {
		b.Tap(at, x)
	}
	return x
}

// vector is the first size values of a bias or norm weight, times its factors if it has any.
func (b *builder) vector(name string, size int) *graph.Node {
	return b.scaled(name, graph.Slice(b.weight(name), graph.AxisRangeFromStart(size)))
}

// matrix is the first rows and columns of a weight [out, in], times its factors.
func (b *builder) matrix(name string, rows, columns int) *graph.Node {
	return b.scaled(name, graph.Slice(b.weight(name), graph.AxisRangeFromStart(rows), graph.AxisRangeFromStart(columns)))
}

// product multiplies x [..., in] with a weight [out, in].
func (b *builder) product(x, weight *graph.Node) *graph.Node {
	return engine.Linear(x, weight, b.Operands)
}

// dotGeneral is a product of operands cast to Operands.
func (b *builder) dotGeneral(lhs *graph.Node, lhsContract, lhsBatch []int, rhs *graph.Node, rhsContract, rhsBatch []int) *graph.Node {
	return engine.DotGeneral(lhs, lhsContract, lhsBatch, rhs, rhsContract, rhsBatch, b.Operands)
}

// addBias adds a vector along x's last axis, in the vector's type, float32; the result is of x's.
func (b *builder) addBias(x, bias *graph.Node) *graph.Node {
	sum := graph.Add(graph.ConvertDType(x, bias.DType()), graph.ExpandLeftToRank(bias, x.Rank()))
	return graph.ConvertDType(sum, x.DType())
}

// stored is an activation in the type in which activations are kept between functions: that of the products' operands on a GPU,
// where the memory's speed decides, else float32.
func (b *builder) stored(x *graph.Node) *graph.Node {
	if b.Operands != dtypes.InvalidDType && engine.OnCUDA(x) {
		return graph.ConvertDType(x, b.Operands)
	}
	return x
}
