package supernet

import (
	"math"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"prenas/internal/engine"
	"prenas/pkg/space"
)

// Forward says which architecture to build and how.
type Forward struct {
	Arch space.Arch
	// DropPath is nil, or float32 [depth, 2, N]: for each block and each of its
	// branches (attention, MLP) the factor of every sample's branch, which is 0
	// (dropped) or 1/(1-rate) (kept). A convolutional block has one branch, the
	// first.
	DropPath *graph.Node
	// Dropout is nil for none.
	Dropout *Dropout
	// Stats are the batch norms' means and variances, as Stats lists them; nil to
	// take those of the batch, as training does.
	Stats []*graph.Node
	// Seen, if not nil, gets the batch's means and variances in the same order, the
	// variances unbiased, as torch has them in running statistics.
	Seen *[]*graph.Node
	// Operands is the type that the operands of products are cast to: float32, or
	// bfloat16. Everything else is computed in float32; on a GPU a vision transformer's activations are also kept in
	// this type.
	Operands dtypes.DType
	// Tap, if not nil, gets activations while the graph is built, in the order of
	// the forward pass.
	Tap func(at Site, x *graph.Node)
}

// Site is where in a network an activation is. In a vision transformer it is
// [N, tokens, features], in a convolutional network [N, height, width, features].
type Site int

const (
	// SiteBlock is the embedding (the stem's output), then each block's output.
	SiteBlock Site = iota
	// SiteNorm is what a norm normalises.
	SiteNorm
	// SiteHidden is what an activation function is applied to.
	SiteHidden
	// SiteQKV are a transformer block's queries, keys and values, all in one.
	SiteQKV
	// SiteAttention is what a transformer block's attention adds to its input.
	SiteAttention
	// SiteMLP is what a transformer block's MLP adds to its input.
	SiteMLP
	// SiteHeads is what a transformer block's heads put out, one after the other.
	SiteHeads
	// SiteUnits is what a transformer's activation function puts out, and a convolutional block's
	// behind its depthwise convolution.
	SiteUnits
	// SiteSqueeze is what the activation function in the middle of squeeze-excite puts out, [N, features].
	SiteSqueeze
)

// Logits adds the forward pass of f.Arch to the graph: images [N, C, H, W],
// float32, normalised, to logits [N, classes]. Weights are the nodes of Params,
// index by index; those that the architecture does not use may be nil. Logits
// panics, as graph building does: compile it through engine.Compile.
func (n *Net) Logits(weights []*graph.Node, images *graph.Node, f Forward) *graph.Node {
	b := builder{Net: n, weights: weights, Forward: f}
	if n.space.Model.IsConv() {
		return (&conv{builder: b}).logits(images)
	}
	return (&vit{b}).logits(images)
}

func (v *vit) logits(images *graph.Node) *graph.Node {
	n, f := v.Net, v.Forward
	x := v.embed(images)
	if n.space.Model.Variant.PreNorm {
		x = v.normed(x, "norm_pre")
	}
	if n.space.Model.Variant == (space.Variant{}) { // other variants' norms and functions are not made for it
		x = v.stored(x)
	}
	v.tap(SiteBlock, x)
	rel := newRelative(n.space.Model, images.Graph())
	for i := range f.Arch.Depth() {
		block := f.Arch.Layer(i)
		x = v.tap(SiteBlock, v.mlpBranch(v.attentionBranch(x, block, rel), block))
	}
	x = graph.ConvertDType(x, dtypes.Float32)
	if n.space.Model.Variant != (space.Variant{}) {
		return classify(v, n.space.Model, x)
	}
	x = v.norm(x, "norm", dtypes.InvalidDType)
	if n.space.Model.GlobalPool {
		x = graph.ReduceMean(graph.Slice(x, graph.AxisRange(), graph.AxisRangeToEnd(1)), 1)
	} else {
		x = graph.Reshape(graph.Slice(x, graph.AxisRange(), graph.AxisElem(0)), x.Shape().Dimensions[0], f.Arch.EmbedDim)
	}
	head := graph.Slice(v.weight("head.weight"), graph.AxisRange(), graph.AxisRangeFromStart(f.Arch.EmbedDim))
	return v.addBias(v.product(x, head), v.weight("head.bias"))
}

// vit builds one vision transformer's graph. Activations are [N, tokens, embed_dim]. Blocks have
// the numbers that they have in the supernet.
type vit struct{ builder }

func (v *vit) heads(block int) int { return v.Arch.NumHeads[v.Arch.At(block)] }

