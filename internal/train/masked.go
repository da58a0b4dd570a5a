package train

import (
	"errors"
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/space"
	"prenas/internal/supernet"
)

// MaskedStep is the compiled train step of whatever architecture of the supernet it is
// given: no program per architecture. Its update is that of an architecture's own step,
// except that a tensor the architecture does not use costs its time too.
//
// It trains one model, over a State as every other step has it, or several at once, each
// with weights of its own and over the same batches; their State has a leading axis of
// models in its weights and moments, and one count per tensor: what any of the models
// uses counts, so a model must keep its architecture.
type MaskedStep struct {
	program *engine.Program
	net     *supernet.Net
	inputs  inputs
	models  int
}

// NewMaskedStep compiles the step of a recipe's batches for a number of models.
func NewMaskedStep(e *engine.Engine, net *supernet.Net, r Recipe, models int) (*MaskedStep, error) {
	// Drop path is drawn for every block of the supernet: block by block, so the
	// blocks of a shallower architecture get what its own step would draw.
	deepest := space.Arch{NumHeads: make([]int, net.Space().Supernet.Depth)}
	s := &MaskedStep{net: net, inputs: inputs{recipe: r, space: net.Space(), arch: deepest}, models: models}
	params, b := net.Params(), s.inputs.form()
	var shape []shapes.Shape
	for range 3 { // weights, m, v
		for _, p := range params {
			shape = append(shape, shapes.Make(dtypes.Float32, s.dims(p.Shape)...))
		}
	}
	shape = append(shape, shapes.Make(dtypes.Float32, len(params)), shapes.Make(dtypes.Float32), shapes.Make(dtypes.Int32, models, net.SizesLen()))
	shape = append(shape, b.inputs...)
	var err error
	s.program, err = e.Compile("masked train", shape, func(in []*graph.Node) []*graph.Node { return s.build(in, r.Optimizer, b) })
	if err != nil {
		return nil, fmt.Errorf("masked train step of %s: %w", net.Space().Name, err)
	}
	return s, nil
}

// dims of a tensor of the state.
func (s *MaskedStep) dims(one []int) []int {
	if s.models == 1 {
		return one
	}
	return append([]int{s.models}, one...)
}

// build makes weights, m, v, counts and [2, models] of losses and gradient norms.
func (s *MaskedStep) build(in []*graph.Node, o Optimizer, b batch) []*graph.Node {
	params := s.net.Params()
	n := len(params)
	u := update{params: params, weights: in[:n], m: in[n : 2*n], v: in[2*n : 3*n], counts: in[3*n], lr: in[3*n+1]}
	for i := range params {
		u.used = append(u.used, i)
	}
	sizes := in[3*n+2]
	images, targets, dropPath := b.prepare(in[3*n+3:])

	weights := make([]*graph.Node, n)
	for i, w := range u.weights {
		weights[i] = graph.Reshape(w, append([]int{s.models}, params[i].Shape...)...)
	}
	f := supernet.Masked{Sizes: sizes}
	if dropPath != nil {
		f.DropPath = graph.BroadcastToDims(graph.InsertAxes(dropPath, 0), append([]int{s.models}, dropPath.Shape().Dimensions...)...)
	}
	logits := s.net.MaskedLogits(weights, images, f)
	targets = graph.BroadcastToShape(graph.InsertAxes(targets, 0), logits.Shape())
	losses := graph.ReduceMean(graph.Neg(graph.ReduceSum(graph.Mul(targets, graph.LogSoftmax(logits, -1)), -1)), -1) // [models]
	u.grads = engine.Gradient(graph.ReduceAllSum(losses), u.weights...)
	squares := graph.ZerosLike(losses)
	for _, g := range u.grads {
		flat := graph.Reshape(g, s.models, g.Shape().Size()/s.models)
		squares = graph.Add(squares, graph.ReduceSum(graph.Square(flat), -1))
	}
	norms := graph.Sqrt(squares)
	u.finite = graph.IsFinite(graph.ReduceAllSum(graph.Add(losses, norms)))

	after, m, v, _ := o.adamw(u)
	uses := s.net.MaskedUses(sizes) // [models, params]
	for i := range params {
		column := graph.Slice(uses, graph.AxisRange(), graph.AxisRange(i, i+1))
		kept := graph.GreaterThan(column, graph.ZerosLike(column))
		if s.models == 1 {
			kept = graph.Reshape(kept) // a scalar chooses the whole tensor
		} else {
			ones := make([]int, u.weights[i].Rank())
			for k := range ones {
				ones[k] = 1
			}
			ones[0] = s.models
			kept = graph.BroadcastToShape(graph.Reshape(kept, ones...), u.weights[i].Shape())
		}
		after[i] = graph.Where(kept, after[i], u.weights[i])
		m[i] = graph.Where(kept, m[i], u.m[i])
		v[i] = graph.Where(kept, v[i], u.v[i])
	}
	took := graph.Mul(graph.ConvertDType(u.finite, dtypes.Float32), graph.ReduceMax(uses, 0))
	out := append(append(append(after, m...), v...), graph.Add(u.counts, took))
	return append(out, graph.Stack([]*graph.Node{losses, norms}, 0))
}

