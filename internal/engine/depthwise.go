package engine

import (
	"fmt"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
)

// DepthwiseConv convolves each feature of x [n, h, w, c] with a kernel of its
// own, [k, k, c] with odd k, padded with k/2 zeros on every side and moved by
// stride: y is [n, ⌈h/stride⌉, ⌈w/stride⌉, c].
//
// GoMLX's rule for grouped convolutions makes one convolution per feature, and
// XLA's own depthwise convolution is slow on a CPU. So it is a sum of shifted
// images, a tap of the kernel times the image moved by it:
//
//	y[n, i, j, c] = Σ over u, v of k[u, v, c] · x[n, stride·i + u - k/2, stride·j + v - k/2, c]
//
// The adjoint of x is the same sum over the adjoint of y, its rows and columns
// spread by the stride and the kernel turned by 180°; that of a tap is the sum
// of the adjoint of y times the image moved by it.
//
// x, y and their adjoints may have been through the type that operands of products are cast to (see DotGeneral); the
// kernel and all sums are float32.
func DepthwiseConv(x, kernel *graph.Node, stride int, operands dtypes.DType) *graph.Node {
	k := kernel.Shape().Dimensions[0]
	if x.Rank() != 4 || kernel.Rank() != 3 || k%2 == 0 || kernel.Shape().Dimensions[1] != k || kernel.Shape().Dimensions[2] != x.Shape().Dimensions[3] {
		panic(fmt.Errorf("engine: depthwise convolution of %s with %s", x.Shape(), kernel.Shape()))
	}
	if hasKernels(x) {
		return depthwiseCall(x, kernel, stride, operands, widest)
	}
	if OnCUDA(x) {
		return depthwiseGroups(x, kernel, stride)
	}
	return depthwiseSum(x, kernel, stride)
}

// depthwiseGroups is DepthwiseConv by XLA's convolution with a group for each feature, as are
// its adjoints: that of x over the adjoint of y with stride-1 zeros between its pixels, that of the kernel with images for
// features, and y's adjoint, spread by the stride, for a kernel. (GoMLX's rule for a grouped convolution is a convolution per feature.)
func depthwiseGroups(x, kernel *graph.Node, stride int) *graph.Node {
	d, k := x.Shape().Dimensions, kernel.Shape().Dimensions[0]
	height, width, features := d[1], d[2], d[3]
	rows, columns := (height+stride-1)/stride, (width+stride-1)/stride
	axes := graph.ConvolveAxesConfig{
		InputBatch: 0, InputSpatial: []int{1, 2}, InputChannels: 3,
		KernelSpatial: []int{0, 1}, KernelInputChannels: 2, KernelOutputChannels: 3,
		OutputBatch: 0, OutputSpatial: []int{1, 2}, OutputChannels: 3,
	}
	// after is the padding behind an axis of so many values, spread by a dilation, under a
	// kernel of so many, for a result of so many.
	after := func(values, dilation, kernel, result, stride int) int {
		return (result-1)*stride + kernel - (values-1)*dilation - 1 - k/2
	}
	group := func(kernel *graph.Node) *graph.Node { return graph.Reshape(kernel, k, k, 1, features) }
	y := graph.ConvGeneral(x, group(kernel), axes, []int{stride, stride},
		[][2]int{{k / 2, after(height, 1, k, rows, stride)}, {k / 2, after(width, 1, k, columns, stride)}}, nil, nil, features, 1)
	return CustomGradient(y, []*graph.Node{x, kernel}, func(v *graph.Node) []*graph.Node {
		dx := graph.ConvGeneral(v, group(graph.Reverse(kernel, 0, 1)), axes, nil,
			[][2]int{{k / 2, after(rows, stride, k, height, 1)}, {k / 2, after(columns, stride, k, width, 1)}}, []int{stride, stride}, nil, features, 1)
		overImages := graph.ConvolveAxesConfig{
			InputBatch: 3, InputSpatial: []int{1, 2}, InputChannels: 0,
			KernelSpatial: []int{1, 2}, KernelInputChannels: 0, KernelOutputChannels: 3,
			OutputBatch: 2, OutputSpatial: []int{0, 1}, OutputChannels: 3,
		}
		spread := func(pixels int) int { return (pixels-1)*stride + 1 }
		taps := graph.ConvGeneral(x, v, overImages, nil,
			[][2]int{{k / 2, after(height, 1, spread(rows), k, 1)}, {k / 2, after(width, 1, spread(columns), k, 1)}}, nil, []int{stride, stride}, 1, features)
		return []*graph.Node{dx, graph.Reshape(taps, k, k, features)}
	})
}

