package trainstep

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/pkg/space"
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
	program    *engine.Program
	net        *supernet.Net
	inputs     stepInputs
	models     int
	resolution int // of a convolutional network's images

	teaching *teaching
}

// NewMaskedStep compiles the step of a recipe's batches for a number of models. That of a
// convolutional network is of one model, and of architectures of one resolution (0: that
// of the space's images); for a vision transformer resolution is 0. weights are those of the classes in the loss; nil: all alike.
func NewMaskedStep(e *engine.Engine, net *supernet.Net, r recipe.Recipe, weights []float32, models, resolution int) (*MaskedStep, error) {
	if r.Optimizer.Freeze {
		return nil, fmt.Errorf("%w: optimizer.freeze is not for training any architecture of a space: there must be given ones", recipe.ErrInvalid)
	}
	// Drop path is drawn for every block of the supernet: block by block, so the
	// blocks of a shallower architecture get what its own step would draw.
	s := &MaskedStep{
		net: net, models: models, resolution: resolution,
		inputs: stepInputs{engine: e, recipe: r, space: net.Space(), arch: net.Space().Whole(), weights: weights, taught: !r.Distill.IsZero()},
	}
	params, b := net.Params(), s.inputs.form()
	var shape []shapes.Shape
	for range Groups(r) {
		for _, p := range params {
			shape = append(shape, shapes.Make(dtypes.Float32, s.dims(p.Shape)...))
		}
	}
	shape = append(shape, shapes.Make(dtypes.Float32, len(params)))
	updated := len(shape)
	shape = append(shape, shapes.Make(dtypes.Float32), sizesShape(net, models))
	split := b.splitAfter(len(shape))
	shape = append(shape, b.inputs...)
	var err error
	s.program, err = e.CompileUpdate("masked train", shape, split, updated, func(in []*graph.Node) []*graph.Node { return s.build(in, r, b) })
	if err != nil {
		return nil, fmt.Errorf("masked train step of %s: %w", net.Space().Name, err)
	}
	return s, nil
}

// sizesShape of the architectures of models.
func sizesShape(net *supernet.Net, models int) shapes.Shape {
	return shapes.Make(dtypes.Int32, models, net.SizesLen())
}

// dims of a tensor of the state.
func (s *MaskedStep) dims(one []int) []int {
	if s.models == 1 {
		return one
	}
	return append([]int{s.models}, one...)
}

// build makes the groups of the state, counts and [2, models] of losses and gradient norms.
func (s *MaskedStep) build(in []*graph.Node, r recipe.Recipe, b batchForm) []*graph.Node {
	u, in := takeUpdate(r, s.net.Params(), s.net.Bind().Indices(), in)
	u.models, u.lr = s.models, in[0]
	sizes := in[1]
	p := b.prepare(in[2:])

	losses := maskedLosses(s.net, r, s.models, s.resolution, u.Weights, sizes, p)
	u.grads = engine.Gradient(graph.ReduceAllSum(losses), u.Weights...)
	squares := graph.ZerosLike(losses)
	for _, g := range u.grads {
		flat := graph.Reshape(g, s.models, g.Shape().Size()/s.models)
		squares = graph.Add(squares, graph.ReduceSum(graph.Square(flat), -1))
	}
	norms := graph.Sqrt(squares)
	u.finite = graph.IsFinite(graph.ReduceAllSum(graph.Add(losses, norms)))

	if factor := clipFactor(r.Optimizer, norms); factor != nil {
		for i, g := range u.grads {
			u.grads[i] = graph.Mul(g, u.perModel(factor, g.Shape()))
		}
	}

	after, counts := applyMasked(s.net, r, u, sizes)
	return append(slices.Concat(after.groups()...), counts, graph.Stack([]*graph.Node{losses, norms}, 0))
}

// maskedLosses of the models on one batch, [models], by weights that have a leading axis of models where there
// are several, and the sizes of the models' architectures.
func maskedLosses(net *supernet.Net, r recipe.Recipe, models, resolution int, shared []*graph.Node, sizes *graph.Node, p prepared) *graph.Node {
	weights := make([]*graph.Node, len(shared))
	for i, w := range shared {
		weights[i] = graph.Reshape(w, append([]int{models}, net.Params()[i].Shape...)...)
	}
	f := supernet.Masked{Sizes: sizes, Dropout: p.dropout, Operands: Precision(r).Operands(), Resolution: resolution}
	if p.dropPath != nil {
		f.DropPath = graph.BroadcastToDims(graph.InsertAxes(p.dropPath, 0), append([]int{models}, p.dropPath.Shape().Dimensions...)...)
	}
	logits := net.MaskedLogits(weights, p.images, f)
	each := func(x *graph.Node) *graph.Node { // [models, N, classes]
		if x == nil {
			return nil
		}
		return graph.BroadcastToShape(graph.InsertAxes(x, 0), logits.Shape())
	}
	return graph.ReduceMean(lossOf(r, logits, each(p.targets), each(p.teacher)), -1)
}

