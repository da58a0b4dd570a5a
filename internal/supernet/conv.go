package supernet

import (
	"cmp"
	"fmt"
	"math"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/pkg/space"
)

// BatchNormEps is torch's default, which once-for-all and timm keep.
const BatchNormEps = 1e-5

// conv builds one convolutional network's graph. Activations are [N, height,
// width, features]: features last is what makes both products and shifted sums
// run over memory in order.
//
//	x ─ 1x1 to hidden ─ norm ─ act ─ depthwise k x k ─ norm ─ act ─ squeeze-excite ─ 1x1 to out ─ norm ─┬─►
//	└──────────────────────────── where stride is 1 and widths are equal ───────────────────────────────┘
type conv struct {
	builder
	norms int       // batch norms built so far
	mask  *convMask // nil: the architecture is built in
}

func (v *conv) logits(images *graph.Node) *graph.Node {
	m, c := v.space.Model, v.space.Model.Conv
	outside := convActivation(cmp.Or(c.Activation, space.HardSwish))
	x := graph.TransposeAllAxes(v.resized(images), 0, 2, 3, 1)
	x = v.tap(SiteBlock, v.norm(v.stem(x), "bn1", c.Stem, outside))
	for i, b := range m.ConvBlocks(v.Arch) {
		y := v.there(v.block(x, b), b)
		if b.Residual {
			y = graph.Add(x, v.dropped(y, i-1))
		}
		x = v.tap(SiteBlock, y)
	}
	last, norm := featuresNames(m)
	x = v.norm(v.pointwise(x, last+".weight", c.Features, x.Shape().Dimensions[3]), norm, c.Features, outside)
	x = spatialMean(x)
	if c.Mix > 0 {
		x = v.pointwise(x, "conv_head.weight", c.Mix, c.Features)
		if c.MixBias {
			x = v.addBias(x, v.weight("conv_head.bias"))
		}
		x = outside.Of(v.tap(SiteHidden, x))
	}
	if d := v.Dropout; d != nil {
		x = d.drop(x, dropHidden, 0, []int{c.Pooled()}, graph.Scalar(x.Graph(), x.DType(), d.Rate))
	}
	return v.addBias(v.product(x, v.weight("classifier.weight")), v.weight("classifier.bias"))
}

// convActivation of a name of package space.
func convActivation(name string) engine.Activation {
	switch name {
	case space.ReLU:
		return engine.ReLU
	case space.ReLU6:
		return engine.ReLU6
	case space.SiLU:
		return engine.SiLU
	case space.HardSwish:
		return engine.HardSwish
	}
	panic(fmt.Errorf("supernet: convolutional networks have no activation %q", name))
}

// block without its residual connection.
func (v *conv) block(x *graph.Node, b space.ConvBlock) *graph.Node {
	name, act := convBlockName(b), convActivation(b.Activation)
	if !b.Expands {
		x = v.norm(engine.DepthwiseConv(x, v.kernel(b), b.Stride, v.Operands), name+"bn1", b.Hidden, act)
		if b.Squeeze > 0 {
			x = v.squeezeExcite(x, b, name+"se.")
		}
		return v.norm(v.pointwise(x, name+"conv_pw.weight", b.Out, b.Hidden), name+"bn2", b.Out, engine.Identity)
	}
	x = v.norm(v.pointwise(x, name+"conv_pw.weight", b.Hidden, b.In), name+"bn1", b.Hidden, act)
	x = v.tap(SiteUnits, v.norm(engine.DepthwiseConv(x, v.kernel(b), b.Stride, v.Operands), name+"bn2", b.Hidden, act))
	x = v.first(x, b, hiddenColumn)
	if b.Squeeze > 0 {
		x = v.squeezeExcite(x, b, name+"se.")
	}
	return v.norm(v.pointwise(x, name+"conv_pwl.weight", b.Out, b.Hidden), name+"bn3", b.Out, engine.Identity)
}

