//go:build cgo

package engine

import (
	"slices"
	"testing"

	"github.com/gomlx/go-xla/pkg/stablehlo"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"prenas/internal/engine/private"
	"prenas/internal/kernels"
)

// callsKernels tells whether the graph that x is of calls a function of package kernels.
func callsKernels(x *graph.Node) bool {
	return slices.ContainsFunc(private.Program(x.Graph()).Statements, func(s *stablehlo.Statement) bool { return s.Attributes["call_target_name"] != nil })
}

// What --precision auto times is what training computes; what prenas doctor shows is XLA's.
func TestWhichProductsAreTimed(t *testing.T) {
	e := engineWithKernels(t)
	for _, precision := range []Precision{Float32, BFloat16} {
		for _, c := range []struct {
			name    string
			product matrixProduct
			calls   bool
		}{
			{"training", trainingProduct(precision.Operands()), kernels.Products(precision == BFloat16)},
			{"square", squareProduct(precision.Operands()), false},
		} {
			g, p := graph.NewGraph(e.backend, c.name), c.product
			x := graph.Parameter(g, "x", shapes.Make(p.values, p.rows, p.inner))
			y := p.multiply(x, graph.Parameter(g, "weight", shapes.Make(p.values, p.columns, p.inner)))
			if !y.Shape().Equal(shapes.Make(p.values, p.rows, p.columns)) {
				t.Errorf("%s product in %s: the result is %s", c.name, precision, y.Shape())
			}
			if calls := callsKernels(y); calls != c.calls {
				t.Errorf("%s product in %s: calls a function of kernels: %v, want %v", c.name, precision, calls, c.calls)
			}
			g.Finalize()
		}
	}
}
