package trainstep

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/recipe"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// accumulator does updates of several parts: several batches, several architectures, or both.
//
//	for each batch, for each architecture:   gradient program   sums += gradient
//	then once:                               apply program      state, sums ─► state, zeros
//
// The gradient of an update is the mean over its parts, so that a learning rate and a
// clipping length mean the same whatever their number. Two batches of an architecture
// give the update of one batch of both their images, but for what is drawn by batch.
type accumulator struct {
	run       stepInputs
	seed      uint64
	archs     []space.Arch
	sampler   recipe.ArchSampler
	net       *supernet.Net
	gradients []*gradientProgram                      // by architecture
	apply     map[string]*applyProgram                // by the tensors that it updates
	sums      []*tensors.Tensor                       // by Params index; zero between updates
	newStats  map[string]*batchNorms[*tensors.Tensor] // statistics after this update's parts so far, by the architecture's text; the state gets them if it is applied
	teaching  *teaching
}

// gradientProgram is the program of one part.
//
//	in   used weights, statistics of batch norms, the sums of the trained weights, 1/parts,
//	     the batch
//	out  statistics, sums, loss, and where this part teaches the others: its logits
//	     [N, classes]
type gradientProgram struct {
	program       *engine.Program
	arch          space.Arch
	used, trained supernet.Binding
	teaches       bool
	batch         stepInputs
}

// applyProgram is the program that ends an update.
type applyProgram struct {
	program *engine.Program
	used    supernet.Binding
}

func newAccumulator(c Config, compiling func(done, total int, arch string) error) (*accumulator, error) {
	u := &accumulator{
		run: stepInputs{engine: c.Engine, recipe: c.Recipe, space: c.Net.Space()}, seed: c.Seed, archs: c.Archs, sampler: c.Sampler, net: c.Net,
		apply: map[string]*applyProgram{}, newStats: map[string]*batchNorms[*tensors.Tensor]{},
	}
	var err error
	if u.teaching, err = newTeaching(c.Engine, c.Recipe, c.Net.Space().Model, c.Teacher); err != nil {
		return nil, err
	}
	params := c.Net.Params()
	for _, p := range params {
		zero, err := c.Engine.Put(make([]float32, shapes.Make(dtypes.Float32, p.Shape...).Size()), p.Shape...)
		if err != nil {
			u.Close()
			return nil, err
		}
		u.sums = append(u.sums, zero)
	}
	for i, arch := range c.Archs {
		err := compiling(i, len(c.Archs), arch.String())
		if err == nil {
			err = u.compileGradient(c.Engine, i)
		}
		if err != nil {
			u.Close()
			return nil, err
		}
	}
	for _, turns := range c.Sampler.Sets() {
		if err := u.compileApply(c.Engine, turns); err != nil {
			u.Close()
			return nil, err
		}
	}
	return u, nil
}

// largest is the architecture that teaches the others of an update, if any does.
func (u *accumulator) largest() int {
	if !u.run.recipe.Distill.InPlace() {
		return -1
	}
	return u.sampler.Largest()
}

func (u *accumulator) compileGradient(e *engine.Engine, which int) error {
	r, net, arch := u.run.recipe, u.net, u.archs[which]
	m := net.Space().Model
	g := &gradientProgram{arch: arch, used: net.Bind(arch), teaches: which == u.largest(), batch: u.run}
	g.trained, _ = partition(r.Optimizer, g.used)
	g.batch.arch, g.batch.taught = arch, !r.Distill.IsZero() && !g.teaches
	form := g.batch.form()
	shape := slices.Concat(g.used.Shapes(), statShapes(r, m, arch), g.trained.Shapes(), []shapes.Shape{shapes.Make(dtypes.Float32)})
	split := form.splitAfter(len(shape))
	shape = append(shape, form.inputs...)
	var err error
	g.program, err = e.CompileParallel("gradient "+arch.String(), shape, split, func(in []*graph.Node) []*graph.Node {
		byIndex, in := g.used.Nodes(in)
		n, in := takeStats(r, m, arch, in)
		last := g.trained.Len()
		sums, share, rest := in[:last], in[last], in[last+1:]
		var trained []*graph.Node
		for _, i := range g.trained.Indices() {
			trained = append(trained, byIndex[i])
		}
		p := form.prepare(rest)
		var seen []*graph.Node
		logits := net.Logits(byIndex, p.images, p.forward(arch, r, n, &seen))
		loss := graph.ReduceAllMean(lossOf(r, logits, p.targets, p.teacher))
		out := updatedStats(r, n, seen, nil).all()
		for k, g := range engine.Gradient(loss, trained...) {
			out = append(out, graph.Add(sums[k], graph.Mul(g, share)))
		}
		out = append(out, loss)
		if g.teaches {
			out = append(out, logits)
		}
		return out
	})
	if err != nil {
		return fmt.Errorf("gradient of %s: %w", arch, err)
	}
	u.gradients = append(u.gradients, g)
	return nil
}

// trainedIn is what an update of the architectures moves.
func (u *accumulator) trainedIn(turns []int) supernet.Binding {
	var archs []space.Arch
	for _, which := range turns {
		archs = append(archs, u.archs[which])
	}
	trained, _ := partition(u.run.recipe.Optimizer, u.net.Bind(archs...))
	return trained
}

