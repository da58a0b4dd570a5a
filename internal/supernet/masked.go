package supernet

import (
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"

	"prenas/pkg/space"
)

// Masked says what a masked forward pass runs.
//
// The static graph of an architecture has its slices built in, and each
// architecture needs a program of its own. The masked graph takes the
// architecture as an input: it computes the whole supernet and multiplies with
// masks of ones and zeros, so that what the architecture does not use adds
// nothing and gets a gradient of exactly zero.
//
//	embed_dim   every activation is zero beyond it; norms divide by it
//	heads       the output of the others is zero before the projection
//	hidden      the other units are zero after GELU
//	depth       both branches of the blocks that are not kept are zero
//
// That of a convolutional network is in conv_masked.go.
//
// It runs several models at once, A of them, each with weights and an
// architecture of its own, over the same images: small models leave most of a
// machine idle one by one.
type Masked struct {
	// Sizes is int32 [A, SizesLen]: the architectures, as Sizes writes them.
	Sizes *graph.Node
	// DropPath is nil, or float32 [A, supernet's depth, 2, N], as in Forward.
	DropPath *graph.Node
	// Dropout is nil for none. All models drop the same.
	Dropout *Dropout
	// Operands of matrix products, as in Forward.
	Operands dtypes.DType
	// Resolution of a convolutional network's images, which all architectures of the
	// graph have; 0: that of the space's images.
	Resolution int
	// Stats and Seen are those of Forward, of a convolutional network of Net.Whole's size: what
	// an architecture does not use has some finite values in them.
	Stats []*graph.Node
	Seen  *[]*graph.Node
}

// SizesLen is the length of Sizes.
func (n *Net) SizesLen() int {
	if n.space.Model.IsConv() {
		return 1 + convColumns*n.size.Depth()
	}
	return 1 + 2*n.space.Supernet.Depth
}

// Sizes are what a masked graph has to know of an architecture: the embedding
// dim, the heads of each block of the supernet, and the hidden width of each;
// zero for the blocks that it has not. Those of a convolutional network are in
// conv_masked.go.
func (n *Net) Sizes(a space.Arch) []int32 {
	if n.space.Model.IsConv() {
		return n.convSizes(a)
	}
	depth := n.space.Supernet.Depth
	sizes := make([]int32, n.SizesLen())
	sizes[0] = int32(a.EmbedDim)
	for i := range a.Depth() {
		sizes[1+a.Layer(i)] = int32(a.NumHeads[i])
		sizes[1+depth+a.Layer(i)] = int32(space.Hidden(a.EmbedDim, a.MLPRatio[i]))
	}
	return sizes
}

// MaskedUses is float32 [A, len(Params)]: 1 where a weight takes part in the
// computation of an architecture (see Uses), else 0.
func (n *Net) MaskedUses(sizes *graph.Node) *graph.Node {
	models := sizes.Shape().Dimensions[0]
	uses := make([]*graph.Node, len(n.params))
	for i, p := range n.params {
		if n.space.Model.IsConv() {
			uses[i] = n.maskedConvUse(sizes, p)
			continue
		}
		column := sizeColumn(sizes, 0) // the embedding dim is never zero
		if p.Block >= 0 {
			column = sizeColumn(sizes, 1+p.Block)
		}
		if p.dim != 0 {
			same := graph.Equal(sizeColumn(sizes, 0), graph.Scalar(sizes.Graph(), sizes.DType(), p.dim))
			column = graph.Mul(column, graph.ConvertDType(same, column.DType()))
		}
		uses[i] = column
	}
	all := graph.Concatenate(uses, 1)
	zeros := graph.Zeros(sizes.Graph(), all.Shape())
	return graph.Reshape(graph.ConvertDType(graph.GreaterThan(all, zeros), dtypes.Float32), models, len(n.params))
}