// depthwiseSum is DepthwiseConv by XLA's operations.
func depthwiseSum(x, kernel *graph.Node, stride int) *graph.Node {
	k := kernel.Shape().Dimensions[0]
	height, width := x.Shape().Dimensions[1], x.Shape().Dimensions[2]
	y := shiftedSum(padded(x, k/2), kernel, (height+stride-1)/stride, (width+stride-1)/stride, stride, false)
	return CustomGradient(y, []*graph.Node{x, kernel}, func(v *graph.Node) []*graph.Node {
		wide := padded(spread(v, stride, height, width), k/2)
		return []*graph.Node{
			shiftedSum(wide, kernel, height, width, 1, true),
			tapSums(padded(x, k/2), v, k, stride),
		}
	})
}

// widest is the most values that a vector of a processor has.
const widest = 16

// depthwiseCall is DepthwiseConv by package kernels, with vectors of at most so many lanes.
func depthwiseCall(x, kernel *graph.Node, stride int, operands dtypes.DType, lanes int) *graph.Node {
	full, low := x.DType(), operandShape(x, operands)
	settings := func(stride, dilation int) map[string]int {
		return map[string]int{"stride": stride, "dilation": dilation, "pad": kernel.Shape().Dimensions[0] / 2, "lanes": lanes}
	}
	d, k := x.Shape().Dimensions, kernel.Shape().Dimensions[0]
	kernelShape := shapes.Make(kernel.DType(), k, k, 1, d[3])
	cast := func(x *graph.Node) *graph.Node { return graph.ConvertDType(x, low.DType) }
	y := call("prenas_depthwise", shapes.Make(low.DType, d[0], (d[1]+stride-1)/stride, (d[2]+stride-1)/stride, d[3]),
		settings(stride, 1), cast(x), graph.ReshapeWithShape(kernel, kernelShape))
	return CustomGradient(graph.ConvertDType(y, full), []*graph.Node{x, kernel}, func(v *graph.Node) []*graph.Node {
		turned := graph.ReshapeWithShape(graph.Reverse(kernel, 0, 1), kernelShape)
		taps := call("prenas_depthwise_kernel", kernelShape, settings(stride, 1), cast(x), cast(v))
		return []*graph.Node{
			graph.ConvertDType(call("prenas_depthwise", low, settings(1, stride), cast(v), turned), full),
			graph.ReshapeWithShape(taps, kernel.Shape()),
		}
	})
}

// FeaturesLast is the kernel [k, k, c] of one that is stored as [c, k, k].
//
// It is a product with the identity, not a transposition: XLA would compute that
// inside the sums over taps, which then read the kernel feature by feature, k² values
// apart, for every pixel. A product is stored first.
func FeaturesLast(kernel *graph.Node) *graph.Node {
	features, k := kernel.Shape().Dimensions[0], kernel.Shape().Dimensions[1]
	square := shapes.Make(kernel.DType(), k*k, k*k)
	identity := graph.ConvertDType(graph.Equal(graph.Iota(kernel.Graph(), square, 0), graph.Iota(kernel.Graph(), square, 1)), kernel.DType())
	taps := graph.DotGeneral(identity, []int{1}, nil, graph.Reshape(kernel, features, k*k), []int{1}, nil) // [k·k, c]
	return graph.Reshape(taps, k, k, features)
}

// padded has zeros around the height and the width of x.
func padded(x *graph.Node, by int) *graph.Node {
	if by > 0 && x.Graph().Backend().Capabilities().Operations[backends.OpTypePad] {
		around := backends.PadAxis{Start: by, End: by}
		return graph.Pad(x, graph.ScalarZero(x.Graph(), x.DType()), backends.PadAxis{}, around, around)
	}
	return padWithZeros(padWithZeros(x, 1, by, by), 2, by, by)
}

// shifted is x moved by (u, v): every stride-th row and column from there on.
func shifted(x *graph.Node, u, v, height, width, stride int) *graph.Node {
	every := func(from, count int) graph.SliceAxisSpec {
		return graph.AxisRange(from, from+stride*(count-1)+1).Stride(stride)
	}
	return graph.Slice(x, graph.AxisRange(), every(u, height), every(v, width), graph.AxisRange())
}

