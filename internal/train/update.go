package train

import (
	"fmt"

	"prenas/internal/evaluate"
	"prenas/internal/space"
)

// updater does the updates of a run, with compiled programs that hold none of its state.
type updater interface {
	// update does update number step (from 0) on the recipe's accumulate batches.
	update(state *State, lr float64, step int, batches []evaluate.Batch) (outcome, error)
	close()
}

// outcome of an update: what each part of it, an architecture, reported.
type outcome struct {
	Stats
	parts []part
}

type part struct {
	which int // index of the run's parts
	loss  float32
}

// newUpdater compiles what the recipe's sampler needs.
func (t *trainer) newUpdater(compiling func(done, total int, arch string) error) (updater, error) {
	r := t.Recipe
	switch {
	case r.Sampler.Name == spaceSampler:
		if err := compiling(0, 1, "any architecture of the space"); err != nil {
			return nil, err
		}
		step, err := NewMaskedStep(t.Engine, t.net, r, 1)
		if err == nil {
			step.teaching, err = newTeaching(t.Engine, r, t.Space.Model, t.Teacher)
		}
		return anyArchs{step, t.Space, t.Seed}, err
	case r.Accumulate > 1 || r.Sampler.Name == sandwichSampler:
		return newSummed(t, compiling)
	}
	u := &oneArch{run: inputs{engine: t.Engine, recipe: r, space: t.Space, taught: !r.Distill.IsZero()}, seed: t.Seed, archs: t.archs, sampler: t.sampler}
	var err error
	if u.teaching, err = newTeaching(t.Engine, r, t.Space.Model, t.Teacher); err != nil {
		return nil, err
	}
	for i, arch := range t.archs {
		if err := compiling(i, len(t.archs), arch.String()); err != nil {
			u.close()
			return nil, err
		}
		program, err := compileStep(t.Engine, t.net, arch, r, u.inputs(i).form())
		if err != nil {
			u.close()
			return nil, err
		}
		u.steps = append(u.steps, program)
	}
	return u, nil
}

// oneArch trains one architecture in each update, with a program of its own that does
// forward, backward and update at once.
type oneArch struct {
	run     inputs
	seed    uint64
	archs   []space.Arch
	sampler sampler
	steps   []*step

	teaching *teaching
}

func (u *oneArch) inputs(which int) inputs {
	in := u.run
	in.arch = u.archs[which]
	return in
}

func (u *oneArch) update(state *State, lr float64, step int, batches []evaluate.Batch) (outcome, error) {
	which := u.sampler.at(step)[0]
	batch, err := u.inputs(which).values(batches[0], u.seed, step, 0)
	if err != nil {
		return outcome{}, err
	}
	teacher, err := u.teaching.logits(batches[0], u.seed, step, 0)
	if err != nil {
		return outcome{}, err
	}
	if teacher != nil {
		batch = append(batch, teacher)
	}
	stats, err := u.steps[which].run(state, lr, batch...)
	return outcome{stats, []part{{which, stats.Loss}}}, err
}

func (u *oneArch) close() {
	for _, s := range u.steps {
		s.close()
	}
	u.teaching.close()
}

// anyArchs trains an architecture of the whole space in each update, with one masked
// program.
type anyArchs struct {
	step  *MaskedStep
	space *space.Space
	seed  uint64
}

func (u anyArchs) update(state *State, lr float64, step int, batches []evaluate.Batch) (outcome, error) {
	stats, err := u.step.Run(state, []space.Arch{anyArch(u.space, u.seed, step)}, lr, batches[0], u.seed, step)
	if err != nil {
		return outcome{}, err
	}
	return outcome{stats[0], []part{{0, stats[0].Loss}}}, nil
}

func (u anyArchs) close() {
	if u.step != nil {
		u.step.Close()
	}
}

// skipped says what an update that was not applied reported.
func (o outcome) skipped(step int, names []string) string {
	text := fmt.Sprintf("step %d", step)
	for _, p := range o.parts {
		text += fmt.Sprintf(", loss %v of %s", p.loss, names[p.which])
	}
	return fmt.Sprintf("%s, gradient norm %v: not applied", text, o.GradNorm)
}
