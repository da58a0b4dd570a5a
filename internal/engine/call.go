package engine

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/gomlx/go-xla/pkg/stablehlo"
	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/backends/xla"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
)

// withKernels is XLA on one CPU device whose plug-in knows the functions of package
// kernels. (With several devices XLA divides a program between them, and cannot divide a call.)
type withKernels struct{ *xla.Backend }

// withCUDA is XLA on GPUs.
type withCUDA struct{ *xla.Backend }

// onCUDA tells whether x's graph is for GPUs.
func onCUDA(x *graph.Node) bool {
	_, on := x.Graph().Backend().(withCUDA)
	return on
}

// Kernels tells whether programs call the functions of package kernels.
func (e *Engine) Kernels() bool {
	_, has := e.backend.(withKernels)
	return has
}

// hasKernels tells whether call may be used with x.
func hasKernels(x *graph.Node) bool {
	_, has := x.Graph().Backend().(withKernels)
	return has && x.DType() == dtypes.Float32
}

// call is the result, of this shape, of the function of package kernels that has this name. It has no
// gradient: give it one by CustomGradient.
func call(function string, result shapes.Shape, attributes map[string]int, operands ...*graph.Node) *graph.Node {
	return calls(function, []shapes.Shape{result}, attributes, operands...)[0]
}

// calls is call for a function of several results.
func calls(function string, shapes []shapes.Shape, attributes map[string]int, operands ...*graph.Node) []*graph.Node {
	results, _ := callStatement(function, shapes, attributes, operands)
	return results
}

// callsInPlace is calls for a function whose results are written where operands are, those from the first on. XLA copies
// an operand before where it must not change: an input of a program that does not update it, or a value that is read after.
func callsInPlace(function string, first, count int, attributes map[string]int, operands ...*graph.Node) []*graph.Node {
	var shapes []shapes.Shape
	var aliases []string
	for i, x := range operands[first : first+count] {
		shapes = append(shapes, x.Shape())
		aliases = append(aliases, fmt.Sprintf("#stablehlo.output_operand_alias<output_tuple_indices = [%d], operand_index = %d, operand_tuple_indices = []>", i, first+i))
	}
	results, statement := callStatement(function, shapes, attributes, operands)
	statement.Attributes["output_operand_aliases"] = literal("[" + strings.Join(aliases, ", ") + "]")
	return results
}

// callStatement makes a call and the statement of it.
//
// GoMLX has no calls. So operations are made whose results have the right shapes, and the statements that
// they wrote into the program become the call.
func callStatement(function string, shapes []shapes.Shape, attributes map[string]int, operands []*graph.Node) ([]*graph.Node, *stablehlo.Statement) {
	results := make([]*graph.Node, len(shapes))
	for i, shape := range shapes {
		results[i] = graph.Iota(operands[0].Graph(), shape, 0)
	}
	builder := (*privateField[backends.Builder](operands[0].Graph(), "builder")).(*xla.Builder)
	program := *privateField[*stablehlo.Function](builder, "fn")
	made := len(program.Statements) - len(shapes)
	statement := program.Statements[made]
	for _, other := range program.Statements[made+1:] {
		statement.Outputs = append(statement.Outputs, other.Outputs...)
	}
	program.Statements = program.Statements[:made+1]
	setOpType(statement, "stablehlo.custom_call")
	settings := make([]string, 0, len(attributes))
	for name, value := range attributes {
		settings = append(settings, fmt.Sprintf("%s = %d : i64", name, value))
	}
	var layouts, resultLayouts []string
	for _, operand := range operands {
		statement.Inputs = append(statement.Inputs, valueOf(operand))
		layouts = append(layouts, rowsFirst(operand.Rank()))
	}
	for _, shape := range shapes {
		resultLayouts = append(resultLayouts, rowsFirst(shape.Rank()))
	}
	statement.Attributes = map[string]any{
		"call_target_name": function,
		"api_version":      int32(4), // calls with typed attributes
		"backend_config":   literal("{" + strings.Join(settings, ", ") + "}"),
		"operand_layouts":  literal("[" + strings.Join(layouts, ", ") + "]"),
		"result_layouts":   literal("[" + strings.Join(resultLayouts, ", ") + "]"),
	}
	return results, statement
}

// valueOf is what a node is in XLA's program.
func valueOf(x *graph.Node) *stablehlo.Value {
	op := (*privateField[[]backends.Op](x, "outputOps"))[0]
	return *privateField[*stablehlo.Value](op.(*xla.Node), "value")
}

// literal is an attribute as StableHLO's text has it.
type literal string

// ToStableHLO implements what package stablehlo asks of an attribute.
func (l literal) ToStableHLO() string { return string(l) }

// rowsFirst is the layout in which the values of the last axis lie side by side, as
// StableHLO has it: the axes from the nearest to the farthest.
func rowsFirst(rank int) string {
	axes := make([]string, rank)
	for i := range axes {
		axes[i] = fmt.Sprint(rank - 1 - i)
	}
	return fmt.Sprintf("dense<[%s]> : tensor<%dxindex>", strings.Join(axes, ", "), rank)
}

// setOpType makes a statement one of the operation of this name. The type of OpType is in an
// internal package of go-xla, so it is found by the names of its values.
func setOpType(statement *stablehlo.Statement, name string) {
	field := reflect.ValueOf(statement).Elem().FieldByName("OpType")
	for i := int64(0); i < 1000; i++ {
		field.SetInt(i)
		if field.Interface().(interface{ ToStableHLO() string }).ToStableHLO() == name {
			return
		}
	}
	panic("engine: this version of go-xla has no operation " + name)
}
