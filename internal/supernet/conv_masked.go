package supernet

import (
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"

	"prenas/pkg/space"
)

// The masked graph of a convolutional network is the graph of the whole supernet with
// ones and zeros put in, of one model and one resolution:
//
//	kernel      the middle of the shared one that the architecture has, zeros around it
//	expansion   the other hidden features are zero after the depthwise convolution
//	squeeze     the other features in the middle of squeeze-excite are zero
//	depth       the branch of a block that is not there is zero
//
// Batch norms normalise each feature by itself, so that the features that an architecture
// does not use change nothing in those it does.
type convMask struct {
	sizes  *graph.Node // int32 [1, SizesLen], as convSizes writes them
	layers int         // of the supernet
}

// Columns of the sizes: the resolution, and by place of a block its kernel, which is 0
// where there is none, its hidden features, and those in the middle of squeeze-excite.
const convColumns = 3

// Whole is the architecture of all weights, whose batch norms a masked graph has.
func (n *Net) Whole() space.Arch { return n.size }

func (n *Net) convSizes(a space.Arch) []int32 {
	layers := n.size.Depth()
	sizes := make([]int32, 1+convColumns*layers)
	sizes[0] = int32(a.Resolution)
	blocks := n.space.Model.ConvBlocks(a)[1:]
	for i, place := range Places(n.size, a) {
		sizes[1+place], sizes[1+layers+place], sizes[1+2*layers+place] = int32(blocks[i].Kernel), int32(blocks[i].Hidden), int32(blocks[i].Squeeze)
	}
	return sizes
}

// maskedConvLogits is MaskedLogits of a convolutional network, whose images have one
// resolution.
func (n *Net) maskedConvLogits(weights []*graph.Node, images *graph.Node, f Masked) *graph.Node {
	if models := f.Sizes.Shape().Dimensions[0]; models != 1 {
		panic(fmt.Errorf("supernet: space %s is convolutional, its masked graph is of one model, not of %d", n.space.Name, models))
	}
	one := make([]*graph.Node, len(weights))
	for i, w := range weights {
		one[i] = graph.Reshape(w, n.params[i].Shape...)
	}
	whole := Forward{Arch: n.size, Operands: f.Operands, Dropout: f.Dropout, Stats: f.Stats, Seen: f.Seen}
	if f.Resolution != 0 {
		whole.Arch.Resolution = f.Resolution
	}
	if f.DropPath != nil {
		whole.DropPath = graph.Reshape(f.DropPath, f.DropPath.Shape().Dimensions[1:]...)
	}
	v := &conv{builder: builder{Net: n, weights: one, Forward: whole}, mask: &convMask{f.Sizes, n.size.Depth()}}
	return graph.InsertAxes(v.logits(images), 0)
}

// place of a block of a unit in the supernet.
func (v *conv) place(b space.ConvBlock) int {
	place := b.Layer
	for _, layers := range v.size.Units[:b.Unit] {
		place += len(layers)
	}
	return place
}

// first masks x [..., most], features of a block, with what column says that it has of
// them. An architecture that is built in has them all.
func (v *conv) first(x *graph.Node, b space.ConvBlock, column int) *graph.Node {
	if v.mask == nil {
		return x
	}
	most := x.Shape().Dimensions[x.Rank()-1]
	ones := sizeMask(v.mask.sizes, 1+column*v.mask.layers+v.place(b), most)
	return graph.Mul(x, graph.ExpandLeftToRank(graph.Reshape(ones, most), x.Rank()))
}

const (
	kernelColumn = iota
	hiddenColumn
	squeezeColumn
)

// there masks the branch x of a block.
func (v *conv) there(x *graph.Node, b space.ConvBlock) *graph.Node {
	if v.mask == nil || b.Unit < 0 {
		return x
	}
	return graph.Mul(x, graph.Reshape(sizeMask(v.mask.sizes, 1+v.place(b), 1)))
}

// chosen is the kernel [n, size, size] that the mask says, out of those for each size from
// the supernet's down, with zeros around it.
func (v *conv) chosen(b space.ConvBlock, bySize []*graph.Node) *graph.Node {
	var sum *graph.Node
	whole := bySize[0].Shape().Dimensions[1]
	for _, w := range bySize {
		size := w.Shape().Dimensions[1]
		is := graph.Equal(sizeColumn(v.mask.sizes, 1+v.place(b)), graph.Scalar(w.Graph(), dtypes.Int32, size))
		w = graph.Mul(w, graph.Reshape(graph.ConvertDType(is, w.DType())))
		for axis := 1; axis < 3 && size < whole; axis++ {
			shape := w.Shape().Clone()
			shape.Dimensions[axis] = (whole - size) / 2
			zeros := graph.Zeros(w.Graph(), shape)
			w = graph.Concatenate([]*graph.Node{zeros, w, zeros}, axis)
		}
		if sum == nil {
			sum = w
		} else {
			sum = graph.Add(sum, w)
		}
	}
	return sum
}

// maskedConvUse is column [1, 1] above zero where a weight is used.
func (n *Net) maskedConvUse(sizes *graph.Node, p Param) *graph.Node {
	if p.Block < 0 {
		return sizeColumn(sizes, 0)
	}
	kernel := sizeColumn(sizes, 1+p.Block)
	if p.kernel == 0 {
		return kernel
	}
	fits := graph.LessOrEqual(kernel, graph.Scalar(sizes.Graph(), sizes.DType(), p.kernel))
	return graph.Mul(kernel, graph.ConvertDType(fits, kernel.DType()))
}

// kernels that an architecture of the space can have in a block, from the supernet's own
// down; the middle of one is the next, or what the matrix between them makes of it.
func (v *conv) kernels(b space.ConvBlock, w *graph.Node) []*graph.Node {
	bySize := []*graph.Node{w}
	for _, to := range descending(v.space)[1:] {
		w = v.smaller(b, w, to)
		bySize = append(bySize, w)
	}
	return bySize
}