// squeezeExcite weighs features by what their means say (Hu et al., 2018).
func (v *conv) squeezeExcite(x *graph.Node, b space.ConvBlock, name string) *graph.Node {
	middle, gate := engine.ReLU, engine.HardSigmoid
	switch v.space.Model.Conv.Squeeze {
	case space.SqueezeRW:
		middle = convActivation(b.Activation)
	case space.SqueezeEfficientNet:
		middle, gate = convActivation(b.Activation), graph.Sigmoid
	}
	y := v.pointwise(spatialMean(x), name+"conv_reduce.weight", b.Squeeze, b.Hidden)
	y = middle.Of(v.addBias(y, v.vector(name+"conv_reduce.bias", b.Squeeze)))
	if b.Unit >= 0 { // what an architecture chooses
		y = v.first(v.tap(SiteSqueeze, y), b, squeezeColumn)
	}
	y = v.pointwise(y, name+"conv_expand.weight", b.Hidden, b.Squeeze)
	y = gate(v.addBias(y, v.vector(name+"conv_expand.bias", b.Hidden)))
	return graph.Mul(x, graph.InsertAxes(y, 1, 1))
}

func spatialMean(x *graph.Node) *graph.Node { return graph.ReduceMean(x, 1, 2) }

// pointwise is a 1x1 convolution with the first rows and columns of a weight.
func (v *conv) pointwise(x *graph.Node, name string, out, in int) *graph.Node {
	w := v.weight(name)
	w = graph.Reshape(w, w.Shape().Dimensions[0], w.Shape().Dimensions[1])
	return v.product(x, graph.Slice(w, graph.AxisRangeFromStart(out), graph.AxisRangeFromStart(in)))
}

// stem is a 3x3 convolution, as a product with the nine pixels
// that each output sees. They are taken from images that are operands of a product already, and an odd number of
// their values gets a zero more, since products by pairs are faster.
func (v *conv) stem(x *graph.Node) *graph.Node {
	stride, d := v.space.Model.Conv.StemStride, x.Shape().Dimensions
	side, channels := d[1], d[3]
	shift := v.space.Model.Conv.Shift(side, stride)
	out := (side + stride - 1) / stride
	full := x.DType()
	if v.Operands != dtypes.InvalidDType {
		x = graph.ConvertDType(x, v.Operands)
	}
	zeros := func(of *graph.Node, axis int) *graph.Node {
		shape := of.Shape().Clone()
		shape.Dimensions[axis] = 1
		return graph.Zeros(of.Graph(), shape)
	}
	for _, axis := range []int{1, 2} {
		x = graph.Concatenate([]*graph.Node{zeros(x, axis), x, zeros(x, axis)}, axis)
	}
	var seen []*graph.Node
	for i := range 3 {
		for j := range 3 {
			every := func(from int) graph.SliceAxisSpec {
				from += shift
				return graph.AxisRange(from, from+stride*(out-1)+1).Stride(stride)
			}
			seen = append(seen, graph.Slice(x, graph.AxisRange(), every(i), every(j)))
		}
	}
	w := v.weight("conv_stem.weight") // [stem, channels, 3, 3]
	stem := w.Shape().Dimensions[0]
	w = graph.Reshape(graph.TransposeAllAxes(w, 0, 2, 3, 1), stem, 9*channels)
	if channels%2 == 1 {
		seen, w = append(seen, zeros(seen[0], 3)), graph.Concatenate([]*graph.Node{w, zeros(w, 1)}, 1)
	}
	patches := graph.Concatenate(seen, 3) // [N, out, out, 9·channels], row, column, channel
	return v.product(graph.ConvertDType(patches, full), w)
}

// kernel of a block's depthwise convolution, [k, k, hidden]: the middle of the
// shared one, or what the matrices between kernels make of it.
func (v *conv) kernel(b space.ConvBlock) *graph.Node {
	w := v.weight(convBlockName(b) + "conv_dw.weight") // [all, 1, size, size]
	size := w.Shape().Dimensions[2]
	w = graph.Slice(graph.Reshape(w, w.Shape().Dimensions[0], size, size), graph.AxisRangeFromStart(b.Hidden))
	if v.mask != nil && b.Expands {
		w = v.chosen(b, v.kernels(b, w))
	} else if v.space.Model.Conv.Transform && b.Expands {
		for _, to := range descending(v.space)[1:] {
			if to < b.Kernel {
				break
			}
			w = v.smaller(b, w, to)
		}
	}
	w = middle(w, b.Kernel)
	for axis := 1; axis < 3 && b.Shift > 0; axis++ { // a kernel that looks further has zeros before it
		shape := w.Shape().Clone()
		shape.Dimensions[axis] = 2 * b.Shift
		w = graph.Concatenate([]*graph.Node{graph.Zeros(w.Graph(), shape), w}, axis)
	}
	return engine.FeaturesLast(w)
}

