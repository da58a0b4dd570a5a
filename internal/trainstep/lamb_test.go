package trainstep

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine/enginetest"
	"prenas/internal/recipe"
	"prenas/internal/rng"
	"prenas/internal/supernet"
)

// lambTwin is one tensor's update in float64, number by number.
type lambTwin struct {
	w, m, v []float64
	t       float64
}

func (s *lambTwin) update(o recipe.Optimizer, g []float64, lr float64, decay bool) {
	s.t++
	d := make([]float64, len(g))
	var length, reach float64
	for i := range g {
		s.m[i] = o.Beta1*s.m[i] + (1-o.Beta1)*g[i]
		s.v[i] = o.Beta2*s.v[i] + (1-o.Beta2)*g[i]*g[i]
		d[i] = s.m[i] / (1 - math.Pow(o.Beta1, s.t)) / (math.Sqrt(s.v[i])/math.Sqrt(1-math.Pow(o.Beta2, s.t)) + o.Eps)
		if decay {
			d[i] += o.Decay * s.w[i]
		}
		length += s.w[i] * s.w[i]
		reach += d[i] * d[i]
	}
	factor := 1.0
	if decay && length > 0 && reach > 0 {
		factor = math.Sqrt(length) / math.Sqrt(reach)
	}
	for i := range g {
		s.w[i] -= lr * factor * d[i]
	}
}

// Five updates of a matrix, a bias without decay and a matrix of zeros, whose norm gives
// no factor, each of one and of two models, against the twin.
func TestLambEqualsItsFormula(t *testing.T) {
	e := enginetest.PureGo(t)
	r := recipe.Default()
	r.Optimizer.Name, r.Optimizer.Decay = recipe.LAMB, 0.1
	params := []supernet.Param{{Name: "matrix", Decay: true}, {Name: "bias"}, {Name: "zeros", Decay: true}}
	used := []int{0, 1, 2}
	const size, lr, steps = 6, 0.05, 5
	for _, models := range []int{1, 2} {
		shape := shapes.Make(dtypes.Float32, 2, 3)
		if models > 1 {
			shape = shapes.Make(dtypes.Float32, models, 2, 3)
		}
		var in []shapes.Shape
		for range len(Groups(r)) * len(used) {
			in = append(in, shape)
		}
		in = append(in, shapes.Make(dtypes.Float32, len(params)), shapes.Make(dtypes.Float32), shape, shape, shape)
		p, err := e.Compile("lamb", in, func(in []*graph.Node) []*graph.Node {
			u, grads := takeUpdate(r, params, used, in)
			u.lr, u.grads, u.models = grads[0], grads[1:], models
			u.finite = graph.IsFinite(u.lr)
			after, counts := applyUpdate(r, u)
			var out []*graph.Node
			for _, g := range after.groups() {
				out = append(out, g...)
			}
			return append(out, counts)
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		random := rng.New(3, "lamb")
		var twins []*lambTwin // by tensor, then model
		var state []*tensors.Tensor
		for i := range params {
			start := make([]float32, shape.Size())
			for k := range start {
				if i < 2 {
					start[k] = float32(random.NormFloat64())
				}
			}
			state = append(state, tensors.FromFlatDataAndDimensions(start, shape.Dimensions...))
			for m := range models {
				twin := &lambTwin{w: make([]float64, size), m: make([]float64, size), v: make([]float64, size)}
				for k := range size {
					twin.w[k] = float64(start[m*size+k])
				}
				twins = append(twins, twin)
			}
		}
		for range 2 * len(params) {
			state = append(state, tensors.FromFlatDataAndDimensions(make([]float32, shape.Size()), shape.Dimensions...))
		}
		state = append(state, tensors.FromFlatDataAndDimensions(make([]float32, len(params)), len(params)))
		for range steps {
			args := append(state, tensors.FromScalar(float32(lr)))
			for i, p := range params {
				g := make([]float32, shape.Size())
				for k := range g {
					g[k] = float32(random.NormFloat64())
				}
				args = append(args, tensors.FromFlatDataAndDimensions(g, shape.Dimensions...))
				for m := range models {
					one := make([]float64, size)
					for k := range one {
						one[k] = float64(g[m*size+k])
					}
					twins[i*models+m].update(r.Optimizer, one, lr, p.Decay)
				}
			}
			if state, err = p.RunDonating(args, len(state)); err != nil {
				t.Fatal(err)
			}
		}
		for i, p := range params {
			for k, got := range download(t, state[i]) {
				if want := twins[i*models+k/size].w[k%size]; !(math.Abs(float64(got)-want) <= 3e-6) {
					t.Errorf("%d models: %s[%d] is %v, want %v", models, p.Name, k, got, want)
				}
			}
		}
	}
}
