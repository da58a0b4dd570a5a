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

	"prenas/internal/data/load"
	"prenas/internal/engine"
	"prenas/internal/recipe"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// accumulator does updates of several parts: several batches, several architectures, or both; by
// this process, or by several ranks. Sampler space has one architecture of the whole space in each, by
// masked programs.
//
//	for each own batch:
//	    for each architecture:   gradient program   sums of the batch += gradient
//	    add program              pairs of sums ─► sums, in the order of the tree of all batches
//	between ranks:               what the parts reported, and sums, to all
//	then once:                   apply program      state, sums ─► state
//	for each batch and architecture that has batch norms:  move program
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
	gradients []*gradientProgram       // by architecture; of sampler space by resolution
	apply     map[string]*applyProgram // by the tensors that it updates
	zeros     []*tensors.Tensor        // by Params index
	sums      []*tensors.Tensor        // of a batch so far, by Params index
	teaching  *teaching
}

// gradientProgram is the program of one part.
//
//	in   used weights, statistics of batch norms, the sums of the trained weights, 1/parts,
//	     sizes of the architecture if the program is masked, the batch
//	out  what batch norms normalised by, sums, loss, and where this part teaches the others:
//	     its logits [N, classes]
type gradientProgram struct {
	program       *engine.Program
	move          *engine.Program // nil: nothing moves
	arch          space.Arch
	used, trained supernet.Binding
	teaches       bool
	batch         stepInputs
}

// applyProgram is the program that ends an update, and those that make its sums.
type applyProgram struct {
	program *engine.Program
	add     *engine.Program // first sums, second sums ─► sums; nil where there is nothing to add
	used    supernet.Binding
	ranks   *rankSums // nil: this process has all parts
}

// report is what a part of an update came to.
type report struct {
	loss float32
	seen []*tensors.Tensor // what batch norms normalised by; shapes of supernet.Stats
}

// all parts of an update, each a batch or a slice of one, and those that are this rank's.
func (u *accumulator) parts() (all, own span) { return partsOf(u.run.share, u.run.recipe.Accumulate) }

func partsOf(s load.Share, n int) (all, own span) {
	if s.Update == 0 {
		return span{0, n}, span{0, n}
	}
	return span{0, n * s.Slices}, span{s.First*s.Slices + s.Slice, (s.First+s.Count-1)*s.Slices + s.Slice + 1}
}

func newAccumulator(c Config, compiling func(done, total int, arch string) error) (*accumulator, error) {
	u := &accumulator{
		run: stepInputs{engine: c.Engine, recipe: c.Recipe, space: c.Net.Space(), weights: c.Weights, share: c.Share}, seed: c.Seed, archs: c.Archs, sampler: c.Sampler, net: c.Net,
		apply: map[string]*applyProgram{},
	}
	var err error
	if u.teaching, err = newTeaching(c.Engine, c.Recipe, c.Net.Space().Model, c.Share, c.Teacher); err != nil {
		return nil, err
	}
	params := c.Net.Params()
	for _, p := range params {
		zero, err := c.Engine.Put(make([]float32, shapes.Make(dtypes.Float32, p.Shape...).Size()), p.Shape...)
		if err != nil {
			u.Close()
			return nil, err
		}
		u.zeros = append(u.zeros, zero)
	}
	if err := u.compile(c, compiling); err != nil {
		u.Close()
		return nil, err
	}
	return u, nil
}

func (u *accumulator) compile(c Config, compiling func(done, total int, arch string) error) error {
	if u.masked() {
		for i, resolution := range resolutions(u.run.space) {
			if err := compiling(i, len(resolutions(u.run.space)), anyArch); err != nil {
				return err
			}
			if err := u.compileMasked(c.Engine, resolution); err != nil {
				return err
			}
		}
		return u.compileApply(c.Engine, nil)
	}
	for i, arch := range c.Archs {
		if err := compiling(i, len(c.Archs), arch.String()); err != nil {
			return err
		}
		if err := u.compileGradient(c.Engine, i); err != nil {
			return err
		}
	}
	for _, turns := range c.Sampler.Sets() {
		if err := u.compileApply(c.Engine, turns); err != nil {
			return err
		}
	}
	return nil
}

// masked tells whether programs are masked: the sampler draws any architecture of the space.
func (u *accumulator) masked() bool { return u.run.recipe.Sampler.Name == recipe.WholeSpace }

// turns of an update: the gradient programs that it runs, in their order, and for masked programs the sizes of
// the architecture.
func (u *accumulator) turns(step int) (turns []int, sizes []int32) {
	if !u.masked() {
		return u.sampler.At(step), nil
	}
	arch := recipe.DrawArch(u.run.space, u.seed, step)
	return []int{slices.Index(resolutions(u.run.space), arch.Resolution)}, u.net.Sizes(arch)
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
		out := seen
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
	if len(supernet.Stats(m, arch)) > 0 && !r.Optimizer.Freeze {
		g.move, err = moveProgram(e, r, m, arch)
	}
	return err
}

