package private

import (
	"fmt"
	"reflect"

	"github.com/gomlx/gomlx/pkg/core/graph"
)

var (
	inputNodes = declare[graph.Node, []*graph.Node]("inputNodes")
	customVJP  = declare[graph.Node, graph.VJP]("customVJP")
	madeOf     = declare[graph.Node, graph.NodeInputs]("inputs")
)

// SetInputs replaces the inputs behind which the reverse pass looks. What node computes stays.
func SetInputs(node *graph.Node, inputs []*graph.Node) { *inputNodes.of(node) = inputs }

// SetRule gives a node a gradient rule of its own, in place of the one of its type.
func SetRule(node *graph.Node, rule graph.VJP) { *customVJP.of(node) = rule }

// HasRule tells whether a node has a rule of its own.
func HasRule(node *graph.Node) bool { return *customVJP.of(node) != nil }

// Ints reads a list of integers, such as the axes of a product, from the description of how a node
// was made.
func Ints(node *graph.Node, name string) []int {
	list := reflect.Indirect(reflect.ValueOf(*madeOf.of(node))).FieldByName(name)
	if !list.IsValid() || list.Kind() != reflect.Slice {
		panic(fmt.Errorf("private: a %s node has no list %s in this version of GoMLX: see the page of this package", node.Type(), name))
	}
	ints := make([]int, list.Len())
	for i := range ints {
		ints[i] = int(list.Index(i).Int())
	}
	return ints
}
