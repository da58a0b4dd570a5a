package onnx

import (
	"math"

	"prenas/pkg/space"
)

// classify is all that follows the last block, as in package supernet: the last norm,
// pooling and the head.
func (v *vit) classify(x string) {
	m := v.model
	if m.Variant.Norm == "" {
		x = v.norm(x, "norm")
	}
	// mean over tokens from first to before last, which of one token is itself.
	mean := func(first, last int, scope string) string {
		some := v.op("Slice", []string{x, v.sizes(scope+"first_token", first), v.sizes(scope+"last_token", last), v.sizes(scope+"sliced_axis", 1)})
		return v.op("ReduceMean", []string{some, v.sizes(scope+"token_axis", 1)}, integer("keepdims", 0))
	}
	patches := func(scope string) string { return mean(m.Prefix(), m.Tokens(), scope) }
	head := func(x, name string, bias bool) string {
		return v.linear(x, name, m.NumClasses, v.info.Architecture.EmbedDim, bias)
	}
	switch m.Variant.Pool {
	case space.PoolDistilled:
		both := v.op("Add", []string{head(mean(0, 1, ""), "head", true), head(mean(1, 2, "distilled."), "head_dist", true)})
		v.op("Mul", []string{both, v.constant("half", []float32{0.5})})
		return
	case space.PoolClassMean:
		v.op("Add", []string{head(mean(0, 1, ""), "head", true), head(patches("patches."), "head_mean", false)})
		return
	case space.PoolAttention:
		head(v.attentionPool(x), "head", true)
		return
	}
	y := ""
	if m.GlobalPool {
		y = patches("")
	} else {
		y = mean(0, 1, "")
	}
	if m.Variant.Norm == space.NormPooled {
		y = v.norm(y, "fc_norm")
	}
	head(y, "head", true)
}

// attentionPool is one learned query over all tokens; package supernet has its formula.
func (v *vit) attentionPool(x string) string {
	m, dim := v.model, v.info.Architecture.EmbedDim
	heads, width, hidden := m.Variant.PoolHeads, m.PoolWidth(), m.Variant.PoolHidden
	v.scope = "attn_pool."
	defer func() { v.scope = "" }()
	query := make([]float32, width)
	for i, q := range v.weight("q") {
		query[i] = q * float32(1/math.Sqrt(float64(m.HeadDim)))
	}
	parts := v.ops("Split", []string{v.linear(x, "kv", 2*width, dim, true)}, 2, integer("axis", 2), integer("num_outputs", 2))
	split := v.sizes("heads", 0, m.Tokens(), heads, m.HeadDim)
	head := func(x string, perm ...int) string {
		return v.op("Transpose", []string{v.op("Reshape", []string{x, split})}, integers("perm", perm...))
	}
	scores := v.op("MatMul", []string{v.constant("query", query, 1, heads, 1, m.HeadDim), head(parts[0], 0, 2, 3, 1)})
	y := v.op("MatMul", []string{v.op("Softmax", []string{scores}, integer("axis", -1)), head(parts[1], 0, 2, 1, 3)})
	y = v.op("Reshape", []string{y, v.sizes("width", 0, width)})
	y = v.linear(y, "proj", dim, width, true)
	z := v.activation(v.linear(v.norm(y, "norm"), "mlp.fc1", hidden, dim, true), "mlp")
	return v.op("Add", []string{y, v.linear(z, "mlp.fc2", dim, hidden, true)})
}

// activation is the MLPs' function.
func (v *vit) activation(x, scope string) string {
	switch v.model.Variant.Activation {
	case space.GELUTanh:
		return v.op("Gelu", []string{x}, text("approximate", "tanh"))
	case space.QuickGELU:
		scaled := v.op("Mul", []string{x, v.constant(scope+".quick", []float32{1.702})})
		return v.op("Mul", []string{x, v.op("Sigmoid", []string{scaled})})
	case space.ReLU:
		return v.op("Relu", []string{x})
	case space.SiLU:
		return v.op("Mul", []string{x, v.op("Sigmoid", []string{x})})
	}
	return v.op("Gelu", []string{x})
}

// headNorm is a LayerNorm over the features of each head of x [batch, tokens, width].
func (v *vit) headNorm(x, name string, heads int) string {
	m := v.model
	x = v.op("Reshape", []string{x, v.sizes(name+".heads", 0, m.Tokens(), heads, m.HeadDim)})
	w, b := v.constant(name+".weight", v.weight(name+".weight"), m.HeadDim), v.constant(name+".bias", v.weight(name+".bias"), m.HeadDim)
	x = v.op("LayerNormalization", []string{x, w, b}, integer("axis", -1), float("epsilon", v.info.Architecture.NormEps))
	return v.op("Reshape", []string{x, v.sizes(name+".width", 0, m.Tokens(), heads*m.HeadDim)})
}