// compileMasked compiles the gradient of any architecture of a resolution.
func (u *accumulator) compileMasked(e *engine.Engine, resolution int) error {
	r, net := u.run.recipe, u.net
	all := net.Bind()
	g := &gradientProgram{used: all, trained: all, batch: u.run}
	g.batch.arch, g.batch.taught = net.Space().Whole(), !r.Distill.IsZero()
	form := g.batch.form()
	shape := slices.Concat(all.Shapes(), all.Shapes(), []shapes.Shape{shapes.Make(dtypes.Float32), sizesShape(net, 1)})
	split := form.splitAfter(len(shape))
	shape = append(shape, form.inputs...)
	var err error
	g.program, err = e.CompileParallel("masked gradient", shape, split, func(in []*graph.Node) []*graph.Node {
		n := all.Len()
		weights, sums, share, sizes := in[:n], in[n:2*n], in[2*n], in[2*n+1]
		loss := graph.ReduceAllSum(maskedLosses(net, r, 1, resolution, weights, sizes, form.prepare(in[2*n+2:])))
		var out []*graph.Node
		for k, g := range engine.Gradient(loss, weights...) {
			out = append(out, graph.Add(sums[k], graph.Mul(g, share)))
		}
		return append(out, loss)
	})
	if err != nil {
		return fmt.Errorf("masked gradient of %s: %w", net.Space().Name, err)
	}
	u.gradients = append(u.gradients, g)
	return nil
}

// trainedIn is what an update of the architectures moves.
func (u *accumulator) trainedIn(turns []int) supernet.Binding {
	if u.masked() {
		return u.net.Bind()
	}
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
	updated := len(shape) - used.Len()
	shape = append(shape, shapes.Make(dtypes.Float32), shapes.Make(dtypes.Float32))
	if u.masked() {
		shape = append(shape, sizesShape(u.net, 1))
	}
	program, err := e.CompileUpdate("apply", shape, nil, updated, func(in []*graph.Node) []*graph.Node {
		v, in := takeUpdate(r, params, used.Indices(), in)
		sums, finite := in[:used.Len()], in[used.Len()+1]
		v.lr = in[used.Len()]
		norm := graph.Sqrt(engine.SquareSum(sums))
		v.grads = sums
		v.finite = graph.LogicalAnd(graph.IsFinite(norm), graph.GreaterThan(finite, graph.ZerosLike(finite)))
		v.factor = clipFactor(r.Optimizer, norm)
		var after perTensor[*graph.Node]
		var counts *graph.Node
		if u.masked() {
			after, counts = applyMasked(u.net, r, v, in[used.Len()+2])
		} else {
			after, counts = applyUpdate(r, v)
		}
		var out []*graph.Node
		for _, group := range after.groups() {
			out = append(out, group...)
		}
		return append(out, counts, norm)
	})
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	a := &applyProgram{program: program, used: used}
	u.apply[key] = a
	all, own := u.parts()
	if own.to-own.from > 1 {
		a.add, err = e.CompileUpdate("add", slices.Concat(ofEach, ofEach), nil, used.Len(), func(in []*graph.Node) []*graph.Node {
			var out []*graph.Node
			for k := range used.Len() {
				out = append(out, graph.Add(in[k], in[used.Len()+k]))
			}
			return out
		})
	}
	if err == nil && own != all {
		a.ranks, err = newRankSums(e, all, ofEach)
	}
	if err != nil {
		return fmt.Errorf("sums of an update: %w", err)
	}
	return nil
}

func (u *accumulator) Update(state *State, lr float64, step int, batches []Batch) (Outcome, error) {
	turns, sizes := u.turns(step)
	a := u.apply[fmt.Sprint(u.trainedIn(turns).Indices())]
	all, own := u.parts()
	var o Outcome
	var reports []report // by part and turn
	var sums []partial[[]*tensors.Tensor]
	for k, b := range batches {
		reported, sum, err := u.batch(state, a, turns, sizes, step, u.run.share.First+k, b)
		if err == nil {
			sums, err = push(all, sums, partial[[]*tensors.Tensor]{span{own.from + k, own.from + k + 1}, sum}, a.pair)
		}
		if err != nil {
			return o, err
		}
		reports = append(reports, reported...)
	}
	var err error
	if a.ranks != nil {
		where := fmt.Sprintf("update %d", step+1)
		if reports, err = u.gather(where, reports, turns); err != nil {
			return o, err
		}
		if sums, err = a.ranks.sum(where, sums); err != nil {
			return o, err
		}
	}
	losses := make([]float64, len(turns))
	for i, r := range reports {
		losses[i%len(turns)] += float64(r.loss) / float64(len(reports)/len(turns))
	}
	total := 0.0
	for turn, which := range turns {
		if u.masked() {
			which = 0 // whichever it is, all have one line
		}
		o.Archs = append(o.Archs, ArchLoss{which, float32(losses[turn])})
		total += losses[turn] / float64(len(turns))
	}
	o.Loss = float32(total)
	if o.GradNorm, err = u.finish(state, lr, a, sums[0].value, sizes, !math.IsNaN(total) && !math.IsInf(total, 0)); err != nil {
		return o, err
	}
	return o, u.settle(state, turns, reports, o.Finite())
}

