package trainstep

import (
	"math"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"prenas/internal/engine"
	"prenas/internal/recipe"
	"prenas/internal/supernet"
)

// update is one optimiser update of the tensors that took part in a step, as graph
// nodes. All slices have the length of used, which holds indices of supernet Params.
type update struct {
	perTensor[*graph.Node]

	params []supernet.Param
	used   []int
	grads  []*graph.Node // of their weights or of corners of these, zero beyond
	factor *graph.Node   // of all gradients, float32 scalar; nil: 1
	counts *graph.Node   // float32 [len(params)]: updates that each tensor has had
	lr     *graph.Node   // float32 scalar
	finite *graph.Node   // bool scalar: false leaves everything as it is
	models int           // above 1: the first axis of each tensor, each a model of its own
}

// takeUpdate takes a state's tensors and its counts off a program's inputs, and returns
// the rest of them.
func takeUpdate(r recipe.Recipe, params []supernet.Param, used []int, in []*graph.Node) (update, []*graph.Node) {
	u := update{params: params, used: used}
	for _, prefix := range Groups(r) {
		*u.group(prefix), in = in[:len(used)], in[len(used):]
	}
	u.counts = in[0]
	return u, in[1:]
}

// applyUpdate is the state after the update.
func applyUpdate(r recipe.Recipe, u update) (after perTensor[*graph.Node], counts *graph.Node) {
	if r.Optimizer.Name == recipe.AdamW && engine.HasAdamW(u.lr) {
		after = adamwCall(r, u)
	} else {
		after = updateOperations(r, u)
	}
	took := make([]float32, len(u.params))
	for _, i := range u.used {
		took[i] = 1
	}
	counts = graph.Add(u.counts, graph.Mul(graph.ConvertDType(u.finite, dtypes.Float32), graph.Const(u.counts.Graph(), took)))
	return after, counts
}

// updateOperations are an update by any optimiser.
func updateOperations(r recipe.Recipe, u update) (after perTensor[*graph.Node]) {
	u.grads = slices.Clone(u.grads)
	for k, g := range u.grads {
		if u.factor != nil {
			g = graph.Mul(g, u.factor)
		}
		u.grads[k] = engine.ZeroPad(g, u.Weights[k].Shape().Dimensions)
	}
	switch r.Optimizer.Name {
	case recipe.SGD:
		after = sgdUpdate(r.Optimizer, u)
	case recipe.LAMB:
		after = lambUpdate(r.Optimizer, u)
	default:
		after = adamwUpdate(r.Optimizer, u)
	}
	for k, before := range u.EMA {
		after.EMA = append(after.EMA, graph.Add(before, graph.MulScalar(graph.Sub(after.Weights[k], before), 1-r.EMA.Decay)))
	}
	for g, group := range after.groups() {
		for k, before := range u.groups()[g] {
			group[k] = graph.Where(u.finite, group[k], before)
		}
	}
	return after
}

// adamwCall is an update by AdamW as one call. The operations are its twin.
func adamwCall(r recipe.Recipe, u update) (after perTensor[*graph.Node]) {
	o, g := r.Optimizer, u.counts.Graph()
	var indices []int32
	var decays []float32
	for k := range u.used {
		decay := float32(0)
		if u.params[u.used[k]].Decay {
			decay = float32(o.Decay)
		}
		indices, decays = append(indices, int32(u.used[k])), append(decays, decay)
	}
	t := graph.OnePlus(graph.Gather(u.counts, graph.Reshape(graph.Const(g, indices), -1, 1)))
	rates := graph.Stack(rates(o, u), 0)
	factor := u.factor
	if factor == nil {
		factor = graph.OnesLike(u.lr)
	}
	groups := engine.AdamW(engine.AdamWUpdate{
		Gradients: u.grads,
		Groups:    u.groups(),
		Remains:   graph.OneMinus(graph.Mul(rates, graph.Const(g, decays))),
		Steps:     graph.Div(rates, powerComplement(o.Beta1, t)),
		Roots:     graph.Sqrt(powerComplement(o.Beta2, t)),
		Factor:    factor,
		Finite:    u.finite,
		Beta1:     o.Beta1, Beta2: o.Beta2, Eps: o.Eps, AverageDecay: r.EMA.Decay,
	})
	for k, prefix := range Groups(r) {
		*after.group(prefix) = groups[k]
	}
	return after
}