// MaskedLogits adds the forward pass of the architectures in f.Sizes to the
// graph: images [N, C, H, W] to logits [A, N, classes]. Weights are the nodes
// of Params, each with a leading axis of A models. Sizes must be those of
// architectures that fit the supernet; nothing checks them. Like Logits, it
// panics: compile it through engine.Compile.
func (n *Net) MaskedLogits(weights []*graph.Node, images *graph.Node, f Masked) *graph.Node {
	m, top := n.space.Model, n.space.Supernet
	if m.IsConv() {
		return n.maskedConvLogits(weights, images, f)
	}
	v := &masked{
		vit: vit{builder{Net: n, weights: weights, Forward: Forward{Operands: f.Operands, Dropout: f.Dropout}}},
		f:   f, models: f.Sizes.Shape().Dimensions[0], samples: images.Shape().Dimensions[0],
		dim:      graph.ConvertDType(sizeColumn(f.Sizes, 0), dtypes.Float32),
		features: sizeMask(f.Sizes, 0, top.EmbedDim),
		relative: newRelative(m, images.Graph()),
	}
	x := v.embed(images)
	if m.Variant.PreNorm {
		x = v.norm(x, "norm_pre")
	}
	for i := range top.Depth {
		x = v.branch(x, i, 0, v.attention)
		x = v.branch(x, i, 1, v.mlp)
	}
	if m.Variant != (space.Variant{}) {
		return classify(v, m, x)
	}
	x = v.norm(x, "norm")
	if m.GlobalPool {
		x = graph.ReduceMean(graph.Slice(x, graph.AxisRange(), graph.AxisRange(), graph.AxisRangeToEnd(1)), 2)
	} else {
		x = graph.Slice(x, graph.AxisRange(), graph.AxisRange(), graph.AxisElem(0))
		x = graph.Reshape(x, v.models, v.samples, top.EmbedDim)
	}
	return graph.Add(v.product(x, v.weight("head.weight")), v.vector("head.bias", 1))
}

// masked builds the masked graph. Activations are [A, N, tokens, embed_dim].
type masked struct {
	vit
	f               Masked
	models, samples int
	dim             *graph.Node // [A, 1]: the embedding dims
	features        *graph.Node // [A, embed_dim]: 1 for those that are used
	relative        *relative
}

// sizeColumn is column i of the sizes, [A, 1].
func sizeColumn(sizes *graph.Node, i int) *graph.Node {
	return graph.Slice(sizes, graph.AxisRange(), graph.AxisRange(i, i+1))
}

// sizeMask is float32 [A, most]: 1 for the first of most, as many as column i
// of the sizes says.
func sizeMask(sizes *graph.Node, i, most int) *graph.Node {
	size := graph.BroadcastToDims(sizeColumn(sizes, i), sizes.Shape().Dimensions[0], most)
	index := graph.Iota(sizes.Graph(), size.Shape(), 1)
	return graph.ConvertDType(graph.LessThan(index, size), dtypes.Float32)
}

// at gives x [A, size] the rank of the activations, with size at an axis.
func (v *masked) at(x *graph.Node, axis, rank int) *graph.Node {
	dims := make([]int, rank)
	for i := range dims {
		dims[i] = 1
	}
	dims[0], dims[axis] = v.models, x.Shape().Dimensions[1]
	return graph.Reshape(x, dims...)
}

// vector is a bias or norm weight [A, size] over activations with between axes
// between the models' and the features'.
func (v *masked) vector(name string, between int) *graph.Node {
	return v.at(v.weight(name), 1+between, 2+between)
}

// product multiplies x [A, ..., in] with weights [A, out, in]. Those of one model are as any
// other network's.
func (v *masked) product(x, weight *graph.Node) *graph.Node {
	if v.models == 1 {
		return v.vit.product(x, graph.Squeeze(weight, 0))
	}
	return v.dotGeneral(x, []int{x.Rank() - 1}, []int{0}, weight, []int{2}, []int{0})
}

func (v *masked) norm(x *graph.Node, name string) *graph.Node {
	scale := graph.Mul(v.normVector(name+".weight"), v.features)
	shift := graph.Mul(v.normVector(name+".bias"), v.features)
	y := maskedNormalize(x, v.at(v.features, 3, 4), v.at(v.dim, 3, 4), v.space.Model.Eps())
	return graph.Add(graph.Mul(y, v.at(scale, 3, 4)), v.at(shift, 3, 4))
}

// branch adds a residual branch of a block to x; what is beyond the embedding
// dim or the depth is multiplied by zero.
func (v *masked) branch(x *graph.Node, block, which int, f func(x *graph.Node, block int) *graph.Node) *graph.Node {
	used := sizeMask(v.f.Sizes, 1+block, 1) // a block that is used has heads
	y := graph.Mul(f(x, block), v.at(graph.Mul(v.features, used), 3, 4))
	if v.f.DropPath != nil {
		factor := graph.Slice(v.f.DropPath, graph.AxisRange(), graph.AxisElem(block), graph.AxisElem(which))
		y = graph.Mul(y, graph.Reshape(factor, v.models, v.samples, 1, 1))
	}
	return graph.Add(x, y)
}