func (v *vit) hidden(block int) int {
	return space.Hidden(v.Arch.EmbedDim, v.Arch.MLPRatio[v.Arch.At(block)])
}

// norm is a LayerNorm, for products whose operands are cast to a type.
func (v *vit) norm(x *graph.Node, name string, operands dtypes.DType) *graph.Node {
	v.tap(SiteNorm, x)
	n := v.normOf(name)
	return engine.LayerNorm(x, n.Weight, n.Bias, n.Eps, operands)
}

func (v *vit) normOf(name string) engine.Norm {
	dim := v.Arch.EmbedDim
	return engine.Norm{Weight: v.normVector(name+".weight", dim), Bias: v.normVector(name+".bias", dim), Eps: v.space.Model.Eps()}
}

// attentionBranch adds attention to x, a block's first residual branch.
func (v *vit) attentionBranch(x *graph.Node, block int, rel *relative) *graph.Node {
	const norm = "attn_layer_norm"
	if v.hasBranches(x) && !v.space.Model.Variant.QKNorm {
		y, ok := engine.AttentionBranch(x, v.normOf(blockName(block, norm)), v.qkvLayer(block), v.heads(block), rel.with(v.tables(block, rel)),
			v.projLayer(block), v.dropPath(block, 0))
		if ok {
			return y
		}
	}
	// The other way is its twin, for all other cases and devices.
	return v.add(x, v.attention(v.norm(x, blockName(block, norm), v.Operands), block, rel), v.dropPath(block, 0))
}

// mlpBranch adds the MLP, the second.
func (v *vit) mlpBranch(x *graph.Node, block int) *graph.Node {
	const norm = "ffn_layer_norm"
	if v.hasBranches(x) && v.space.Model.Variant.Activation == "" {
		return engine.MLPBranch(x, v.normOf(blockName(block, norm)), v.fc1Layer(block), v.fc2Layer(block), v.dropPath(block, 1))
	}
	return v.add(x, v.mlp(v.norm(x, blockName(block, norm), v.Operands), block), v.dropPath(block, 1))
}

// hasBranches tells whether a whole branch is one operation: nobody sees what is within it, or drops values there.
func (v *vit) hasBranches(x *graph.Node) bool {
	return v.Dropout == nil && v.Tap == nil && engine.HasBranches(x, v.Operands)
}

// dropPath are the factors [N] of a block's branch, 0 or 1; nil for ones.
func (v *vit) dropPath(block, branch int) *graph.Node {
	if v.DropPath == nil {
		return nil
	}
	return graph.Reshape(graph.Slice(v.DropPath, graph.AxisElem(v.Arch.At(block)), graph.AxisElem(branch)), -1)
}

// add is x + y, or y times each sample's factor.
func (v *vit) add(x, y, factor *graph.Node) *graph.Node {
	if factor != nil {
		y = graph.Mul(y, graph.Reshape(graph.ConvertDType(factor, y.DType()), -1, 1, 1))
	}
	return graph.Add(x, y)
}

// embed cuts the images into patches, projects them, and puts the class token
// before and the positions over them.
func (v *vit) embed(images *graph.Node) *graph.Node {
	m, dim := v.space.Model, v.Arch.EmbedDim
	samples, side, patch := images.Shape().Dimensions[0], m.ImageSize/m.PatchSize, m.PatchSize
	// The convolution's stride is its kernel's size, so it is a product with
	// the patches laid out as rows [C, patch, patch].
	x := graph.Reshape(images, samples, m.Channels, side, patch, side, patch)
	x = graph.TransposeAllAxes(x, 0, 2, 4, 1, 3, 5)
	x = graph.Reshape(x, samples, side*side, m.Channels*patch*patch)
	const projection = "patch_embed_super.proj.weight"
	w := v.scaled(projection, graph.Slice(v.weight(projection), graph.AxisRangeFromStart(dim)))
	x = v.product(x, graph.Reshape(w, dim, m.Channels*patch*patch))
	x = v.addBias(x, v.vector("patch_embed_super.proj.bias", dim))

	token := func(name string) *graph.Node { // [1, tokens, dim]
		return v.scaled(name, graph.Slice(v.weight(name), graph.AxisRange(), graph.AxisRange(), graph.AxisRangeFromStart(dim)))
	}
	var parts []*graph.Node
	if !m.Variant.NoClassToken {
		parts = append(parts, graph.BroadcastToDims(token("cls_token"), samples, 1, dim))
	}
	if n := m.Variant.Registers; n > 0 {
		parts = append(parts, graph.BroadcastToDims(token("reg_token"), samples, n, dim))
	}
	if len(parts) > 0 {
		x = graph.Concatenate(append(parts, x), 1)
	}
	if m.AbsPos {
		x = graph.Add(x, token("pos_embed"))
	}
	return v.drop(x, dropEmbedding, 0, m.Tokens(), v.space.Supernet.EmbedDim)
}