// clipFactor shortens gradients of the given norm to the longest the recipe allows, as
// torch.nn.utils.clip_grad_norm_ does; nil where it allows any.
func clipFactor(o recipe.Optimizer, norm *graph.Node) *graph.Node {
	if o.Clip == 0 {
		return nil
	}
	return graph.MinScalar(graph.Div(graph.Scalar(norm.Graph(), norm.DType(), o.Clip), graph.AddScalar(norm, 1e-6)), 1)
}

// adamwUpdate is torch.optim.AdamW, as its documentation writes it: decoupled decay first,
// then w -= lr/(1-β1ᵗ) · m / (√v/√(1-β2ᵗ) + ε). t is each tensor's own count, which
// stands still while the tensor takes part in nothing.
func adamwUpdate(o recipe.Optimizer, u update) (after perTensor[*graph.Node]) {
	moments, rates := moments(o, u), rates(o, u)
	for k, i := range u.used {
		x, w := moments(k), u.Weights[k]
		if u.params[i].Decay {
			w = graph.Mul(w, graph.OneMinus(graph.MulScalar(rates[k], o.Decay)))
		}
		step := graph.Div(rates[k], x.correction)
		w = graph.Sub(w, graph.Mul(step, graph.Div(x.m, x.denominator)))
		after.Weights, after.M, after.V = append(after.Weights, w), append(after.M, x.m), append(after.V, x.v)
	}
	return after
}

// lambUpdate is You et al., "Large Batch Optimization for Deep Learning" (ICLR 2020), as timm
// has it: Adam's direction with the decay added to it, d = m/(1-β1ᵗ) / (√v/√(1-β2ᵗ) + ε)
// + decay·w, then w -= lr · ‖w‖/‖d‖ · d, with a factor of 1 where either norm is zero.
// Norms are of the whole shared tensor. Tensors without decay have no factor, as AdamW.
func lambUpdate(o recipe.Optimizer, u update) (after perTensor[*graph.Node]) {
	moments, rates := moments(o, u), rates(o, u)
	for k, i := range u.used {
		x, w := moments(k), u.Weights[k]
		d := graph.Div(graph.Div(x.m, x.correction), x.denominator)
		if u.params[i].Decay && o.Decay > 0 {
			d = graph.Add(d, graph.MulScalar(w, o.Decay))
			length, reach := u.norm(w), u.norm(d)
			zero := graph.ZerosLike(length)
			known := graph.LogicalAnd(graph.GreaterThan(length, zero), graph.GreaterThan(reach, zero))
			one := graph.OnesLike(length)
			d = graph.Mul(d, graph.Where(known, graph.Div(length, graph.Where(known, reach, one)), one))
		}
		w = graph.Sub(w, graph.Mul(rates[k], d))
		after.Weights, after.M, after.V = append(after.Weights, w), append(after.M, x.m), append(after.V, x.v)
	}
	return after
}

// adam is Adam's view of a gradient: the new moments, what to divide m by so that its
// start at zero does not count, and the root of the unbiased v, plus ε.
type adam struct{ m, v, correction, denominator *graph.Node }