// Run applies the step of update number step (from 0) to the state, which then holds the
// new tensors: archs, one per model, on a batch of the recipe's size. Draws are those of
// (seed, step), as in a run. A step with a number that is not finite is applied to no
// model. After an error the state may be gone.
func (s *MaskedStep) Run(state *State, archs []space.Arch, lr float64, b evaluate.Batch, seed uint64, step int) ([]Stats, error) {
	n := len(s.net.Params())
	if len(archs) != s.models {
		return nil, fmt.Errorf("masked train step: %d architectures for %d models", len(archs), s.models)
	}
	var sizes []int32
	for _, a := range archs {
		sizes = append(sizes, s.net.Sizes(a)...)
	}
	args := append(append(append([]*tensors.Tensor{}, state.Weights...), state.M...), state.V...)
	args = append(args, state.Counts)
	donated := len(args)
	args = append(args, tensors.FromScalar(float32(lr)), tensors.FromFlatDataAndDimensions(sizes, s.models, s.net.SizesLen()))
	args = append(args, s.inputs.values(b, seed, step, 0)...)
	out, err := s.program.RunDonating(args, donated)
	if err != nil {
		return nil, err
	}
	copy(state.Weights, out[:n])
	copy(state.M, out[n:2*n])
	copy(state.V, out[2*n:3*n])
	state.Counts = out[3*n]
	values := make([]float32, 2*s.models)
	err = out[3*n+1].ConstFlatData(func(flat any) { copy(values, flat.([]float32)) })
	for _, t := range append(args[donated:], out[3*n+1]) {
		err = errors.Join(err, t.FinalizeAll())
	}
	stats := make([]Stats, s.models)
	for i := range stats {
		stats[i] = Stats{Loss: values[i], GradNorm: values[s.models+i]}
	}
	return stats, err
}

// Close frees the program.
func (s *MaskedStep) Close() { s.program.Close() }

// Start is the state before the first step: weights of each model are drawn from
// its seed, moments and counts are zero.
func (s *MaskedStep) Start(seeds []uint64) (*State, error) {
	if len(seeds) != s.models {
		return nil, fmt.Errorf("masked train step: %d seeds for %d models", len(seeds), s.models)
	}
	params := s.net.Params()
	all := make([][]float32, len(params))
	for _, seed := range seeds {
		weights := s.net.Init(seed)
		for i, p := range params {
			values, err := weights[p.Name].Float32s()
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], values...)
		}
	}
	state := &State{Counts: tensors.FromFlatDataAndDimensions(make([]float32, len(params)), len(params))}
	for i, p := range params {
		dims := s.dims(p.Shape)
		state.Weights = append(state.Weights, tensors.FromFlatDataAndDimensions(all[i], dims...))
		state.M = append(state.M, tensors.FromShape(shapes.Make(dtypes.Float32, dims...)))
		state.V = append(state.V, tensors.FromShape(shapes.Make(dtypes.Float32, dims...)))
	}
	return state, nil
}
