package engine

import (
	"slices"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
)

// SquareSum is the sum of the squares of all values of tensors, a scalar.
func SquareSum(tensors []*graph.Node) *graph.Node {
	if hasKernels(tensors[0]) {
		return squareSumCall(tensors, widest)
	}
	return squareSumTwin(tensors)
}

func squareSumTwin(tensors []*graph.Node) *graph.Node {
	total := graph.ReduceAllSum(graph.Square(tensors[0]))
	for _, x := range tensors[1:] {
		total = graph.Add(total, graph.ReduceAllSum(graph.Square(x)))
	}
	return total
}

// squareSumCall is SquareSum by package kernels, with vectors of at most so many lanes.
func squareSumCall(tensors []*graph.Node, lanes int) *graph.Node {
	return graph.Reshape(call("prenas_squares", shapes.Make(dtypes.Float32, 1), map[string]int{"lanes": lanes}, tensors...))
}

// AdamWUpdate is one update of a number of tensors.
type AdamWUpdate struct {
	// Gradients have the shapes of their weights, or of corners of these: they are zero beyond.
	Gradients []*graph.Node
	// Groups are weights, first moments, second moments and, if there are some, moving averages of weights.
	Groups [][]*graph.Node
	// Remains is what weight decay leaves of each weight, [tensors].
	Remains *graph.Node
	// Steps are the learning rates, divided by 1 - β1ᵗ, [tensors].
	Steps *graph.Node
	// Roots are √(1 - β2ᵗ), [tensors].
	Roots *graph.Node
	// Factor of all gradients, a scalar.
	Factor *graph.Node
	// Finite is a bool scalar: false leaves all as it is.
	Finite *graph.Node

	Beta1, Beta2, Eps float64
	AverageDecay      float64 // what an update leaves of an average
}

// HasAdamW tells whether x's graph may have AdamW, for which there is only package kernels'.
func HasAdamW(x *graph.Node) bool { return hasKernels(x) }

// AdamW is the groups after an update: w = remains·w - step · m / (√v/root + ε), with moments and averages
// as Adam has them.
func AdamW(u AdamWUpdate) (after [][]*graph.Node) { return adamWCall(u, widest) }

// adamWCall is AdamW with vectors of at most so many lanes.
func adamWCall(u AdamWUpdate, lanes int) [][]*graph.Node {
	g := u.Steps.Graph()
	constant := func(x float64) *graph.Node { return graph.Scalar(g, dtypes.Float32, x) }
	own := graph.Stack([]*graph.Node{u.Remains, u.Steps, u.Roots}, 0)
	settings := graph.Stack([]*graph.Node{ // in the order of kernels/adamw.c
		u.Factor, graph.ConvertDType(u.Finite, dtypes.Float32),
		constant(1 - u.Beta1), constant(u.Beta2), constant(1 - u.Beta2), constant(u.Eps), constant(1 - u.AverageDecay),
	}, 0)
	before := slices.Concat(u.Groups...)
	all := callsInPlace("prenas_adamw", len(u.Gradients), len(before), map[string]int{"lanes": lanes},
		slices.Concat(u.Gradients, before, []*graph.Node{own, settings})...)
	var after [][]*graph.Node
	for group := range slices.Chunk(all, len(u.Gradients)) {
		after = append(after, group)
	}
	return after
}

// LeadingSlice is what x has before the indices dims of its axes.
func LeadingSlice(x *graph.Node, dims []int) *graph.Node {
	if slices.Equal(x.Shape().Dimensions, dims) {
		return x
	}
	specs := make([]graph.SliceAxisSpec, len(dims))
	for axis, size := range dims {
		specs[axis] = graph.AxisRangeFromStart(size)
	}
	return graph.Slice(x, specs...)
}

// ZeroPad is a tensor of so many values along each axis that begins with x and has zeros beyond.
func ZeroPad(x *graph.Node, dims []int) *graph.Node {
	if slices.Equal(x.Shape().Dimensions, dims) {
		return x
	}
	if !x.Graph().Backend().Capabilities().Operations[backends.OpTypePad] {
		for axis, size := range dims {
			x = padWithZeros(x, axis, 0, size-x.Shape().Dimensions[axis])
		}
		return x
	}
	ends := make([]backends.PadAxis, len(dims))
	for axis, size := range dims {
		ends[axis].End = size - x.Shape().Dimensions[axis]
	}
	return graph.Pad(x, graph.ScalarZero(x.Graph(), x.DType()), ends...)
}
