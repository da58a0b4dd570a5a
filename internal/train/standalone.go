package train

import (
	"context"
	"errors"
	"fmt"

	"prenas/internal/data/load"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/printable"
	"prenas/internal/recipe"
	"prenas/internal/supernet"
	"prenas/internal/trainstep"
	"prenas/pkg/space"
)

// Standalone trains architectures each from scratch, with weights of its own: what an architecture is worth without weight
// sharing. Vision transformers share one program, several at a time. A convolutional network has programs of its own,
// compiled when it is trained, since its masked one takes the time of the whole supernet.
type Standalone struct {
	engine *engine.Engine
	net    *supernet.Net
	step   *trainstep.MaskedStep // nil for convolutional networks
	test   *evaluate.Masked      // likewise
	recipe recipe.Recipe
	images int
}

// evalImages is the batch size of Standalone's evaluations.
const evalImages = 200

// NewStandalone compiles the programs for a number of models, which is 1 for convolutional networks. images bounds the
// training images of an epoch; 0 is all of them. Products are in float32 whatever the recipe says,
// since what is found is compared over machines and years.
func NewStandalone(e *engine.Engine, net *supernet.Net, r recipe.Recipe, models, images int) (*Standalone, error) {
	if err := r.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", recipe.ErrInvalid, err)
	}
	if !r.Distill.IsZero() {
		return nil, fmt.Errorf("%w: distill.teacher has no place where architectures are trained alone", recipe.ErrInvalid)
	}
	if r.ClassWeights != "" {
		return nil, fmt.Errorf("%w: class_weights has no place where architectures are trained alone, balance_classes has", recipe.ErrInvalid)
	}
	r.Precision = string(engine.Float32)
	a := &Standalone{engine: e, net: net, recipe: r, images: images}
	if net.Space().Model.IsConv() {
		if models != 1 {
			return nil, fmt.Errorf("convolutional networks are trained alone one at a time, not %d", models)
		}
		return a, nil
	}
	var err error
	if a.step, err = trainstep.NewMaskedStep(e, net, r, nil, models, 0); err != nil {
		return nil, err
	}
	if a.test, err = evaluate.NewMasked(e, net, models, evalImages); err != nil {
		a.step.Close()
		return nil, err
	}
	return a, nil
}

// Close frees the programs.
func (a *Standalone) Close() {
	if a.step != nil {
		a.step.Close()
		a.test.Close()
	}
}

// Train trains archs, one per model, from the same seed through all epochs of the recipe
// and measures them on the held-out images. A loss that is not finite is an error that
// wraps ErrNonFinite. progress, if not nil, is told the updates done.
func (a *Standalone) Train(ctx context.Context, archs []space.Arch, source Source, seed uint64, progress func(done, total int)) ([]evaluate.Score, error) {
	if a.step == nil {
		return a.trainConv(ctx, archs[0], source, seed, progress)
	}
	seeds := make([]uint64, len(archs))
	for i := range seeds {
		seeds[i] = seed
	}
	state, err := a.step.Start(seeds)
	if err != nil {
		return nil, err
	}
	defer state.Free()
	err = a.epochs(ctx, source, progress, func(b evaluate.Batch, lr float64, done int) error {
		stats, err := a.step.Run(state, archs, lr, b, seed, done)
		if err != nil {
			return fmt.Errorf("step %d: %w", done+1, err)
		}
		for i, s := range stats {
			if err := whole(s, archs[i], done); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a.test.Run(ctx, state.Averaged(nil).Shared, archs, source.HeldOut(ctx, evalImages, load.Share{}))
}

// trainConv is Train of a convolutional network.
func (a *Standalone) trainConv(ctx context.Context, arch space.Arch, source Source, seed uint64, progress func(done, total int)) ([]evaluate.Score, error) {
	r, archs := a.recipe, []space.Arch{arch}
	r.Accumulate = 1 // as for vision transformers: an update is a batch
	r.Sampler = recipe.Sampler{Name: recipe.Uniform}
	updater, err := trainstep.NewUpdater(trainstep.Config{
		Engine: a.engine, Net: a.net, Recipe: r, Archs: archs, Sampler: recipe.NewArchSampler(r.Sampler.Name, seed, a.net.Space().Model, archs), Seed: seed,
	}, func(int, int, string) error { return ctx.Err() })
	if err != nil {
		return nil, err
	}
	defer updater.Close()
	state, err := trainstep.Upload(trainstep.NewState(a.net, r, a.net.Init(seed), arch), a.engine, a.net, arch)
	if err != nil {
		return nil, err
	}
	defer state.Free()
	err = a.epochs(ctx, source, progress, func(b evaluate.Batch, lr float64, done int) error {
		on, err := trainstep.Put(a.engine, a.net.Space().Model, b)
		if err != nil {
			return err
		}
		o, err := updater.Update(state, lr, done, []trainstep.Batch{on})
		if err = errors.Join(err, on.Free()); err != nil {
			return fmt.Errorf("step %d: %w", done+1, err)
		}
		return whole(o.Stats, arch, done)
	})
	if err != nil {
		return nil, err
	}
	test, err := evaluate.New(a.engine, a.net, archs, evalImages, 1, engine.Float32)
	if err != nil {
		return nil, err
	}
	defer test.Close()
	return test.Run(ctx, state.Averaged(archs), source.HeldOut(ctx, evalImages, load.Share{}), nil)
}

// whole refuses a step that is not finite.
func whole(s trainstep.Stats, arch space.Arch, done int) error {
	if s.Finite() {
		return nil
	}
	return fmt.Errorf("%w: step %d of %s has loss %v; a smaller optimizer.lr in the recipe may help", ErrNonFinite, done+1, arch, s.Loss)
}

// epochs calls update with each batch of all epochs of the recipe, its learning rate and how many were before.
func (a *Standalone) epochs(ctx context.Context, source Source, progress func(done, total int), update func(b evaluate.Batch, lr float64, done int) error) error {
	images, _ := source.Counts()
	if a.images > 0 {
		images = min(images, a.images)
	}
	perEpoch := images / a.recipe.Batch
	if perEpoch == 0 {
		return fmt.Errorf("%s to train on, fewer than one update takes (batch: %d): take a recipe with a smaller batch", printable.Count(images, "image"), a.recipe.Batch)
	}
	done, total := 0, perEpoch*a.recipe.Epochs
	for epoch := range a.recipe.Epochs {
		within := 0
		for b, err := range source.Train(ctx, epoch, 0, a.recipe.Batch, load.Share{}) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return err
			}
			if err := update(b, a.recipe.LearningRate(done, perEpoch), done); err != nil {
				return err
			}
			done++
			if progress != nil {
				progress(done, total)
			}
			if within++; within == perEpoch {
				break
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
