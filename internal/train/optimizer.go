package train

import (
	"math"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"

	"prenas/internal/supernet"
)

// update is one optimiser update of the tensors that took part in a step, as graph
// nodes. All slices have the length of used, which holds indices of supernet Params.
type update struct {
	params []supernet.Param
	used   []int

	weights, grads, m, v []*graph.Node
	counts               *graph.Node // float32 [len(params)]: updates that each tensor has had
	lr                   *graph.Node // float32 scalar
	finite               *graph.Node // bool scalar: false leaves everything as it is
}

// adamw is torch.optim.AdamW, as its documentation writes it: decoupled decay first,
// then w -= lr/(1-β1ᵗ) · m / (√v/√(1-β2ᵗ) + ε). t is each tensor's own count, which
// stands still while the tensor takes part in nothing.
func (o Optimizer) adamw(u update) (weights, m, v []*graph.Node, counts *graph.Node) {
	t := graph.OnePlus(u.counts)
	correction1 := powerComplement(o.Beta1, t)
	correction2 := graph.Sqrt(powerComplement(o.Beta2, t))
	keep := graph.OneMinus(graph.MulScalar(u.lr, o.Decay))
	for k, i := range u.used {
		g := u.grads[k]
		mk := graph.Add(u.m[k], graph.MulScalar(graph.Sub(g, u.m[k]), 1-o.Beta1))
		vk := graph.Add(graph.MulScalar(u.v[k], o.Beta2), graph.MulScalar(graph.Square(g), 1-o.Beta2))
		w := u.weights[k]
		if u.params[i].Decay {
			w = graph.Mul(w, keep)
		}
		denominator := graph.AddScalar(graph.Div(graph.Sqrt(vk), element(correction2, i)), o.Eps)
		step := graph.Div(u.lr, element(correction1, i))
		w = graph.Sub(w, graph.Mul(step, graph.Div(mk, denominator)))

		weights = append(weights, u.choose(w, u.weights[k]))
		m = append(m, u.choose(mk, u.m[k]))
		v = append(v, u.choose(vk, u.v[k]))
	}
	took := make([]float32, len(u.params))
	for _, i := range u.used {
		took[i] = 1
	}
	counts = graph.Add(u.counts, graph.Mul(graph.ConvertDType(u.finite, dtypes.Float32), graph.Const(u.counts.Graph(), took)))
	return weights, m, v, counts
}

// choose is the new value, or the old one where the step is not to be applied.
func (u update) choose(after, before *graph.Node) *graph.Node {
	return graph.Where(u.finite, after, before)
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
