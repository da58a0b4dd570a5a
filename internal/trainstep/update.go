package trainstep

import (
	"prenas/internal/data/load"
	"prenas/internal/engine"
	"prenas/internal/recipe"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// Updater does the updates of a run, with compiled programs that hold none of its state.
type Updater interface {
	// Update does update number step (from 0) on the recipe's accumulate batches, or on those
	// of them that are in the share of this rank. The batches stay as they are.
	Update(state *State, lr float64, step int, batches []Batch) (Outcome, error)
	Close()
}

// Outcome of an update: what each part of it, an architecture, reported.
type Outcome struct {
	Stats
	Archs []ArchLoss
}

type ArchLoss struct {
	Index int // index of the run's parts
	Loss  float32
}

// Config says what an updater trains.
type Config struct {
	Engine  *engine.Engine
	Net     *supernet.Net
	Recipe  recipe.Recipe
	Archs   []space.Arch
	Sampler recipe.ArchSampler // of Archs
	Seed    uint64
	Teacher Teacher   // nil where the recipe names no file of one
	Weights []float32 // of classes in the loss; nil: all alike

	// Share of each update's batches that is this rank's, of those of Engine; zero: it trains alone.
	Share load.Share
}

// NewUpdater compiles what the recipe's sampler needs. It calls compiling before each program;
// an error of it ends all.
func NewUpdater(c Config, compiling func(done, total int, arch string) error) (Updater, error) {
	r := c.Recipe
	switch {
	case !c.Share.All() || r.Accumulate > 1 || r.Sampler.Name == recipe.Sandwich:
		return newAccumulator(c, compiling)
	case r.Sampler.Name == recipe.WholeSpace:
		return newMaskedUpdater(c, compiling)
	}
	u := &staticUpdater{run: stepInputs{engine: c.Engine, recipe: r, space: c.Net.Space(), weights: c.Weights, taught: !r.Distill.IsZero()}, seed: c.Seed, archs: c.Archs, sampler: c.Sampler}
	var err error
	if u.teaching, err = newTeaching(c.Engine, r, c.Net.Space().Model, load.Share{}, c.Teacher); err != nil {
		return nil, err
	}
	for i, arch := range c.Archs {
		if err := compiling(i, len(c.Archs), arch.String()); err != nil {
			u.Close()
			return nil, err
		}
		program, err := compileStep(c.Engine, c.Net, arch, r, u.inputs(i).form())
		if err != nil {
			u.Close()
			return nil, err
		}
		u.steps = append(u.steps, program)
	}
	return u, nil
}

// staticUpdater trains one architecture in each update, with a program of its own that does
// forward, backward and update at once.
type staticUpdater struct {
	run     stepInputs
	seed    uint64
	archs   []space.Arch
	sampler recipe.ArchSampler
	steps   []*step

	teaching *teaching
}

func (u *staticUpdater) inputs(which int) stepInputs {
	in := u.run
	in.arch = u.archs[which]
	return in
}

func (u *staticUpdater) Update(state *State, lr float64, step int, batches []Batch) (Outcome, error) {
	which, b := u.sampler.At(step)[0], batches[0]
	values := u.inputs(which).values(b.Labels, u.seed, step, 0)
	teacher, err := u.teaching.logits(b.Batch, u.seed, step, 0)
	if err != nil {
		return Outcome{}, err
	}
	if teacher != nil {
		values = append(values, teacher)
	}
	stats, err := u.steps[which].run(state, lr, b.images, values...)
	return Outcome{stats, []ArchLoss{{which, stats.Loss}}}, err
}

func (u *staticUpdater) Close() {
	for _, s := range u.steps {
		s.close()
	}
	u.teaching.close()
}

// maskedUpdater trains an architecture of the whole space in each update, with one masked
// program, or one for each resolution of a convolutional space.
type maskedUpdater struct {
	steps map[int]*MaskedStep // by resolution; 0 of vision transformers
	space *space.Space
	seed  uint64
}

// anyArch is what masked programs are compiled for, in words.
const anyArch = "any architecture of the space"

// resolutions that each have a masked program: those of a convolutional space; 0 of vision transformers.
func resolutions(s *space.Space) []int {
	if s.Model.IsConv() {
		return s.Resolution
	}
	return []int{0}
}

func newMaskedUpdater(c Config, compiling func(done, total int, arch string) error) (Updater, error) {
	u := maskedUpdater{map[int]*MaskedStep{}, c.Net.Space(), c.Seed}
	all := resolutions(u.space)
	for i, resolution := range all {
		err := compiling(i, len(all), anyArch)
		if err == nil {
			u.steps[resolution], err = NewMaskedStep(c.Engine, c.Net, c.Recipe, c.Weights, 1, resolution)
		}
		if err == nil {
			u.steps[resolution].teaching, err = newTeaching(c.Engine, c.Recipe, c.Net.Space().Model, load.Share{}, c.Teacher)
		}
		if err != nil {
			u.Close()
			return nil, err
		}
	}
	return u, nil
}

func (u maskedUpdater) Update(state *State, lr float64, step int, batches []Batch) (Outcome, error) {
	arch := recipe.DrawArch(u.space, u.seed, step)
	stats, err := u.steps[arch.Resolution].run(state, []space.Arch{arch}, lr, batches[0], u.seed, step)
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{stats[0], []ArchLoss{{0, stats[0].Loss}}}, nil
}

func (u maskedUpdater) Close() {
	for _, s := range u.steps {
		if s != nil {
			s.Close()
		}
	}
}