func moments(o recipe.Optimizer, u update) func(k int) adam {
	t := graph.OnePlus(u.counts)
	correction1 := powerComplement(o.Beta1, t)
	correction2 := graph.Sqrt(powerComplement(o.Beta2, t))
	return func(k int) adam {
		g := u.grads[k]
		m := graph.Add(u.M[k], graph.MulScalar(graph.Sub(g, u.M[k]), 1-o.Beta1))
		v := graph.Add(graph.MulScalar(u.V[k], o.Beta2), graph.MulScalar(graph.Square(g), 1-o.Beta2))
		denominator := graph.AddScalar(graph.Div(graph.Sqrt(v), element(correction2, u.used[k])), o.Eps)
		return adam{m, v, element(correction1, u.used[k]), denominator}
	}
}

// norm is the L2 norm of a tensor, by model where there are several, with ones for the
// axes that are gone.
func (u update) norm(x *graph.Node) *graph.Node {
	if u.models <= 1 {
		return graph.Sqrt(graph.ReduceAllSum(graph.Square(x)))
	}
	flat := graph.Reshape(graph.Square(x), u.models, -1)
	dims := slices.Repeat([]int{1}, x.Rank())
	dims[0] = u.models
	return graph.Sqrt(graph.Reshape(graph.ReduceSum(flat, -1), dims...))
}

// perModel makes one value a model fit a tensor of the state: a scalar for one model,
// which goes with any shape.
func (u update) perModel(values *graph.Node, shape shapes.Shape) *graph.Node {
	if u.models <= 1 {
		return graph.Reshape(values)
	}
	ones := slices.Repeat([]int{1}, shape.Rank())
	ones[0] = u.models
	return graph.BroadcastToDims(graph.Reshape(values, ones...), shape.Dimensions...)
}

// sgdUpdate is torch.optim.SGD, as its documentation writes it, without dampening: the decay
// is a part of the gradient g; m = μm + g; w -= lr·m, or lr·(g + μm) with Nesterov's step.
func sgdUpdate(o recipe.Optimizer, u update) (after perTensor[*graph.Node]) {
	rates := rates(o, u)
	for k, i := range u.used {
		g, w := u.grads[k], u.Weights[k]
		if u.params[i].Decay {
			g = graph.Add(g, graph.MulScalar(w, o.Decay))
		}
		m := graph.Add(graph.MulScalar(u.M[k], o.Momentum), g)
		direction := m
		if o.Nesterov {
			direction = graph.Add(g, graph.MulScalar(m, o.Momentum))
		}
		after.Weights, after.M = append(after.Weights, graph.Sub(w, graph.Mul(rates[k], direction))), append(after.M, m)
	}
	return after
}

// leastSize is the least root mean square that a tensor counts as with scale_parameter, so that one of
// zeros can move; Adafactor's.
const leastSize = 1e-3

// rates are the learning rates of the tensors of an update, scalars, or with scale_parameter and
// several models one for each, of a shape that goes with the tensor.
func rates(o recipe.Optimizer, u update) []*graph.Node {
	rates := make([]*graph.Node, len(u.used))
	for k, scale := range layerScales(o, u.params, u.used) {
		rates[k] = u.lr
		if scale != 1 {
			rates[k] = graph.MulScalar(u.lr, scale)
		}
		if o.ScaleParameter {
			w := u.Weights[k]
			size := graph.DivScalar(u.norm(w), math.Sqrt(float64(w.Shape().Size()/max(u.models, 1))))
			rates[k] = graph.Mul(rates[k], graph.MaxScalar(size, leastSize))
		}
	}
	return rates
}

// powerComplement is 1 - βᵗ. At β = 0.999 and t = 1 the plain formula would lose four
// digits of float32 to cancellation.
func powerComplement(beta float64, t *graph.Node) *graph.Node {
	if beta == 0 {
		return graph.OnesLike(t)
	}
	return graph.Neg(graph.Expm1(graph.MulScalar(t, math.Log(beta))))
}

// element is x[i] of a vector, as a scalar.
func element(x *graph.Node, i int) *graph.Node {
	return graph.Reshape(graph.Slice(x, graph.AxisElem(i)))
}