// smaller kernels [n, to, to] out of the next larger ones of the space.
func (v *conv) smaller(b space.ConvBlock, w *graph.Node, to int) *graph.Node {
	m := middle(w, to)
	if !v.space.Model.Conv.Transform {
		return m
	}
	flat := graph.Reshape(m, b.Hidden, to*to)
	return graph.Reshape(v.product(flat, v.weight(transformName(b, w.Shape().Dimensions[1], to))), b.Hidden, to, to)
}

// middle of kernels [n, size, size].
func middle(w *graph.Node, kernel int) *graph.Node {
	margin := (w.Shape().Dimensions[1] - kernel) / 2
	in := graph.AxisRange(margin, margin+kernel)
	return graph.Slice(w, graph.AxisRange(), in, in)
}

// norm is a batch norm over the first features of the shared one, and what follows it.
func (v *conv) norm(x *graph.Node, name string, size int, act engine.Activation) *graph.Node {
	at := 2 * v.norms
	v.norms++
	v.tap(SiteNorm, x)
	weight, bias := v.vector(name+".weight", size), v.vector(name+".bias", size)
	within, after := act, engine.Identity
	if v.Tap != nil || v.Stats != nil { // who looks at what is between them may differentiate by it
		within, after = after, within
	}
	var y *graph.Node
	if v.Stats != nil {
		y = engine.FixedNorm(x, weight, bias, v.Stats[at], v.Stats[at+1], BatchNormEps)
	} else {
		var mean, variance *graph.Node
		y, mean, variance = engine.BatchNorm(x, weight, bias, BatchNormEps, within, v.Operands)
		v.saw(name, mean, variance, x.Shape().Size()/size)
	}
	if act != engine.Identity {
		v.tap(SiteHidden, y)
	}
	return after.Of(y)
}

// saw notes a batch's mean and variance of so many values.
func (v *conv) saw(name string, mean, variance *graph.Node, values int) {
	if v.Seen == nil {
		return
	}
	n := float64(values)
	if n < 2 {
		panic(fmt.Errorf("supernet: batch norm %s sees one value of each feature, which has no variance: a larger batch is needed", name))
	}
	*v.Seen = append(*v.Seen, mean, graph.MulScalar(variance, n/(n-1)))
}

// dropped is a residual branch with the samples left out that drop path says.
func (v *conv) dropped(y *graph.Node, layer int) *graph.Node {
	if v.DropPath == nil || layer < 0 {
		return y
	}
	factor := graph.Slice(v.DropPath, graph.AxisElem(layer), graph.AxisElem(0))
	return graph.Mul(y, graph.Reshape(factor, y.Shape().Dimensions[0], 1, 1, 1))
}

// resized are the images at the architecture's resolution: bilinear, antialiased,
// as PIL and torch's interpolate(antialias=True) have it. Rows and columns are
// each a product with a constant matrix.
func (v *conv) resized(images *graph.Node) *graph.Node {
	from, to := images.Shape().Dimensions[2], v.Arch.Resolution
	if from == to {
		return images
	}
	matrix := graph.Const(images.Graph(), tensors.FromFlatDataAndDimensions(ResizeMatrix(from, to), to, from))
	x := graph.DotGeneral(images, []int{2}, nil, matrix, []int{1}, nil) // [N, C, W, to]
	return graph.DotGeneral(x, []int{2}, nil, matrix, []int{1}, nil)    // [N, C, to, to]
}

// ResizeMatrix is [to, from]: the weights of a triangle as wide as to is coarser.
func ResizeMatrix(from, to int) []float32 {
	scale := float64(from) / float64(to)
	reach := math.Max(scale, 1)
	matrix := make([]float32, to*from)
	for i := range to {
		centre, total := (float64(i)+0.5)*scale, 0.0
		row := make([]float64, from)
		for j := range row {
			row[j] = math.Max(0, 1-math.Abs(float64(j)+0.5-centre)/reach)
			total += row[j]
		}
		for j := range row {
			matrix[i*from+j] = float32(row[j] / total)
		}
	}
	return matrix
}
