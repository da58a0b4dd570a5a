package onnx

import (
	"fmt"
	"math"

	"prenas/internal/export"
)

// vit builds the graph of a vision transformer. Activations are [batch, tokens, dim];
// supernet.Logits is the same computation, and its comments say why it is as it is.
type vit struct {
	*builder
	rel relative
}

func (v *vit) build() {
	m, dim := v.model, v.info.Architecture.EmbedDim
	x := v.embed(export.InputName)
	if m.RelativePosition {
		v.rel = v.newRelative()
	}
	for i, heads := range v.info.Architecture.NumHeads {
		v.scope = fmt.Sprintf("blocks.%d.", i)
		x = v.op("Add", []string{x, v.attention(v.norm(x, "norm1"), heads)})
		x = v.op("Add", []string{x, v.mlp(v.norm(x, "norm2"), v.info.Architecture.MLPHidden[i])})
	}
	v.scope = ""
	x = v.norm(x, "norm")
	if m.GlobalPool {
		x = v.tokens(x, 1, m.Tokens())
	} else {
		x = v.tokens(x, 0, 1)
	}
	x = v.op("ReduceMean", []string{x, v.sizes("token_axis", 1)}, integer("keepdims", 0))
	v.linear(x, "head", m.NumClasses, dim, true)
}

// tokens from first to before last, which is all but the others of x.
func (v *vit) tokens(x string, first, last int) string {
	return v.op("Slice", []string{x, v.sizes("first_token", first), v.sizes("last_token", last), v.sizes("sliced_axis", 1)})
}

// embed cuts images into patches, projects them, and adds class token and positions.
// Both are one constant: a row of zeros is put before the patches, and the constant's
// first row is the class token with its position.
func (v *vit) embed(images string) string {
	m, dim := v.model, v.info.Architecture.EmbedDim
	w := v.constant("patch_embed.proj.weight", v.weight("patch_embed.proj.weight"), dim, m.Channels, m.PatchSize, m.PatchSize)
	b := v.constant("patch_embed.proj.bias", v.weight("patch_embed.proj.bias"), dim)
	x := v.op("Conv", []string{images, w, b}, integers("kernel_shape", m.PatchSize, m.PatchSize), integers("strides", m.PatchSize, m.PatchSize))
	x = v.op("Reshape", []string{x, v.sizes("patches", 0, dim, m.Patches())})
	x = v.op("Transpose", []string{x}, integers("perm", 0, 2, 1))
	x = v.op("Pad", []string{x, v.sizes("class_row", 0, 1, 0, 0, 0, 0)})

	add := make([]float32, m.Tokens()*dim)
	if m.AbsPos {
		copy(add, v.weight("pos_embed"))
	}
	for i, c := range v.weight("cls_token") {
		add[i] += c
	}
	return v.op("Add", []string{x, v.constant("class_and_positions", add, 1, m.Tokens(), dim)})
}

func (v *vit) norm(x, name string) string {
	dim := v.info.Architecture.EmbedDim
	w := v.constant(name+".weight", v.weight(name+".weight"), dim)
	b := v.constant(name+".bias", v.weight(name+".bias"), dim)
	return v.op("LayerNormalization", []string{x, w, b}, integer("axis", -1), float("epsilon", v.info.Architecture.NormEps))
}

func (v *vit) mlp(x string, hidden int) string {
	dim := v.info.Architecture.EmbedDim
	x = v.op("Gelu", []string{v.linear(x, "mlp.fc1", hidden, dim, true)})
	return v.linear(x, "mlp.fc2", dim, hidden, true)
}

func (v *vit) attention(x string, heads int) string {
	m, dim := v.model, v.info.Architecture.EmbedDim
	width := heads * m.HeadDim
	parts := v.ops("Split", []string{v.linear(x, "attn.qkv", 3*width, dim, m.QKVBias)}, 3, integer("axis", 2), integer("num_outputs", 3))
	split := v.sizes("attn.heads", 0, m.Tokens(), heads, m.HeadDim)
	head := func(x string, perm ...int) string {
		return v.op("Transpose", []string{v.op("Reshape", []string{x, split})}, integers("perm", perm...))
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