// shiftedSum is the sum over the kernel's taps, or over those of the kernel
// turned by 180°.
func shiftedSum(x, kernel *graph.Node, height, width, stride int, turned bool) *graph.Node {
	k := kernel.Shape().Dimensions[0]
	var sum *graph.Node
	for u := range k {
		for v := range k {
			at, to := u, v
			if turned {
				at, to = k-1-u, k-1-v
			}
			tap := graph.Slice(kernel, graph.AxisElem(at), graph.AxisElem(to)) // [1, 1, c]
			term := graph.Mul(shifted(x, u, v, height, width, stride), graph.ExpandLeftToRank(tap, 4))
			if sum == nil {
				sum = term
			} else {
				sum = graph.Add(sum, term)
			}
		}
	}
	return sum
}

// spread puts stride-1 zeros after every row and column of v, and cuts to
// height and width.
func spread(v *graph.Node, stride, height, width int) *graph.Node {
	if stride == 1 {
		return v
	}
	d := v.Shape().Dimensions
	v = graph.Reshape(v, d[0], d[1], 1, d[2], 1, d[3])
	v = padWithZeros(padWithZeros(v, 2, 0, stride-1), 4, 0, stride-1)
	v = graph.Reshape(v, d[0], d[1]*stride, d[2]*stride, d[3])
	return graph.Slice(v, graph.AxisRange(), graph.AxisRangeFromStart(height), graph.AxisRangeFromStart(width), graph.AxisRange())
}

// tapSums is [k, k, c]: for each tap the sum over images, rows and columns of
// the adjoint v times the image moved by it.
//
// The taps of one row of the kernel are summed in one pass, side by side before
// the features: what it reads of the images for one tap is still in the cache
// for the next. With kernels of 7 that takes half the time of a pass for each.
func tapSums(x, v *graph.Node, k, stride int) *graph.Node {
	height, width, features := v.Shape().Dimensions[1], v.Shape().Dimensions[2], v.Shape().Dimensions[3]
	parts := unrolled
	if stride > 1 {
		parts /= 2 // the image is larger than v: as many parts of it do not fit the cache
	}
	rows := make([]*graph.Node, k)
	for i := range k {
		taps := make([]*graph.Node, k)
		for j := range k {
			moved := shifted(x, i, j, height, width, stride)
			taps[j] = batchSum(v, parts, func(part func(*graph.Node) *graph.Node) *graph.Node {
				return graph.Mul(part(moved), part(v))
			})
		}
		rows[i] = graph.Reshape(rowSum(graph.Stack(taps, 3), k*features), k, features)
	}
	return graph.Stack(rows, 0)
}

// unrolled is how many parts of a batch are added at once.
const unrolled = 16

// featureSums is [c]: the sum over all but the last axis of a value that is
// computed value by value from tensors of like's shape. value gets the way to
// take the same part of the batch from each of them.
//
// XLA's CPU code for a sum over leading axes runs over memory feature by
// feature. Here the batch is cut into parts that are added to each other, which
// becomes one pass with nothing written between, and what is left is a product
// with ones. It is 16 times faster for the taps of a depthwise kernel.
func featureSums(like *graph.Node, value func(part func(*graph.Node) *graph.Node) *graph.Node) *graph.Node {
	return rowSum(batchSum(like, unrolled, value), like.Shape().Dimensions[like.Rank()-1])
}

// batchSum cuts the batch into parts, at most as many as most, and adds the value
// of each.
func batchSum(like *graph.Node, most int, value func(part func(*graph.Node) *graph.Node) *graph.Node) *graph.Node {
	batch, parts := like.Shape().Dimensions[0], 1
	for parts < most && batch%(2*parts) == 0 {
		parts *= 2
	}
	var sum *graph.Node
	for p := range parts {
		of := func(x *graph.Node) *graph.Node {
			return graph.Slice(x, graph.AxisRange(p*batch/parts, (p+1)*batch/parts))
		}
		if term := value(of); sum == nil {
			sum = term
		} else {
			sum = graph.Add(sum, term)
		}
	}
	return sum
}

// rowSum is [columns]: the sum over the rows of x, whatever its axes, as a product
// with ones.
func rowSum(x *graph.Node, columns int) *graph.Node {
	rows := graph.Reshape(x, x.Shape().Size()/columns, columns)
	ones := graph.Ones(rows.Graph(), shapes.Make(rows.DType(), 1, rows.Shape().Dimensions[0]))
	return graph.Reshape(graph.Dot(ones, rows), columns)
}
