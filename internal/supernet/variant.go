package supernet

import (
	"fmt"
	"math"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"

	"prenas/internal/engine"
	"prenas/pkg/space"
)

// What space.Variant adds to a vision transformer. Its tensors have timm's names:
//
//	reg_token [1, registers, dim]                        after the class token
//	norm_pre.weight, .bias [dim]                         before the first block
//	blocks.N.attn.q_norm.weight, .bias, k_norm [head_dim]
//	fc_norm.weight, .bias [dim]                          in place of norm, after pooling
//	head_dist.weight, .bias                              a head like head, of the first register
//	head_mean.weight [classes, dim]                      added to head's outputs, of the patches' mean
//	attn_pool.*                                          see attentionPool
//
// A graph is the same, node by node, where the Variant is zero.

// layers are what the static and the masked graph build their own way.
type layers interface {
	// linear is the product of x [..., in] with a weight [rows, columns] and its bias, if
	// it has one. A dimension of -1 is the architecture's embedding dim.
	linear(x *graph.Node, name string, rows, columns int, bias bool) *graph.Node
	// norm is a LayerNorm over the embedding dim.
	normed(x *graph.Node, name string) *graph.Node
	// row is one vector of a size over the last axis of activations.
	row(name string, size int) *graph.Node
}

// embedDim stands for the architecture's embedding dim in arguments of layers.
const embedDim = -1

func (v *vit) linear(x *graph.Node, name string, rows, columns int, bias bool) *graph.Node {
	if rows == embedDim {
		rows = v.Arch.EmbedDim
	}
	if columns == embedDim {
		columns = v.Arch.EmbedDim
	}
	y := v.product(x, v.matrix(name+".weight", rows, columns))
	if bias {
		y = v.addBias(y, v.vector(name+".bias", rows))
	}
	return y
}

func (v *vit) normed(x *graph.Node, name string) *graph.Node {
	return v.norm(x, name, dtypes.InvalidDType)
}

func (v *vit) row(name string, size int) *graph.Node { return v.vector(name, size) }

func (v *masked) linear(x *graph.Node, name string, rows, _ int, bias bool) *graph.Node {
	y := v.product(x, v.weight(name+".weight"))
	if bias {
		y = graph.Add(y, v.vector(name+".bias", y.Rank()-2))
	}
	if rows == embedDim {
		y = graph.Mul(y, v.at(v.features, y.Rank()-1, y.Rank()))
	}
	return y
}

func (v *masked) normed(x *graph.Node, name string) *graph.Node {
	if x.Rank() == 4 {
		return v.norm(x, name)
	}
	return graph.Squeeze(v.norm(graph.InsertAxes(x, 2), name), 2)
}

func (v *masked) row(name string, size int) *graph.Node {
	return graph.Reshape(v.weight(name), v.models, 1, 1, size)
}

// classify is all that follows the last block: x [..., N, tokens, dim] to logits
// [..., N, classes].
func classify(l layers, m space.Model, x *graph.Node) *graph.Node {
	if m.Variant.Norm == "" {
		x = l.normed(x, "norm")
	}
	token := func(i int) *graph.Node { return tokensOf(x, i, i+1) }
	one := func(x *graph.Node) *graph.Node { return graph.ReduceMean(x, -2) } // of one token, itself
	patches := func() *graph.Node { return one(tokensOf(x, m.Prefix(), m.Tokens())) }
	head := func(x *graph.Node, name string, bias bool) *graph.Node {
		return l.linear(x, name, m.NumClasses, embedDim, bias)
	}
	switch m.Variant.Pool {
	case space.PoolDistilled:
		both := graph.Add(head(one(token(0)), "head", true), head(one(token(1)), "head_dist", true))
		return graph.MulScalar(both, 0.5)
	case space.PoolClassMean:
		return graph.Add(head(one(token(0)), "head", true), head(patches(), "head_mean", false))
	case space.PoolAttention:
		return head(attentionPool(l, m, x), "head", true)
	}
	pooled := one
	if m.GlobalPool {
		pooled = func(*graph.Node) *graph.Node { return patches() }
	}
	y := pooled(token(0))
	if m.Variant.Norm == space.NormPooled {
		y = l.normed(y, "fc_norm")
	}
	return head(y, "head", true)
}

// tokensOf are some of the tokens of x [..., tokens, dim].
func tokensOf(x *graph.Node, from, to int) *graph.Node {
	return graph.Slice(x, graph.AxisRange().Spacer(), graph.AxisRange(from, to), graph.AxisRange())
}

// featuresOf are some of the features of x [..., features].
func featuresOf(x *graph.Node, from, to int) *graph.Node {
	return graph.Slice(x, graph.AxisRange().Spacer(), graph.AxisRange(from, to))
}