// applyMasked is the state after an update of all tensors: those that a model's architecture does not use
// stay as they are, and what no model uses does not count.
func applyMasked(net *supernet.Net, r recipe.Recipe, u update, sizes *graph.Node) (after perTensor[*graph.Node], counts *graph.Node) {
	// Operations are one pass with what follows, where a call would be one of its own.
	after = updateOperations(r, u)
	uses := net.MaskedUses(sizes) // [models, params]
	for i, w := range u.Weights {
		column := graph.Slice(uses, graph.AxisRange(), graph.AxisRange(i, i+1))
		kept := u.perModel(graph.GreaterThan(column, graph.ZerosLike(column)), w.Shape())
		for g, group := range after.groups() {
			group[i] = graph.Where(kept, group[i], u.groups()[g][i])
		}
	}
	took := graph.Mul(graph.ConvertDType(u.finite, dtypes.Float32), graph.ReduceMax(uses, 0))
	return after, graph.Add(u.counts, took)
}

// Run applies the step of update number step (from 0) to the state, which then holds the
// new tensors: archs, one per model, on a batch of the recipe's size. Draws are those of
// (seed, step), as in a run. A step with a number that is not finite is applied to no
// model. After an error the state may be gone.
func (s *MaskedStep) Run(state *State, archs []space.Arch, lr float64, b evaluate.Batch, seed uint64, step int) ([]Stats, error) {
	on, err := Put(s.inputs.engine, s.net.Space().Model, b)
	if err != nil {
		return nil, err
	}
	stats, err := s.run(state, archs, lr, on, seed, step)
	return stats, errors.Join(err, on.Free())
}

// run is Run of images that are on the device.
func (s *MaskedStep) run(state *State, archs []space.Arch, lr float64, b Batch, seed uint64, step int) ([]Stats, error) {
	if len(archs) != s.models {
		return nil, fmt.Errorf("masked train step: %d architectures for %d models", len(archs), s.models)
	}
	var sizes []int32
	for _, a := range archs {
		sizes = append(sizes, s.net.Sizes(a)...)
	}
	args := append(slices.Concat(state.groups()...), state.Counts)
	donated := len(args)
	spent := []*tensors.Tensor{tensors.FromScalar(float32(lr)), tensors.FromFlatDataAndDimensions(sizes, s.models, s.net.SizesLen())}
	values := s.inputs.values(b.Labels, seed, step, 0)
	teacher, err := s.teaching.logits(b.Batch, seed, step, 0)
	if err != nil {
		return nil, err
	}
	if teacher != nil {
		values = append(values, teacher)
	}
	args = append(append(append(args, spent...), b.images), values...)
	spent = append(spent, values...)
	out, err := s.program.RunDonating(args, donated)
	if err != nil {
		return nil, err
	}
	for _, group := range state.groups() {
		copy(group, out)
		out = out[len(group):]
	}
	state.Counts = out[0]
	reported := make([]float32, 2*s.models)
	err = out[1].ConstFlatData(func(flat any) { copy(reported, flat.([]float32)) })
	err = errors.Join(err, s.program.Free(append(spent, out[1])...))
	stats := make([]Stats, s.models)
	for i := range stats {
		stats[i] = Stats{Loss: unsigned(reported[i]), GradNorm: reported[s.models+i]}
	}
	return stats, err
}

// Close frees the program.
func (s *MaskedStep) Close() {
	s.program.Close()
	s.teaching.close()
}

// Start is the state before the first step: weights of each model are drawn from
// its seed, as are their averages; moments and counts are zero.
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
		for _, prefix := range Groups(s.inputs.recipe) {
			start := make([]float32, len(all[i]))
			if prefix == rundir.GroupWeights || prefix == rundir.GroupEMA {
				copy(start, all[i])
			}
			held, err := s.inputs.engine.Put(start, dims...)
			if err != nil {
				return nil, err
			}
			group := state.group(prefix)
			*group = append(*group, held)
		}
	}
	return state, nil
}