func (u *accumulator) compileApply(e *engine.Engine, turns []int) error {
	r, params, used := u.run.recipe, u.net.Params(), u.trainedIn(turns)
	key := fmt.Sprint(used.Indices())
	if u.apply[key] != nil {
		return nil
	}
	ofEach := used.Shapes()
	shape := slices.Concat(slices.Repeat(ofEach, len(Groups(r))), []shapes.Shape{shapes.Make(dtypes.Float32, len(params))}, ofEach)
	updated := len(shape)
	shape = append(shape, shapes.Make(dtypes.Float32), shapes.Make(dtypes.Float32))
	program, err := e.CompileUpdate("apply", shape, nil, updated, func(in []*graph.Node) []*graph.Node {
		v, in := takeUpdate(r, params, used.Indices(), in)
		sums, finite := in[:used.Len()], in[used.Len()+1]
		v.lr = in[used.Len()]
		norm := graph.Sqrt(engine.SquareSum(sums))
		v.grads = sums
		v.finite = graph.LogicalAnd(graph.IsFinite(norm), graph.GreaterThan(finite, graph.ZerosLike(finite)))
		v.factor = clipFactor(r.Optimizer, norm)
		after, counts := applyUpdate(r, v)
		var out []*graph.Node
		for _, group := range after.groups() {
			out = append(out, group...)
		}
		out = append(out, counts)
		for _, s := range sums {
			out = append(out, graph.ZerosLike(s))
		}
		return append(out, norm)
	})
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	u.apply[key] = &applyProgram{program, used}
	return nil
}

func (u *accumulator) Update(state *State, lr float64, step int, batches []evaluate.Batch) (Outcome, error) {
	turns := u.sampler.At(step)
	var o Outcome
	share := 1 / float64(len(turns)*len(batches))
	losses := make([]float64, len(turns))
	for k, b := range batches {
		teacher, err := u.teaching.logits(b, u.seed, step, k)
		if err != nil {
			return o, err
		}
		for turn, which := range turns {
			batch, err := u.gradients[which].batch.values(b, u.seed, step, k)
			if err != nil {
				return o, err
			}
			loss, taught, err := u.add(state, which, share, batch, teacher)
			if err != nil {
				return o, err
			}
			if taught != nil {
				teacher = taught
			}
			losses[turn] += float64(loss) / float64(len(batches))
		}
		if teacher != nil {
			if err := u.gradients[0].program.Free(teacher); err != nil {
				return o, err
			}
		}
	}
	total := 0.0
	for turn, which := range turns {
		o.Archs = append(o.Archs, ArchLoss{which, float32(losses[turn])})
		total += losses[turn] / float64(len(turns))
	}
	o.Loss = float32(total)
	var err error
	if o.GradNorm, err = u.finish(state, lr, turns, !math.IsNaN(total) && !math.IsInf(total, 0)); err != nil {
		return o, err
	}
	return o, u.settle(state, o.Finite())
}

// settle gives the state the statistics of an update that was applied.
func (u *accumulator) settle(state *State, applied bool) error {
	var failed error
	for name, after := range u.newStats {
		own := state.BatchNorms[name]
		spent := after.all()
		if applied {
			spent = own.all()
			*own = *after
		}
		failed = errors.Join(failed, u.gradients[0].program.Free(spent...))
	}
	clear(u.newStats)
	return failed
}

// add adds the gradient of one part to the sums.
func (u *accumulator) add(state *State, which int, share float64, batch []*tensors.Tensor, teacher *tensors.Tensor) (loss float32, teaching *tensors.Tensor, err error) {
	g := u.gradients[which]
	args := g.used.Args(state.Weights)
	name := g.arch.String()
	before, moves := u.newStats[name], true
	if before == nil {
		before, moves = state.batchNormsOf(g.arch), false
	}
	args = append(args, before.all()...)
	args = append(args, g.trained.Args(u.sums)...)
	n := len(args)
	args = append(append(args, tensors.FromScalar(float32(share))), batch...)
	own := args[n:]
	if g.batch.taught {
		args = append(args, teacher)
	}
	out, err := g.program.Run(args)
	if err != nil {
		return 0, nil, err
	}
	if moves {
		own = append(own, before.all()...)
	}
	after := *before
	count := len(before.all())
	after.replace(out[:count])
	u.newStats[name] = &after
	out = out[count:]
	own = append(own, g.trained.Args(u.sums)...)
	out = g.trained.Store(u.sums, out)
	err = out[0].ConstFlatData(func(flat any) { loss = flat.([]float32)[0] })
	err = errors.Join(err, g.program.Free(append(own, out[0])...))
	if g.teaches {
		teaching = out[1]
	}
	return loss, teaching, err
}

// finish applies the sums to the state and empties them.
func (u *accumulator) finish(state *State, lr float64, turns []int, finite bool) (norm float32, err error) {
	a := u.apply[fmt.Sprint(u.trainedIn(turns).Indices())]
	var args []*tensors.Tensor
	for _, group := range state.groups() {
		args = append(args, a.used.Args(group)...)
	}
	flag := float32(0)
	if finite {
		flag = 1
	}
	args = append(args, state.Counts)
	args = append(args, a.used.Args(u.sums)...)
	args = append(args, tensors.FromScalar(float32(lr)), tensors.FromScalar(flag))
	out, err := a.program.RunDonating(args, len(args))
	if err != nil {
		return 0, err
	}
	for _, group := range state.groups() {
		out = a.used.Store(group, out)
	}
	state.Counts = out[0]
	a.used.Store(u.sums, out[1:])
	last := out[len(out)-1]
	err = last.ConstFlatData(func(flat any) { norm = flat.([]float32)[0] })
	return norm, errors.Join(err, a.program.Free(last))
}

func (u *accumulator) Close() {
	for _, g := range u.gradients {
		g.program.Close()
	}
	for _, a := range u.apply {
		a.program.Close()
	}
	u.teaching.close()
}
