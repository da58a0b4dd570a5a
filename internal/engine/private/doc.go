// Package private is the one place that reaches into unexported fields of GoMLX and go-xla.
//
// # What and why
//
// Two things that prenas needs have no public way:
//
//   - A gradient rule for one node. GoMLX looks a rule up by the type of a node, for all graphs of the process, and
//     its own custom gradient is for functions of one input. SetRule gives a node its own (Node.customVJP), and
//     SetInputs the inputs that the rule returns adjoints for (Node.inputNodes). Ints reads how a
//     product or a slice was made, which a rule needs (Node.inputs).
//   - A statement of StableHLO that GoMLX does not write. Statement makes one, such as the call of a function; Alias
//     lets XLA write an output where an input is. Both need the program that a graph writes
//     (Graph.builder, Node.outputOps, xla.Builder.fn, xla.Node.value, and Statement.OpType, whose type
//     is in an internal package).
//
// # What to check on an upgrade
//
// go.mod pins both modules. After a change of a version, in this order:
//
//  1. go test ./internal/engine/private: TestFields looks for each field that is read or set, by name and type, and
//     the other tests use each on a graph. A field that moved panics with its name.
//  2. go test ./internal/engine: gradients against central differences in float64, and each call against its twin.
//  3. In pkg/core/graph/rev_autodiff.go of GoMLX: does Gradient still ask customVJP before VJPRegistration, and
//     accept nil for an input without an adjoint? Is Dot's, DotGeneral's or Slice's rule now as good as ours? Then drop ours.
//  4. In backends/xla/ops.go of GoMLX: does Iota still write exactly one statement, with one output?
//  5. Has a version a custom call or a gradient of several inputs of its own? Then this package goes.
package private
