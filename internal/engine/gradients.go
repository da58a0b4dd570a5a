package engine

import (
	"slices"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"prenas/internal/engine/private"
)

// GoMLX differentiates a graph by looking up, for each node, a rule that turns
// the adjoint of the node's output (v) into the adjoints of its inputs. This
// file has rules in place of those that are wrong for our purpose and adds a way to
// give a composite a rule of its own:
//
//	node        built-in rule                       ours
//	Dot         multiply and reduce: a tensor of    two products
//	DotGeneral  [M, K, N] per product, 30 times     two products and a transposition
//	            slower in a ViT train step
//	Slice       Pad, which the pure-Go backend      Pad, or zeros concatenated where
//	            does not have                       the backend has no Pad
//
// Gradient gives them to the nodes of its graph. GoMLX's own table of rules is of the whole
// process, other users of GoMLX among them, and stays as it is.
var rules = map[graph.NodeType]graph.VJP{
	graph.NodeTypeDot:        dotRule,
	graph.NodeTypeDotGeneral: dotGeneralRule,
	graph.NodeTypeSlice:      sliceRule,
}

// Gradient adds to the graph the gradients of the scalar y with respect to xs,
// each of the shape of its x; zeros where y does not depend on x.
func Gradient(y *graph.Node, xs ...*graph.Node) []*graph.Node {
	for _, node := range y.Graph().Nodes() {
		if rule, has := rules[node.Type()]; has && !private.HasRule(node) {
			private.SetRule(node, rule)
		}
	}
	return graph.Gradient(y, xs...)
}

// CustomGradient returns a node of y's value through which gradients pass by
// rule instead of through the nodes that computed y. The value y must have
// been computed from the inputs; rule gets the adjoint v of y, of y's shape,
// and returns one adjoint per input, each of that input's shape, or nil for an
// input that needs none.
func CustomGradient(y *graph.Node, inputs []*graph.Node, rule func(v *graph.Node) []*graph.Node) *graph.Node {
	carrier := graph.IdentityWithCustomGradient(y, nil)
	// The carrier gets the composite's inputs as further inputs, so that the
	// reverse pass finds them behind it, and y's own adjoint is withheld, so
	// that it does not look behind y.
	private.SetInputs(carrier, append([]*graph.Node{y}, inputs...))
	private.SetRule(carrier, func(_ *graph.Node, v []*graph.Node, _ shapes.Shape) []*graph.Node {
		return append([]*graph.Node{nil}, rule(v[0])...)
	})
	return carrier
}

// Split returns f of n equal parts of x along its last axis, and passes the
// gradients of the parts on to x as one concatenation. By the rules of its slices
// each would be padded with zeros to x's shape, and these added up. What else f's
// value depends on must be among others.
func Split(x *graph.Node, n int, others []*graph.Node, f func(parts []*graph.Node) *graph.Node) *graph.Node {
	parts := make([]*graph.Node, n)
	specs := make([]graph.SliceAxisSpec, x.Rank())
	for axis := range specs {
		specs[axis] = graph.AxisRange()
	}
	size := x.Shape().Dimensions[x.Rank()-1] / n
	for i := range parts {
		specs[x.Rank()-1] = graph.AxisRange(i*size, (i+1)*size)
		parts[i] = graph.Slice(x, specs...)
	}
	y := f(parts)
	return CustomGradient(y, append([]*graph.Node{x}, others...), func(v *graph.Node) []*graph.Node {
		adjoints := Gradient(graph.ReduceAllSum(graph.Mul(y, graph.StopGradient(v))), append(parts, others...)...)
		return append([]*graph.Node{graph.Concatenate(adjoints[:n], -1)}, adjoints[n:]...)
	})
}

// dotRule: the product contracts the last axis of the left with the first of
// the right operand, of ranks one and two.
func dotRule(node *graph.Node, v []*graph.Node, _ shapes.Shape) []*graph.Node {
	lhs, rhs := node.Inputs()[0], node.Inputs()[1]
	return productRule(lhs, []int{lhs.Rank() - 1}, nil, rhs, []int{0}, nil, v[0])
}

func dotGeneralRule(node *graph.Node, v []*graph.Node, _ shapes.Shape) []*graph.Node {
	return productRule(
		node.Inputs()[0], private.Ints(node, "lhsContractingAxes"), private.Ints(node, "lhsBatchAxes"),
		node.Inputs()[1], private.Ints(node, "rhsContractingAxes"), private.Ints(node, "rhsBatchAxes"), v[0])
}

