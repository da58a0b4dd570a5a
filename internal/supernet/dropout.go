package supernet

import (
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
)

// Dropout zeroes single values of the activations while training and multiplies the
// others with 1/(1 - rate), where the original does and at its rates:
//
//	Rate · embed_dim/supernet's        after the embedding, after GELU, after fc2
//	Rate                               after attention's projection
//	Attention                          on the attention matrix, after its softmax
//	Attention · embed_dim/supernet's   on the whole branch of attention
//
// A convolutional network has it at Rate before the classifier, as timm's MobileNetV3, and nowhere else.
//
// Whether a value is dropped is a function of Key, of the place in the network, and of
// where the value stands in the supernet's activation: an architecture drops the same
// values in its own program and in the masked one, and no mask is stored for the
// backward pass.
type Dropout struct {
	Rate, Attention float64     // in [0, 1)
	Key             *graph.Node // uint32 [2], drawn anew for each batch
	Places          []uint32    // of the images in their batch, of which they are a part; nil: they are all of it
}

// dropSite is a place of the network that has dropout: one after the embedding, the
// others in each block.
type dropSite int

const (
	dropEmbedding dropSite = iota
	dropAttention
	dropProj
	dropBranch
	dropHidden
	dropMLP
	dropSites
)

// at is the rate of a site, and whether it falls with the embedding dim.
func (d *Dropout) at(site dropSite) (rate float64, byDim bool) {
	switch site {
	case dropProj:
		return d.Rate, false
	case dropAttention:
		return d.Attention, false
	case dropBranch:
		return d.Attention, true
	}
	return d.Rate, true
}

// drop of the static graph: x is [N, ...], and whole are the supernet's sizes of its
// axes after the first.
func (v *vit) drop(x *graph.Node, site dropSite, block int, whole ...int) *graph.Node {
	if v.Dropout == nil {
		return x
	}
	rate, byDim := v.Dropout.at(site)
	value := float32(rate)
	if byDim {
		value = float32(rate/float64(v.space.Supernet.EmbedDim)) * float32(v.Arch.EmbedDim)
	}
	wide := graph.ConvertDType(x, dtypes.Float32) // chances need its digits
	y := v.Dropout.drop(wide, site, block, whole, graph.Scalar(x.Graph(), wide.DType(), value))
	return graph.ConvertDType(y, x.DType())
}

// drop of the masked graph: x is [A, N, ...], and all models drop the same. The rate is
// the same number to the last bit as in the static graph.
func (v *masked) drop(x *graph.Node, site dropSite, block int, whole ...int) *graph.Node {
	if v.Dropout == nil {
		return x
	}
	rate, byDim := v.Dropout.at(site)
	value := graph.Scalar(x.Graph(), x.DType(), float32(rate))
	if byDim {
		perDim := graph.Scalar(x.Graph(), x.DType(), float32(rate/float64(v.space.Supernet.EmbedDim)))
		value = v.at(graph.Mul(v.dim, perDim), x.Rank()-1, x.Rank())
	}
	return v.Dropout.drop(x, site, block, whole, value)
}

// drop applies dropout at a rate that is a scalar, or of x's rank with ones.
func (d *Dropout) drop(x *graph.Node, site dropSite, block int, whole []int, rate *graph.Node) *graph.Node {
	g := x.Graph()
	number := func(n uint32) *graph.Node { return graph.Scalar(g, dtypes.Uint32, n) }
	index, stride := number(0), uint32(1)
	for axis := x.Rank() - 1; axis >= x.Rank()-1-len(whole); axis-- {
		dims := make([]int, x.Rank())
		for i := range dims {
			dims[i] = 1
		}
		dims[axis] = x.Shape().Dimensions[axis]
		place := graph.Iota(g, shapes.Make(dtypes.Uint32, dims...), axis)
		if axis == x.Rank()-1-len(whole) && d.Places != nil {
			place = graph.Reshape(graph.Const(g, d.Places), dims...)
		}
		index = graph.Add(index, graph.Mul(place, number(stride)))
		if k := axis - (x.Rank() - len(whole)); k >= 0 {
			stride *= uint32(whole[k])
		}
	}
	key := func(i int) *graph.Node { return graph.Reshape(graph.Slice(d.Key, graph.AxisElem(i))) }
	const golden = 0x9E3779B9 // 2³² over the golden ratio: numbers of sites far apart
	salt := graph.Add(key(1), number((uint32(block)*uint32(dropSites)+uint32(site))*golden))
	hash := mixBits(graph.BitwiseXor(mixBits(graph.Add(index, key(0))), salt))
	chance := graph.MulScalar(graph.ConvertDType(shiftRight(hash, 8), x.DType()), 1.0/(1<<24)) // in [0, 1), exact
	kept := graph.ConvertDType(graph.GreaterOrEqual(chance, rate), x.DType())
	return graph.Mul(x, graph.Div(kept, graph.OneMinus(rate)))
}

// mixBits is a bijection of uint32 in which each bit of the input moves half of the
// output's: multiplications, and folds of the high bits onto the low ones, with Wellons'
// constants of low bias ("Prospecting for Hash Functions", 2018).
func mixBits(x *graph.Node) *graph.Node {
	multiply := func(x *graph.Node, by uint32) *graph.Node {
		return graph.Mul(x, graph.Scalar(x.Graph(), dtypes.Uint32, by))
	}
	fold := func(x *graph.Node, bits int) *graph.Node { return graph.BitwiseXor(x, shiftRight(x, bits)) }
	x = multiply(fold(x, 16), 0x7feb352d)
	x = multiply(fold(x, 15), 0x846ca68b)
	return fold(x, 16)
}

// shiftRight is a division: the pure-Go backend has no shifts.
func shiftRight(x *graph.Node, bits int) *graph.Node {
	return graph.Div(x, graph.Scalar(x.Graph(), dtypes.Uint32, uint32(1)<<bits))
}