func (v *masked) embed(images *graph.Node) *graph.Node {
	m, dim := v.space.Model, v.space.Supernet.EmbedDim
	side, patch := m.ImageSize/m.PatchSize, m.PatchSize
	x := graph.Reshape(images, v.samples, m.Channels, side, patch, side, patch)
	x = graph.TransposeAllAxes(x, 0, 2, 4, 1, 3, 5)
	x = graph.Reshape(x, v.samples, side*side, m.Channels*patch*patch)
	w := graph.Reshape(v.weight("patch_embed_super.proj.weight"), v.models, dim, m.Channels*patch*patch)
	x = v.dotGeneral(x, []int{2}, nil, w, []int{2}, nil) // [N, patches, A, dim]: all models' in one product
	x = graph.TransposeAllAxes(x, 2, 0, 1, 3)
	x = graph.Add(x, v.vector("patch_embed_super.proj.bias", 2))

	var parts []*graph.Node
	token := func(name string, n int) {
		t := graph.Reshape(v.weight(name), v.models, 1, n, dim)
		parts = append(parts, graph.BroadcastToDims(t, v.models, v.samples, n, dim))
	}
	if !m.Variant.NoClassToken {
		token("cls_token", 1)
	}
	if n := m.Variant.Registers; n > 0 {
		token("reg_token", n)
	}
	if len(parts) > 0 {
		x = graph.Concatenate(append(parts, x), 2)
	}
	if m.AbsPos {
		x = graph.Add(x, v.weight("pos_embed")) // [A, 1, tokens, dim]
	}
	return v.drop(graph.Mul(x, v.at(v.features, 3, 4)), dropEmbedding, 0, m.Tokens(), dim)
}

func (v *masked) attention(x *graph.Node, block int) *graph.Node {
	m, top := v.space.Model, v.space.Supernet
	heads, tokens, width := top.NumHeads, m.Tokens(), top.NumHeads*m.HeadDim
	x = v.norm(x, blockName(block, "attn_layer_norm"))

	// The first heads of the supernet are those of every architecture: rows of
	// qkv are interleaved (q, k, v, q, k, v, …).
	sorted := graph.Reshape(v.weight(blockName(block, "attn.qkv.weight")), v.models, width, 3, top.EmbedDim)
	sorted = graph.Reshape(graph.TransposeAllAxes(sorted, 0, 2, 1, 3), v.models, 3*width, top.EmbedDim)
	qkv := v.product(x, sorted)
	if m.QKVBias {
		bias := graph.Reshape(v.weight(blockName(block, "attn.qkv.bias")), v.models, width, 3)
		bias = graph.Reshape(graph.TransposeAllAxes(bias, 0, 2, 1), v.models, 3*width)
		qkv = graph.Add(qkv, v.at(bias, 3, 4))
	}
	if m.Variant.QKNorm {
		qkv = normQK(qkv, m, block, heads, v.headNorm)
	}
	used := graph.BroadcastToDims(graph.InsertAxes(sizeMask(v.f.Sizes, 1+block, heads), -1), v.models, heads, m.HeadDim)
	out := graph.Mul(v.eachAttention(qkv, block, heads), v.at(graph.Reshape(used, v.models, width), 3, 4))
	out = v.product(out, v.weight(blockName(block, "attn.proj.weight")))
	out = graph.Add(out, v.vector(blockName(block, "attn.proj.bias"), 2))
	for _, site := range []dropSite{dropProj, dropBranch} {
		out = v.drop(out, site, block, tokens, top.EmbedDim)
	}
	return out
}

// eachAttention is selfAttention of qkv [A, N, tokens, 3·heads·head_dim].
func (v *masked) eachAttention(qkv *graph.Node, block, heads int) *graph.Node {
	tables := v.tables(block, v.relative)
	if v.models > 1 {
		return v.selfAttention(qkv, tables, block, heads, v.relative)
	}
	for i, table := range tables {
		tables[i] = graph.Squeeze(table, 0)
	}
	return graph.InsertAxes(v.selfAttention(graph.Squeeze(qkv, 0), tables, block, heads, v.relative), 0)
}

func (v *masked) mlp(x *graph.Node, block int) *graph.Node {
	top, tokens := v.space.Supernet, x.Shape().Dimensions[2]
	hidden := space.Hidden(top.EmbedDim, top.MLPRatio)
	x = v.norm(x, blockName(block, "ffn_layer_norm"))
	x = v.product(x, v.weight(blockName(block, "fc1.weight")))
	x = activation(v.space.Model.Variant.Activation, graph.Add(x, v.vector(blockName(block, "fc1.bias"), 2)))
	x = graph.Mul(x, v.at(sizeMask(v.f.Sizes, 1+top.Depth+block, hidden), 3, 4))
	x = v.drop(x, dropHidden, block, tokens, hidden)
	x = v.product(x, v.weight(blockName(block, "fc2.weight")))
	return v.drop(graph.Add(x, v.vector(blockName(block, "fc2.bias"), 2)), dropMLP, block, tokens, top.EmbedDim)
}
