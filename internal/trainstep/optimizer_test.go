package trainstep

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/engine/enginetest"
	"prenas/internal/recipe"
	"prenas/internal/rng"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
)

// twin is one weight's update in float64, formula by formula.
type twin struct{ w, m, v, ema, t float64 }

func (s *twin) update(r recipe.Recipe, g, lr float64, decay bool) {
	o := r.Optimizer
	s.t++
	if o.Name == recipe.SGD {
		if decay {
			g += o.Decay * s.w
		}
		s.m = o.Momentum*s.m + g
		d := s.m
		if o.Nesterov {
			d = g + o.Momentum*s.m
		}
		s.w -= lr * d
	} else {
		if decay {
			s.w *= 1 - lr*o.Decay
		}
		s.m = o.Beta1*s.m + (1-o.Beta1)*g
		s.v = o.Beta2*s.v + (1-o.Beta2)*g*g
		s.w -= lr * s.m / (1 - math.Pow(o.Beta1, s.t)) / (math.Sqrt(s.v/(1-math.Pow(o.Beta2, s.t))) + o.Eps)
	}
	s.ema = r.EMA.Decay*s.ema + (1-r.EMA.Decay)*s.w
}

// Four updates of three weights, the second of which takes part in none and the third
// of which has no decay, against the twin; the third update is not finite.
func TestUpdatesEqualTheirFormulas(t *testing.T) {
	e := enginetest.PureGo(t)
	params := []supernet.Param{{Name: "blocks.0.a", Decay: true}, {Name: "blocks.1.unused", Decay: true, Block: 1}, {Name: "cls_token", Block: -1}}
	used := []int{0, 2}
	layer := []float64{1, 0} // of the used, of 0 to 2
	base := recipe.Default().Optimizer
	with := func(change func(*recipe.Recipe)) recipe.Recipe {
		r := recipe.Default()
		r.Optimizer = base
		change(&r)
		return r
	}
	for name, r := range map[string]recipe.Recipe{
		"adamw":     with(func(*recipe.Recipe) {}),
		"adamw ema": with(func(r *recipe.Recipe) { r.EMA.Decay = 0.7 }),
		"sgd":       with(func(r *recipe.Recipe) { r.Optimizer.Name = recipe.SGD }),
		"momentum":  with(func(r *recipe.Recipe) { r.Optimizer.Name, r.Optimizer.Momentum = recipe.SGD, 0.9 }),
		"nesterov ema": with(func(r *recipe.Recipe) {
			r.Optimizer.Name, r.Optimizer.Momentum, r.Optimizer.Nesterov, r.EMA.Decay = recipe.SGD, 0.9, true, 0.9
		}),
		"clipped":        with(func(r *recipe.Recipe) { r.Optimizer.Name, r.Optimizer.Clip = recipe.SGD, 0.5 }),
		"adamw by layer": with(func(r *recipe.Recipe) { r.Optimizer.LayerDecay = 0.5 }),
		"adamw by size":  with(func(r *recipe.Recipe) { r.Optimizer.ScaleParameter = true }),
		"sgd by size":    with(func(r *recipe.Recipe) { r.Optimizer.Name, r.Optimizer.ScaleParameter = recipe.SGD, true }),
		"clipped by layer": with(func(r *recipe.Recipe) {
			r.Optimizer.Name, r.Optimizer.Clip, r.Optimizer.LayerDecay = recipe.SGD, 0.5, 0.75
		}),
	} {
		t.Run(name, func(t *testing.T) {
			var in []shapes.Shape
			for range len(Groups(r)) * len(used) {
				in = append(in, shapes.Make(dtypes.Float32))
			}
			in = append(in, shapes.Make(dtypes.Float32, len(params)), shapes.Make(dtypes.Float32), shapes.Make(dtypes.Float32, 2))
			p, err := e.Compile(name, in, func(in []*graph.Node) []*graph.Node {
				u, rest := takeUpdate(r, params, used, in)
				u.lr, u.grads = rest[0], []*graph.Node{element(rest[1], 0), element(rest[1], 1)}
				norm := graph.Sqrt(engine.SquareSum(u.grads))
				u.finite, u.factor = graph.IsFinite(norm), clipFactor(r.Optimizer, norm)
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
			want := []twin{{w: 0.5, ema: 0.5}, {w: -2, ema: -2}}
			var state []*tensors.Tensor
			for _, prefix := range Groups(r) {
				for _, w := range want {
					start := float32(0)
					if prefix == rundir.GroupWeights || prefix == rundir.GroupEMA {
						start = float32(w.w)
					}
					state = append(state, tensors.FromScalar(start))
				}
			}
			state = append(state, tensors.FromFlatDataAndDimensions(make([]float32, len(params)), len(params)))
			const lr = 0.1
			for _, g := range [][]float32{{0.3, -1}, {-0.1, 2}, {float32(math.NaN()), 1}, {0.4, 0.01}} {
				args := append(state, tensors.FromScalar(float32(lr)), tensors.FromFlatDataAndDimensions(g, 2))
				if state, err = p.RunDonating(args, len(state)); err != nil {
					t.Fatal(err)
				}
				norm := math.Hypot(float64(g[0]), float64(g[1]))
				if math.IsNaN(norm) {
					continue
				}
				scale := 1.0
				if r.Optimizer.Clip > 0 && norm > r.Optimizer.Clip {
					scale = r.Optimizer.Clip / norm
				}
				for k, i := range used {
					rate := lr
					if r.Optimizer.LayerDecay > 0 {
						rate *= math.Pow(r.Optimizer.LayerDecay, 2-layer[k])
					}
					if r.Optimizer.ScaleParameter {
						rate *= max(math.Abs(want[k].w), leastSize)
					}
					want[k].update(r, float64(g[k])*scale, rate, params[i].Decay)
				}
			}
			for g, prefix := range Groups(r) {
				for k, w := range want {
					expected := map[string]float64{rundir.GroupWeights: w.w, rundir.GroupM: w.m, rundir.GroupV: w.v, rundir.GroupEMA: w.ema}[prefix]
					if got := float64(download(t, state[2*g+k])[0]); !(math.Abs(got-expected) <= 2e-6) {
						t.Errorf("%q of weight %d is %v, want %v", prefix, k, got, expected)
					}
				}
			}
			if c := download(t, state[len(state)-1]); c[0] != 3 || c[1] != 0 || c[2] != 3 {
				t.Errorf("counts are %v, want 3 0 3", c)
			}
		})
	}
}

// Where the engine has AdamW as one call, that does what its operations do: over five updates, of which one is not finite,
// of weights whose gradients are of them or of a corner.
func TestAdamWCallIsItsOperations(t *testing.T) {
	e := enginetest.Test(t)
	if !e.Kernels() {
		t.Skip("no kernels: they need Linux, cgo and XLA's plug-in")
	}
	params := []supernet.Param{
		{Name: "blocks.0.a", Shape: []int{5, 7}, Decay: true}, {Name: "blocks.1.unused", Shape: []int{3}, Decay: true, Block: 1},
		{Name: "cls_token", Shape: []int{1, 1, 9}, Block: -1}, {Name: "blocks.1.b", Shape: []int{4, 3, 2, 2}, Decay: true, Block: 1},
	}
	used := []int{0, 2, 3}
	corners := [][]int{{4, 7}, {1, 1, 9}, {4, 2, 2, 2}}
	for name, change := range map[string]func(*recipe.Recipe){
		"plain":             func(*recipe.Recipe) {},
		"clipped, averages": func(r *recipe.Recipe) { r.Optimizer.Clip, r.EMA.Decay = 0.5, 0.7 },
		"by layer":          func(r *recipe.Recipe) { r.Optimizer.LayerDecay, r.Optimizer.Beta1 = 0.5, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			r := recipe.Default()
			r.Optimizer.LR, r.Optimizer.Decay = 0.1, 0.2
			change(&r)
			var in []shapes.Shape
			for range Groups(r) {
				for _, i := range used {
					in = append(in, shapes.Make(dtypes.Float32, params[i].Shape...))
				}
			}
			in = append(in, shapes.Make(dtypes.Float32, len(params)), shapes.Make(dtypes.Float32))
			donated := len(in) - 1
			for _, dims := range corners {
				in = append(in, shapes.Make(dtypes.Float32, dims...))
			}
			compile := func(call bool) *engine.Program {
				p, err := e.CompileUpdate(name, in, nil, donated, func(in []*graph.Node) []*graph.Node {
					u, rest := takeUpdate(r, params, used, in)
					u.lr, u.grads = rest[0], rest[1:]
					norm := graph.Sqrt(engine.SquareSum(u.grads))
					u.finite, u.factor = graph.IsFinite(norm), clipFactor(r.Optimizer, norm)
					after, counts := applyUpdate(r, u)
					if !call {
						after = updateOperations(r, u)
					}
					return append(slices.Concat(after.groups()...), counts)
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(p.Close)
				return p
			}
			run := func(p *engine.Program) [][]float32 {
				draws := rng.New(7, name)
				draw := func(s shapes.Shape) *tensors.Tensor {
					values := make([]float32, s.Size())
					for i := range values {
						values[i] = float32(draws.NormFloat64())
					}
					return tensors.FromFlatDataAndDimensions(values, s.Dimensions...)
				}
				var state []*tensors.Tensor
				for k, s := range in[:donated] {
					state = append(state, tensors.FromShape(s))
					if k < len(used) {
						state[k] = draw(s)
					}
				}
				for step := range 5 {
					args := append(state, tensors.FromScalar(float32(r.Optimizer.LR)))
					for _, s := range in[donated+1:] {
						args = append(args, draw(s))
					}
					if step == 2 {
						args[donated+2].MustMutableFlatData(func(flat any) { flat.([]float32)[3] = float32(math.Inf(1)) })
					}
					var err error
					if state, err = p.RunDonating(args, donated); err != nil {
						t.Fatal(err)
					}
				}
				var all [][]float32
				for _, x := range state {
					all = append(all, download(t, x))
				}
				return all
			}
			called, operated, again := run(compile(true)), run(compile(false)), run(compile(true))
			for k := range operated {
				if !slices.Equal(called[k], again[k]) {
					t.Errorf("tensor %d has other bits the second time", k)
				}
				for i, want := range operated[k] {
					if got := called[k][i]; !(math.Abs(float64(got-want)) <= 2e-6*(1+math.Abs(float64(want)))) {
						t.Fatalf("tensor %d at %d is %v by the call, %v by operations", k, i, got, want)
					}
				}
			}
			if counts := called[len(called)-1]; !slices.Equal(counts, []float32{4, 0, 4, 4}) {
				t.Errorf("counts are %v, want 4 0 4 4", counts)
			}
		})
	}
}
