package onnx

import (
	"fmt"
	"math"
	"slices"
)

// vit builds the graph of a vision transformer. Activations are [batch, tokens, dim];
// supernet.Logits is the same computation, and its comments say why it is as it is.
type vit struct {
	*builder
	rel relative
}

func (v *vit) build(images string) {
	m := v.model
	x := v.embed(images)
	if m.RelativePosition {
		v.rel = v.newRelative()
	}
	for i, heads := range v.info.Architecture.NumHeads {
		v.scope = fmt.Sprintf("blocks.%d.", i)
		x = v.op("Add", []string{x, v.attention(v.norm(x, "norm1"), heads)})
		x = v.op("Add", []string{x, v.mlp(v.norm(x, "norm2"), v.info.Architecture.MLPHidden[i])})
	}
	v.scope = ""
	v.classify(x)
}

// embed cuts images into patches, projects them, and puts the tokens before them, all with
// their positions. Those tokens are one constant, as many times as there are images.
func (v *vit) embed(images string) string {
	m, dim := v.model, v.info.Architecture.EmbedDim
	w := v.constant("patch_embed.proj.weight", v.weight("patch_embed.proj.weight"), dim, m.Channels, m.PatchSize, m.PatchSize)
	b := v.constant("patch_embed.proj.bias", v.weight("patch_embed.proj.bias"), dim)
	x := v.op("Conv", []string{images, w, b}, integers("kernel_shape", m.PatchSize, m.PatchSize), integers("strides", m.PatchSize, m.PatchSize))
	x = v.op("Reshape", []string{x, v.sizes("patches", 0, dim, m.Patches())})
	x = v.op("Transpose", []string{x}, integers("perm", 0, 2, 1))
	before := slices.Concat(v.weight("cls_token"), v.weight("reg_token"))
	if m.AbsPos {
		positions := v.weight("pos_embed")
		for i := range before {
			before[i] += positions[i]
		}
		x = v.op("Add", []string{x, v.constant("positions", positions[len(before):], 1, m.Patches(), dim)})
	}
	if n := m.Prefix(); n > 0 {
		batch := v.op("Shape", []string{images}, integer("start", 0), integer("end", 1))
		shape := v.op("Concat", []string{batch, v.sizes("prefix.sizes", n, dim)}, integer("axis", 0))
		tokens := v.op("Expand", []string{v.constant("prefix", before, 1, n, dim), shape})
		x = v.op("Concat", []string{tokens, x}, integer("axis", 1))
	}
	if m.Variant.PreNorm {
		x = v.norm(x, "norm_pre")
	}
	return x
}

func (v *vit) norm(x, name string) string {
	dim := v.info.Architecture.EmbedDim
	w := v.constant(name+".weight", v.weight(name+".weight"), dim)
	b := v.constant(name+".bias", v.weight(name+".bias"), dim)
	return v.op("LayerNormalization", []string{x, w, b}, integer("axis", -1), float("epsilon", v.info.Architecture.NormEps))
}

func (v *vit) mlp(x string, hidden int) string {
	dim := v.info.Architecture.EmbedDim
	x = v.activation(v.linear(x, "mlp.fc1", hidden, dim, true), "mlp")
	return v.linear(x, "mlp.fc2", dim, hidden, true)
}

// single tells whether the attention of a block is one node: relative positions have a part
// in the sums of values, which the node has no place for.
func (v *vit) single() bool { return v.options.Opset(v.model) >= AttentionOpset }

func (v *vit) attention(x string, heads int) string {
	m, dim := v.model, v.info.Architecture.EmbedDim
	width := heads * m.HeadDim
	split := v.ops("Split", []string{v.linear(x, "attn.qkv", 3*width, dim, m.QKVBias)}, 3, integer("axis", 2), integer("num_outputs", 3))
	parts := slices.Clone(split) // the node has split
	if m.Variant.QKNorm {
		parts[0], parts[1] = v.headNorm(parts[0], "attn.q_norm", heads), v.headNorm(parts[1], "attn.k_norm", heads)
	}
	if v.single() {
		out := v.op("Attention", parts, integer("q_num_heads", heads), integer("kv_num_heads", heads)) // scaled by 1/√head_dim
		return v.linear(out, "attn.proj", dim, width, true)
	}
	byHead := v.sizes("attn.heads", 0, m.Tokens(), heads, m.HeadDim)
	head := func(x string, perm ...int) string {
		return v.op("Transpose", []string{v.op("Reshape", []string{x, byHead})}, integers("perm", perm...))
	}
	scale := v.constant("attn.scale", []float32{float32(1 / math.Sqrt(float64(m.HeadDim)))})
	query := head(v.op("Mul", []string{parts[0], scale}), 0, 2, 1, 3) // [batch, heads, tokens, head_dim]
	key := head(parts[1], 0, 2, 3, 1)                                 // [batch, heads, head_dim, tokens]
	scores := v.op("MatMul", []string{query, key})
	if m.RelativePosition {
		scores = v.op("Add", []string{scores, v.relativeScores(query, heads)})
	}
	attention := v.op("Softmax", []string{scores}, integer("axis", -1))
	out := v.op("MatMul", []string{attention, head(parts[2], 0, 2, 1, 3)})
	if m.RelativePosition {
		out = v.op("Add", []string{out, v.relativeValues(attention, heads)})
	}
	out = v.op("Transpose", []string{out}, integers("perm", 0, 2, 1, 3))
	out = v.op("Reshape", []string{out, v.sizes("attn.width", 0, m.Tokens(), width)})
	return v.linear(out, "attn.proj", dim, width, true)
}
