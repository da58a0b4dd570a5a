package supernet

import (
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
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
	return b.dotGeneral(x, []int{x.Rank() - 1}, nil, weight, []int{1}, nil)
}

// dotGeneral is a product of operands cast to Operands.
func (b *builder) dotGeneral(lhs *graph.Node, lhsContract, lhsBatch []int, rhs *graph.Node, rhsContract, rhsBatch []int) *graph.Node {
	full := lhs.DType()
	if b.Operands == dtypes.InvalidDType || b.Operands == full {
		return graph.DotGeneral(lhs, lhsContract, lhsBatch, rhs, rhsContract, rhsBatch)
	}
	low := func(x *graph.Node) *graph.Node { return graph.ConvertDType(x, b.Operands) }
	return graph.ConvertDType(graph.DotGeneral(low(lhs), lhsContract, lhsBatch, low(rhs), rhsContract, rhsBatch), full)
}

func (b *builder) addBias(x, bias *graph.Node) *graph.Node {
	return graph.Add(x, graph.ExpandLeftToRank(bias, x.Rank()))
}