// layer is x · weightᵀ + bias.
func (v *vit) layer(x *graph.Node, l engine.Layer) *graph.Node {
	x = v.product(x, l.Weight)
	if l.Bias != nil {
		x = v.addBias(x, l.Bias)
	}
	return x
}

func (v *vit) layerOf(name string, out, in int) engine.Layer {
	return engine.Layer{Weight: v.matrix(name+".weight", out, in), Bias: v.vector(name+".bias", out)}
}

// qkvLayer is the projection to queries, keys and values. Rows of its weight are interleaved (q, k, v, q, k, v, …): sorting
// them is cheaper than sorting the activations' features.
func (v *vit) qkvLayer(block int) (l engine.Layer) {
	width, dim := v.heads(block)*v.space.Model.HeadDim, v.Arch.EmbedDim
	sorted := graph.Reshape(v.matrix(blockName(block, "attn.qkv.weight"), 3*width, dim), width, 3, dim)
	l.Weight = graph.Reshape(graph.TransposeAllAxes(sorted, 1, 0, 2), 3*width, dim)
	if v.space.Model.QKVBias {
		bias := graph.Reshape(v.vector(blockName(block, "attn.qkv.bias"), 3*width), width, 3)
		l.Bias = graph.Reshape(graph.TransposeAllAxes(bias, 1, 0), 3*width)
	}
	return l
}

func (v *vit) projLayer(block int) engine.Layer {
	return v.layerOf(blockName(block, "attn.proj"), v.Arch.EmbedDim, v.heads(block)*v.space.Model.HeadDim)
}

func (v *vit) fc1Layer(block int) engine.Layer {
	return v.layerOf(blockName(block, "fc1"), v.hidden(block), v.Arch.EmbedDim)
}

func (v *vit) fc2Layer(block int) engine.Layer {
	return v.layerOf(blockName(block, "fc2"), v.Arch.EmbedDim, v.hidden(block))
}

func (v *vit) attention(x *graph.Node, block int, rel *relative) *graph.Node {
	m, heads, tokens := v.space.Model, v.heads(block), x.Shape().Dimensions[1]
	qkv := v.layer(x, v.qkvLayer(block))
	if m.Variant.QKNorm {
		qkv = normQK(qkv, m, block, heads, v.headNorm)
	}
	v.tap(SiteQKV, qkv)
	out := v.selfAttention(qkv, v.tables(block, rel), block, heads, rel)
	out = v.layer(v.tap(SiteHeads, out), v.projLayer(block))
	for _, site := range []dropSite{dropProj, dropBranch} {
		out = v.drop(out, site, block, tokens, v.space.Supernet.EmbedDim)
	}
	return v.tap(SiteAttention, out)
}

// tables of a block's relative positions; none where there are no such positions.
func (v *vit) tables(block int, rel *relative) (tables []*graph.Node) {
	if rel != nil {
		for _, name := range relativeTables {
			tables = append(tables, v.weight(blockName(block, name)))
		}
	}
	return tables
}

// selfAttention is attention between the projections: sorted qkv [..., N, tokens,
// 3·heads·head_dim] and tables (see relative) to [..., N, tokens, heads·head_dim].
func (v *vit) selfAttention(qkv *graph.Node, tables []*graph.Node, block, heads int, rel *relative) *graph.Node {
	headDim := v.space.Model.HeadDim
	outer := qkv.Shape().Dimensions[:qkv.Rank()-1]
	swap := axesTo(len(outer) + 2) // of tokens and heads
	token, head := len(outer)-1, len(outer)
	swap[token], swap[head] = head, token
	if v.Dropout == nil || v.Dropout.Attention == 0 {
		// The other way is its twin, for all other cases and devices.
		if out, ok := engine.Attention(qkv, heads, rel.with(tables), v.Operands); ok {
			return out
		}
	}
	if len(outer) == 2 && (v.Dropout == nil || v.Dropout.Attention == 0) && engine.FusesAttention(qkv, v.Operands, outer[token], heads, v.fusedFeatures(rel)) {
		return v.fusedAttention(qkv, tables, heads, rel, engine.FusedAttention)
	}
	out := engine.Split(qkv, 3, tables, func(parts []*graph.Node) *graph.Node {
		byHead := func(x *graph.Node) *graph.Node { // [..., N, heads, tokens, head_dim]
			return graph.TransposeAllAxes(graph.Reshape(x, slices.Concat(outer, []int{heads, headDim})...), swap...)
		}
		query := graph.MulScalar(byHead(parts[0]), 1/math.Sqrt(float64(headDim)))
		return v.attend(query, byHead(parts[1]), byHead(parts[2]), block, rel, tables)
	})
	return graph.Reshape(graph.TransposeAllAxes(out, swap...), slices.Concat(outer, []int{heads * headDim})...)
}

