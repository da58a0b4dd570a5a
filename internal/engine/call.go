package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
)

// statementBackend is a backend whose programs may have statements that GoMLX does not write: XLA on one device. (With
// several devices XLA divides a program between them, and cannot divide a call.)
type statementBackend interface {
	backends.Backend
	// statement adds one to the program of the operands' graph; attributes are text of StableHLO.
	statement(operation string, operands []*graph.Node, results []shapes.Shape, attributes map[string]string) []*graph.Node
	// alias lets an output be written where x is, an input.
	alias(x *graph.Node, output int)
}

// kernelBackend is a backend of a CPU whose programs call the functions of package kernels.
type kernelBackend interface {
	statementBackend
	hasKernels()
}

// cudaBackend is a backend of GPUs.
type cudaBackend interface {
	backends.Backend
	onCUDA()
}

// OnCUDA tells whether x's graph is for GPUs.
func OnCUDA(x *graph.Node) bool {
	_, on := x.Graph().Backend().(cudaBackend)
	return on
}

// Kernels tells whether programs call the functions of package kernels.
func (e *Engine) Kernels() bool {
	_, has := e.backend.(kernelBackend)
	return has
}

// hasKernels tells whether call may be used with x.
func hasKernels(x *graph.Node) bool {
	_, has := x.Graph().Backend().(kernelBackend)
	return has && x.DType() == dtypes.Float32
}

// call is the result, of this shape, of the function of package kernels that has this name. It has no
// gradient: give it one by CustomGradient.
func call(function string, result shapes.Shape, attributes map[string]int, operands ...*graph.Node) *graph.Node {
	return calls(function, []shapes.Shape{result}, attributes, operands...)[0]
}

// calls is call for a function of several results.
func calls(function string, results []shapes.Shape, attributes map[string]int, operands ...*graph.Node) []*graph.Node {
	return callStatement(function, results, attributes, operands, nil)
}

// callsInPlace is calls for a function whose results are written where operands are, those from the first on. XLA copies
// an operand before where it must not change: an input of a program that does not update it, or a value that is read after.
func callsInPlace(function string, first, count int, attributes map[string]int, operands ...*graph.Node) []*graph.Node {
	var results []shapes.Shape
	var aliases []string
	for i, x := range operands[first : first+count] {
		results = append(results, x.Shape())
		aliases = append(aliases, fmt.Sprintf("#stablehlo.output_operand_alias<output_tuple_indices = [%d], operand_index = %d, operand_tuple_indices = []>", i, first+i))
	}
	return callStatement(function, results, attributes, operands, aliases)
}

// callStatement makes a call.
func callStatement(function string, results []shapes.Shape, attributes map[string]int, operands []*graph.Node, aliases []string) []*graph.Node {
	settings := make([]string, 0, len(attributes))
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		settings = append(settings, fmt.Sprintf("%s = %d : i64", name, attributes[name]))
	}
	var layouts, resultLayouts []string
	for _, operand := range operands {
		layouts = append(layouts, rowsFirst(operand.Rank()))
	}
	for _, shape := range results {
		resultLayouts = append(resultLayouts, rowsFirst(shape.Rank()))
	}
	text := map[string]string{
		"call_target_name": fmt.Sprintf("%q", function),
		"api_version":      "4 : i32", // calls with typed attributes
		"backend_config":   "{" + strings.Join(settings, ", ") + "}",
		"operand_layouts":  list(layouts),
		"result_layouts":   list(resultLayouts),
	}
	if aliases != nil {
		text["output_operand_aliases"] = list(aliases)
	}
	return customCall(operands, results, text)
}

// list is StableHLO's text of an array.
func list(of []string) string { return "[" + strings.Join(of, ", ") + "]" }

// customCall is a statement that calls a function outside of the program.
func customCall(operands []*graph.Node, results []shapes.Shape, attributes map[string]string) []*graph.Node {
	return operands[0].Graph().Backend().(statementBackend).statement("stablehlo.custom_call", operands, results, attributes)
}

// rowsFirst is the layout in which the values of the last axis lie side by side, as
// StableHLO has it: the axes from the nearest to the farthest.
func rowsFirst(rank int) string {
	axes := make([]int, rank)
	for i := range axes {
		axes[i] = rank - 1 - i
	}
	return layout(axes...)
}

// layout is that of axes from the nearest to the farthest.
func layout(axes ...int) string {
	text := make([]string, len(axes))
	for i, axis := range axes {
		text[i] = fmt.Sprint(axis)
	}
	return fmt.Sprintf("dense<[%s]> : tensor<%dxindex>", strings.Join(text, ", "), len(axes))
}