// batch does the parts of an update that are of one batch, number among all of the update, and
// returns what they reported and the sums of their gradients, in the order of what a applies.
func (u *accumulator) batch(state *State, a *applyProgram, turns []int, sizes []int32, step, number int, b Batch) (reports []report, sums []*tensors.Tensor, err error) {
	all, _ := u.parts()
	share := 1 / float64(len(turns)*all.to)
	u.sums = slices.Clone(u.zeros)
	teacher, err := u.teaching.logits(b.Batch, u.seed, step, number)
	if err != nil {
		return nil, nil, err
	}
	for _, which := range turns {
		values := u.gradients[which].batch.values(b.Labels, u.seed, step, number)
		r, taught, err := u.add(state, which, share, sizes, b.images, values, teacher)
		if err != nil {
			return nil, nil, err
		}
		if taught != nil {
			teacher = taught
		}
		reports = append(reports, r)
	}
	sums = a.used.Args(u.sums)
	if teacher != nil {
		err = u.gradients[0].program.Free(teacher)
	}
	return reports, sums, err
}

// pair adds sums to sums.
func (a *applyProgram) pair(first, second []*tensors.Tensor) ([]*tensors.Tensor, error) {
	both := slices.Concat(first, second)
	return a.add.RunDonating(both, len(both))
}

// settle moves the statistics of batch norms by what an update saw, if it was applied.
func (u *accumulator) settle(state *State, turns []int, reports []report, applied bool) error {
	for i, r := range reports {
		g := u.gradients[turns[i%len(turns)]]
		if g.move == nil {
			continue
		}
		if own := state.batchNormsOf(g.arch); applied {
			before := own.all()
			after, err := g.move.Run(append(slices.Clone(before), r.seen...))
			if err != nil {
				return err
			}
			own.replace(after)
			r.seen = append(r.seen, before...)
		}
		if err := g.move.Free(r.seen...); err != nil {
			return err
		}
	}
	return nil
}

// add adds the gradient of one part to the sums.
func (u *accumulator) add(state *State, which int, share float64, sizes []int32, images *tensors.Tensor, values []*tensors.Tensor, teacher *tensors.Tensor) (r report, teaching *tensors.Tensor, err error) {
	g := u.gradients[which]
	args := g.used.Args(state.Weights)
	args = append(args, state.batchNormsOf(g.arch).all()...)
	args = append(args, g.trained.Args(u.sums)...)
	spent := []*tensors.Tensor{tensors.FromScalar(float32(share))}
	if sizes != nil {
		spent = append(spent, tensors.FromFlatDataAndDimensions(sizes, 1, len(sizes)))
	}
	args = append(append(append(args, spent...), images), values...)
	spent = append(spent, values...)
	if g.batch.taught {
		args = append(args, teacher)
	}
	out, err := g.program.Run(args)
	if err != nil {
		return r, nil, err
	}
	if g.move != nil {
		count := len(supernet.Stats(u.net.Space().Model, g.arch))
		r.seen, out = out[:count:count], out[count:]
	}
	for _, i := range g.trained.Indices() {
		if u.sums[i] != u.zeros[i] {
			spent = append(spent, u.sums[i])
		}
	}
	out = g.trained.Store(u.sums, out)
	err = out[0].ConstFlatData(func(flat any) { r.loss = flat.([]float32)[0] })
	err = errors.Join(err, g.program.Free(append(spent, out[0])...))
	if g.teaches {
		teaching = out[1]
	}
	return r, teaching, err
}

// finish applies sums to the state.
func (u *accumulator) finish(state *State, lr float64, a *applyProgram, sums []*tensors.Tensor, sizes []int32, finite bool) (norm float32, err error) {
	var args []*tensors.Tensor
	for _, group := range state.groups() {
		args = append(args, a.used.Args(group)...)
	}
	flag := float32(0)
	if finite {
		flag = 1
	}
	args = append(append(args, state.Counts), sums...)
	args = append(args, tensors.FromScalar(float32(lr)), tensors.FromScalar(flag))
	if sizes != nil {
		args = append(args, tensors.FromFlatDataAndDimensions(sizes, 1, len(sizes)))
	}
	out, err := a.program.RunDonating(args, len(args))
	if err != nil {
		return 0, err
	}
	for _, group := range state.groups() {
		out = a.used.Store(group, out)
	}
	state.Counts = out[0]
	err = out[1].ConstFlatData(func(flat any) { norm = flat.([]float32)[0] })
	return norm, errors.Join(err, a.program.Free(out[1]))
}

func (u *accumulator) Close() {
	for _, g := range u.gradients {
		g.program.Close()
		if g.move != nil {
			g.move.Close()
		}
	}
	for _, a := range u.apply {
		a.program.Close()
		if a.add != nil {
			a.add.Close()
		}
		if a.ranks != nil {
			a.ranks.close()
		}
	}
	u.teaching.close()
}
