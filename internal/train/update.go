package train

import (
	"fmt"

	"prenas/internal/evaluate"
	"prenas/internal/recipe"
	"prenas/pkg/space"
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
	case r.Sampler.Name == recipe.WholeSpace:
		return newAnyArchs(t, compiling)
	case r.Accumulate > 1 || r.Sampler.Name == recipe.Sandwich:
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
	sampler recipe.ArchSampler
	steps   []*step

	teaching *teaching
}

func (u *oneArch) inputs(which int) inputs {
	in := u.run
	in.arch = u.archs[which]
	return in
}

func (u *oneArch) update(state *State, lr float64, step int, batches []evaluate.Batch) (outcome, error) {
	which := u.sampler.At(step)[0]
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
// program, or one for each resolution of a convolutional space.
type anyArchs struct {
	steps map[int]*MaskedStep // by resolution; 0 of vision transformers
	space *space.Space
	seed  uint64
}

func newAnyArchs(t *trainer, compiling func(done, total int, arch string) error) (updater, error) {
	u := anyArchs{map[int]*MaskedStep{}, t.Space, t.Seed}
	resolutions := t.Space.Resolution
	if !t.Space.Model.IsConv() {
		resolutions = []int{0}
	}
	for i, resolution := range resolutions {
		err := compiling(i, len(resolutions), "any architecture of the space")
		if err == nil {
			u.steps[resolution], err = NewMaskedStep(t.Engine, t.net, t.Recipe, 1, resolution)
		}
		if err == nil {
			u.steps[resolution].teaching, err = newTeaching(t.Engine, t.Recipe, t.Space.Model, t.Teacher)
		}
		if err != nil {
			u.close()
			return nil, err
		}
	}
	return u, nil
}

func (u anyArchs) update(state *State, lr float64, step int, batches []evaluate.Batch) (outcome, error) {
	arch := recipe.DrawArch(u.space, u.seed, step)
	stats, err := u.steps[arch.Resolution].Run(state, []space.Arch{arch}, lr, batches[0], u.seed, step)
	if err != nil {
		return outcome{}, err
	}
	return outcome{stats[0], []part{{0, stats[0].Loss}}}, nil
}

func (u anyArchs) close() {
	for _, s := range u.steps {
		if s != nil {
			s.Close()
		}
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