// productRule gives the adjoints of y = lhs · rhs, where y's axes are the batch
// axes, then the free axes of lhs, then those of rhs, and v is the adjoint of
// y: each side's is the product of v with the other side over that side's free
// axes.
func productRule(lhs *graph.Node, lhsContract, lhsBatch []int, rhs *graph.Node, rhsContract, rhsBatch []int, v *graph.Node) []*graph.Node {
	lhsFree := freeAxes(lhs.Rank(), lhsContract, lhsBatch)
	rhsFree := freeAxes(rhs.Rank(), rhsContract, rhsBatch)
	batch := len(lhsBatch)
	vBatch := axisRange(0, batch)
	vLeft := axisRange(batch, len(lhsFree))
	vRight := axisRange(batch+len(lhsFree), len(rhsFree))

	// v · rhs: axes [batch, lhs free, contracted in the order of rhs's axes].
	left := graph.DotGeneral(v, vRight, vBatch, rhs, rhsFree, rhsBatch)
	left = restoreAxes(left, lhsBatch, lhsFree, pairedOrder(rhsContract, lhsContract))

	if OnCUDA(lhs) { // cuBLAS takes operands as they lie
		right := graph.DotGeneral(v, vLeft, vBatch, lhs, lhsFree, lhsBatch)
		return []*graph.Node{left, restoreAxes(right, rhsBatch, rhsFree, pairedOrder(lhsContract, rhsContract))}
	}
	// The other product sums over rows of both sides, and XLA's products for a CPU
	// want the axes of a sum to be the left side's last. The smaller side is the
	// one to transpose.
	if v.Shape().Size() <= lhs.Shape().Size() {
		right := rowsProduct(v, vLeft, vRight, vBatch, lhs, lhsFree, lhsBatch)
		return []*graph.Node{left, restoreAxes(right, rhsBatch, rhsFree, pairedOrder(lhsContract, rhsContract))}
	}
	right := rowsProduct(lhs, lhsFree, freeAxes(lhs.Rank(), lhsFree, lhsBatch), lhsBatch, v, vLeft, vBatch)
	return []*graph.Node{left, restoreAxes(right, rhsBatch, pairedOrder(lhsContract, rhsContract), rhsFree)}
}

// rowsProduct sums the products of x and y, which is no smaller, over xRows and
// yRows: axes [batch, the rest of x, the rest of y]. The transposition of x is kept
// from XLA by factors of 1 as Rematerialize's, one for each number of a matrix (a single one
// it looks through), and so is one that may come after the product. XLA would make
// of either a product that it has no fast code for: of batches half as fast in
// float32 and a fifth in bfloat16, of single matrices in bfloat16 twenty times
// slower.
func rowsProduct(x *graph.Node, xRows, xRest, xBatch []int, y *graph.Node, yRows, yBatch []int) *graph.Node {
	batch, rest := len(xBatch), len(xRest)
	x = graph.TransposeAllAxes(x, slices.Concat(xBatch, xRest, xRows)...)
	dims := x.Shape().Dimensions
	flat := graph.Reshape(x, append(slices.Clone(dims[:batch]), -1)...)
	factors := ones(graph.Slice(graph.Reshape(y, -1), graph.AxisRangeFromStart(flat.Shape().Dim(-1))))
	x = graph.Reshape(graph.Mul(flat, alongLastAxis(factors, flat)), dims...)
	return Rematerialize(graph.DotGeneral(x, axisRange(batch+rest, len(xRows)), axisRange(0, batch), y, yRows, yBatch), y)
}

// pairedOrder sorts the pairs (key[i], axis[i]) by key and returns the axes:
// a product leaves one operand's free axes in ascending order, and these are
// the axes of the other operand that they were contracted with.
func pairedOrder(key, axis []int) []int {
	order := make([]int, 0, len(axis))
	for k := 0; len(order) < len(axis); k++ {
		for i := range key {
			if key[i] == k {
				order = append(order, axis[i])
			}
		}
	}
	return order
}

// restoreAxes moves the axes of x, which are now the given axes one after the
// other, back to those places.
func restoreAxes(x *graph.Node, axes ...[]int) *graph.Node {
	permutation := make([]int, x.Rank())
	at, moved := 0, false
	for _, list := range axes {
		for _, to := range list {
			permutation[to] = at
			moved = moved || to != at
			at++
		}
	}
	if !moved {
		return x
	}
	return graph.TransposeAllAxes(x, permutation...)
}

func freeAxes(rank int, taken ...[]int) []int {
	used := make([]bool, rank)
	for _, list := range taken {
		for _, axis := range list {
			used[axis] = true
		}
	}
	var free []int
	for axis := range used {
		if !used[axis] {
			free = append(free, axis)
		}
	}
	return free
}

func axisRange(from, count int) []int {
	axes := make([]int, count)
	for i := range axes {
		axes[i] = from + i
	}
	return axes
}

// sliceRule is the built-in rule where the backend can pad or the slice has
// strides, and concatenates zeros where it cannot.
func sliceRule(node *graph.Node, v []*graph.Node, out shapes.Shape) []*graph.Node {
	strided := slices.ContainsFunc(private.Ints(node, "strides"), func(stride int) bool { return stride > 1 })
	if strided || node.Graph().Backend().Capabilities().Operations[backends.OpTypePad] {
		return graph.VJPRegistration[graph.NodeTypeSlice](node, v, out)
	}
	full := node.Inputs()[0].Shape()
	starts, limits := private.Ints(node, "starts"), private.Ints(node, "limits")
	x := v[0]
	for axis := range full.Dimensions {
		x = padWithZeros(x, axis, starts[axis], full.Dimensions[axis]-limits[axis])
	}
	return []*graph.Node{x}
}

func padWithZeros(x *graph.Node, axis, before, after int) *graph.Node {
	zeros := func(n int) *graph.Node {
		shape := x.Shape().Clone()
		shape.Dimensions[axis] = n
		return graph.Zeros(x.Graph(), shape)
	}
	parts := []*graph.Node{x}
	if before > 0 {
		parts = append([]*graph.Node{zeros(before)}, parts...)
	}
	if after > 0 {
		parts = append(parts, zeros(after))
	}
	if len(parts) == 1 {
		return x
	}
	return graph.Concatenate(parts, axis)
}
