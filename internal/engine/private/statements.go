//go:build cgo

package private

import (
	"fmt"
	"reflect"

	"github.com/gomlx/go-xla/pkg/stablehlo"
	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/backends/xla"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
)

var (
	graphBuilder = declare[graph.Graph, backends.Builder]("builder")
	outputOps    = declare[graph.Node, []backends.Op]("outputOps")
	builderFn    = declare[xla.Builder, *stablehlo.Function]("fn")
	nodeValue    = declare[xla.Node, *stablehlo.Value]("value")
)

// literal is an attribute as StableHLO's text has it.
type literal string

// ToStableHLO implements what package stablehlo asks of an attribute.
func (l literal) ToStableHLO() string { return string(l) }

// Program is what a graph of an XLA backend has written until now.
func Program(g *graph.Graph) *stablehlo.Function {
	return *builderFn.of((*graphBuilder.of(g)).(*xla.Builder))
}

// Statement adds one statement to the program of the operands' graph, and returns nodes of its results, of
// these shapes, none of which is a scalar. operation is its name in StableHLO, such as "stablehlo.custom_call";
// attributes are text of StableHLO.
//
// GoMLX has no such nodes. So operations are made whose results have the right shapes, and the statements that
// they wrote into the program become the one.
func Statement(operation string, operands []*graph.Node, results []shapes.Shape, attributes map[string]string) []*graph.Node {
	g := operands[0].Graph()
	nodes := make([]*graph.Node, len(results))
	for i, shape := range results {
		nodes[i] = graph.Iota(g, shape, 0)
	}
	program := Program(g)
	made := len(program.Statements) - len(results)
	statement := program.Statements[made]
	for _, other := range program.Statements[made+1:] {
		statement.Outputs = append(statement.Outputs, other.Outputs...)
	}
	program.Statements = program.Statements[:made+1]
	setOperation(statement, operation)
	for _, operand := range operands {
		statement.Inputs = append(statement.Inputs, value(operand))
	}
	statement.Attributes = make(map[string]any, len(attributes))
	for name, text := range attributes {
		statement.Attributes[name] = literal(text)
	}
	return nodes
}

// Alias lets the output of this number be written where x is, an input of its program.
func Alias(x *graph.Node, output int) {
	value(x).Attributes = map[string]any{"tf.aliasing_output": int32(output)}
}

// value is what a node is in the program.
func value(x *graph.Node) *stablehlo.Value {
	return *nodeValue.of((*outputOps.of(x))[0].(*xla.Node))
}

// setOperation makes a statement one of the operation of this name. The type of OpType is in an internal package of
// go-xla, so it is found by the names of its values.
func setOperation(statement *stablehlo.Statement, name string) {
	const most = 1000 // operations; there are some 120
	kind := reflect.ValueOf(statement).Elem().FieldByName("OpType")
	for i := range int64(most) {
		kind.SetInt(i)
		if kind.Interface().(interface{ ToStableHLO() string }).ToStableHLO() == name {
			return
		}
	}
	panic(fmt.Errorf("private: this version of go-xla has no operation %s: see the page of this package", name))
}