// attentionPool is SigLIP's head (Zhai et al., Sigmoid Loss for Language Image
// Pre-Training, 2023): one learned query of several heads over all tokens,
//
//	y = proj(Σ softmax(q·k/√head_dim)·v)    y + fc2(act(fc1(norm(y))))
//
// of x [..., N, tokens, dim] to [..., N, dim]. The query, attn_pool.q [width], is what the
// projection makes of the learned latent, so it takes no product.
func attentionPool(l layers, m space.Model, x *graph.Node) *graph.Node {
	heads, width, last := m.Variant.PoolHeads, m.PoolWidth(), x.Rank()-1
	kv := l.linear(x, "attn_pool.kv", 2*width, embedDim, true)
	half := func(from int) *graph.Node { // [..., tokens, heads, head_dim]
		part := featuresOf(kv, from, from+width)
		return graph.Reshape(part, append(part.Shape().Clone().Dimensions[:last], heads, m.HeadDim)...)
	}
	query := l.row("attn_pool.q", width)
	query = graph.Reshape(query, append(query.Shape().Clone().Dimensions[:query.Rank()-1], heads, m.HeadDim)...)
	key, value := half(0), half(width)
	query = graph.MulScalar(graph.ExpandLeftToRank(query, key.Rank()), 1/math.Sqrt(float64(m.HeadDim)))
	scores := graph.ReduceSum(graph.Mul(key, query), -1) // [..., tokens, heads]
	share := graph.Softmax(scores, last-1)
	y := graph.ReduceSum(graph.Mul(value, graph.InsertAxes(share, -1)), last-1) // [..., heads, head_dim]
	y = graph.Reshape(y, append(y.Shape().Clone().Dimensions[:last-1], width)...)
	y = l.linear(y, "attn_pool.proj", embedDim, width, true)
	z := l.linear(l.normed(y, "attn_pool.norm"), "attn_pool.fc1", m.Variant.PoolHidden, embedDim, true)
	z = l.linear(activation(m.Variant.Activation, z), "attn_pool.fc2", embedDim, m.Variant.PoolHidden, true)
	return graph.Add(y, z)
}

// activation is the MLPs' function; see space.Activations.
func activation(name string, x *graph.Node) *graph.Node {
	switch name {
	case "":
		return engine.Gelu(x)
	case space.GELUTanh:
		inner := graph.MulScalar(graph.Add(x, graph.MulScalar(graph.Mul(x, graph.Square(x)), 0.044715)), 0.7978845608028654) // √(2/π)
		return graph.MulScalar(graph.Mul(x, graph.OnePlus(graph.Tanh(inner))), 0.5)
	case space.QuickGELU:
		return graph.Mul(x, graph.Sigmoid(graph.MulScalar(x, 1.702)))
	case space.ReLU:
		return engine.ReLU.Of(x)
	case space.SiLU:
		return graph.Mul(x, graph.Sigmoid(x))
	}
	panic(fmt.Errorf("supernet: unknown activation %q", name)) // Validate knows them
}

// normQK applies the norms of queries and keys to sorted qkv [..., tokens, 3·heads·head_dim].
// vector is the norm's weight of a name, of the rank that broadcasts over [..., heads, head_dim].
func normQK(qkv *graph.Node, m space.Model, block, heads int, norm func(x *graph.Node, name string) *graph.Node) *graph.Node {
	last, width := qkv.Rank()-1, heads*m.HeadDim
	outer := qkv.Shape().Clone().Dimensions[:last]
	part := func(i int) *graph.Node { return featuresOf(qkv, i*width, (i+1)*width) }
	each := func(x *graph.Node, name string) *graph.Node {
		tokens := outer[last-1]
		byHead := append(append([]int{}, outer[:last-1]...), tokens*heads, m.HeadDim)
		y := norm(graph.Reshape(x, byHead...), blockName(block, name))
		return graph.Reshape(y, append(append([]int{}, outer...), width)...)
	}
	return graph.Concatenate([]*graph.Node{each(part(0), "attn.q_norm"), each(part(1), "attn.k_norm"), part(2)}, -1)
}

// headNorm is a LayerNorm over the features of a head.
func (v *vit) headNorm(x *graph.Node, name string) *graph.Node {
	size := v.space.Model.HeadDim
	return engine.LayerNorm(x, v.vector(name+".weight", size), v.vector(name+".bias", size), v.space.Model.Eps(), dtypes.InvalidDType)
}

func (v *masked) headNorm(x *graph.Node, name string) *graph.Node {
	mean := func(y *graph.Node) *graph.Node { return graph.ReduceAndKeep(y, graph.ReduceMean, -1) }
	centred := graph.Sub(x, mean(x))
	y := graph.Div(centred, graph.Sqrt(graph.AddScalar(mean(graph.Square(centred)), v.space.Model.Eps())))
	return graph.Add(graph.Mul(y, v.at(v.weight(name+".weight"), 3, 4)), v.at(v.weight(name+".bias"), 3, 4))
}

// lastNorm is the name of the last norm; empty where there is none.
func lastNorm(m space.Model) string {
	switch m.Variant.Norm {
	case space.NormPooled:
		return "fc_norm"
	case space.NormNone:
		return ""
	}
	return "norm"
}

// variantParams are the tensors of a Variant that follow the head's.
func variantParams(m space.Model, dim int, add func(name string, start initialiser, shape ...int)) {
	switch v := m.Variant; v.Pool {
	case space.PoolDistilled:
		add("head_dist.weight", truncatedNormal, m.NumClasses, dim)
		add("head_dist.bias", zeros, m.NumClasses)
	case space.PoolClassMean:
		add("head_mean.weight", truncatedNormal, m.NumClasses, dim)
	case space.PoolAttention:
		width := m.PoolWidth()
		add("attn_pool.q", truncatedNormal, width)
		add("attn_pool.kv.weight", truncatedNormal, 2*width, dim)
		add("attn_pool.kv.bias", zeros, 2*width)
		add("attn_pool.proj.weight", truncatedNormal, dim, width)
		add("attn_pool.proj.bias", zeros, dim)
		add("attn_pool.norm.weight", ones, dim)
		add("attn_pool.norm.bias", zeros, dim)
		add("attn_pool.fc1.weight", truncatedNormal, v.PoolHidden, dim)
		add("attn_pool.fc1.bias", zeros, v.PoolHidden)
		add("attn_pool.fc2.weight", truncatedNormal, dim, v.PoolHidden)
		add("attn_pool.fc2.bias", zeros, dim)
	}
}