// fusedAttention is selfAttention by a function that is engine.FusedAttention, for activations [N, tokens, heads, features].
func (v *vit) fusedAttention(qkv *graph.Node, tables []*graph.Node, heads int, rel *relative, attention func(q, k, v *graph.Node, scale float64) *graph.Node) *graph.Node {
	d, headDim := qkv.Shape().Dimensions, v.space.Model.HeadDim
	out := engine.Split(qkv, 3, tables, func(parts []*graph.Node) *graph.Node {
		byHead := func(x *graph.Node) *graph.Node { return graph.Reshape(x, d[0], d[1], heads, headDim) }
		query, key, value := byHead(parts[0]), byHead(parts[1]), byHead(parts[2])
		if rel != nil {
			query, key = rel.extendKeys(v, tokensBeforeHeads, query, key, tables[0], tables[1])
			value = rel.extendValues(tokensBeforeHeads, value)
		}
		fill := func(x *graph.Node) *graph.Node {
			missing := v.fusedFeatures(rel) - x.Shape().Dim(-1)
			if missing == 0 {
				return x
			}
			return graph.Concatenate([]*graph.Node{x, graph.Zeros(x.Graph(), shapes.Make(x.DType(), d[0], d[1], heads, missing))}, -1)
		}
		out := attention(fill(query), fill(key), fill(value), 1/math.Sqrt(float64(headDim)))
		if rel == nil {
			return graph.Slice(out, graph.AxisRange().Spacer(), graph.AxisRangeFromStart(headDim))
		}
		return rel.collectValues(v, tokensBeforeHeads, out, tables[2], tables[3])
	})
	return graph.Reshape(out, d[0], d[1], heads*headDim)
}

// fusedFeatures are those of a head's queries in fusedAttention: its own, those of relative positions, and zeros up to a multiple of 8,
// which the kernels take.
func (v *vit) fusedFeatures(rel *relative) int {
	features := v.space.Model.HeadDim
	if rel != nil {
		features += 2*rel.side + 1
	}
	return (features + 7) / 8 * 8
}

// attend is attention itself: query (scaled), key and value to a result, all
// [..., N, heads, tokens, head_dim] (see relative), with relative positions where rel is
// not nil.
func (v *vit) attend(query, key, value *graph.Node, block int, rel *relative, tables []*graph.Node) *graph.Node {
	if rel != nil {
		query, key = rel.extendKeys(v, headsBeforeTokens, query, key, tables[0], tables[1])
		value = rel.extendValues(headsBeforeTokens, value)
	}
	last, each := query.Rank()-1, axesTo(query.Rank()-2)
	scores := v.dotGeneral(query, []int{last}, each, key, []int{last}, each) // [..., N, heads, tokens, tokens]
	tokens := scores.Shape().Dimensions[last]
	attention := v.drop(engine.Softmax(scores), dropAttention, block, v.space.Supernet.NumHeads, tokens, tokens)
	out := v.dotGeneral(attention, []int{last}, each, value, []int{last - 1}, each)
	if rel != nil {
		out = rel.collectValues(v, headsBeforeTokens, out, tables[2], tables[3])
	}
	return out
}

func (v *vit) mlp(x *graph.Node, block int) *graph.Node {
	top, tokens, fc1 := v.space.Supernet, x.Shape().Dimensions[1], v.fc1Layer(block)
	x = v.product(x, fc1.Weight)
	if f := v.space.Model.Variant.Activation; v.Tap != nil || f != "" { // who looks at it may differentiate by it
		x = v.tap(SiteUnits, activation(f, v.tap(SiteHidden, v.addBias(x, fc1.Bias))))
	} else {
		x = engine.BiasGelu(x, fc1.Bias, v.Operands)
	}
	x = v.drop(x, dropHidden, block, tokens, space.Hidden(top.EmbedDim, top.MLPRatio))
	x = v.drop(v.layer(x, v.fc2Layer(block)), dropMLP, block, tokens, top.EmbedDim)
	return v.tap(SiteMLP, x)
}
