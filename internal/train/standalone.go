package train

import (
	"context"
	"fmt"

	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/recipe"
	"prenas/internal/supernet"
	"prenas/internal/trainstep"
	"prenas/pkg/space"
)

// Standalone trains architectures each from scratch, with weights of its own, several in one
// program: what an architecture is worth without weight sharing.
type Standalone struct {
	step   *trainstep.MaskedStep
	test   *evaluate.Masked
	recipe recipe.Recipe
	images int
}

// evalImages is the batch size of Alone's evaluations.
const evalImages = 200

// NewStandalone compiles the programs for a number of models. images bounds the training
// images of an epoch; 0 is all of them. Products are in float32 whatever the recipe says,
// since what is found is compared over machines and years.
func NewStandalone(e *engine.Engine, net *supernet.Net, r recipe.Recipe, models, images int) (*Standalone, error) {
	if err := r.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", recipe.ErrInvalid, err)
	}
	if !r.Distill.IsZero() {
		return nil, fmt.Errorf("%w: distill.teacher has no place where architectures are trained alone", recipe.ErrInvalid)
	}
	r.Precision = string(engine.Float32)
	a := &Standalone{recipe: r, images: images}
	var err error
	if a.step, err = trainstep.NewMaskedStep(e, net, r, models, 0); err != nil {
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
	a.step.Close()
	a.test.Close()
}

// Train trains archs, one per model, from the same seed through all epochs of the recipe
// and measures them on the held-out images. A loss that is not finite is an error that
// wraps ErrNonFinite. progress, if not nil, is told the updates done.
func (a *Standalone) Train(ctx context.Context, archs []space.Arch, source Source, seed uint64, progress func(done, total int)) ([]evaluate.Score, error) {
	seeds := make([]uint64, len(archs))
	for i := range seeds {
		seeds[i] = seed
	}
	state, err := a.step.Start(seeds)
	if err != nil {
		return nil, err
	}
	defer state.Free()
	images, _ := source.Counts()
	if a.images > 0 {
		images = min(images, a.images)
	}
	perEpoch := images / a.recipe.Batch
	if perEpoch == 0 {
		return nil, fmt.Errorf("there are %d images to train on, fewer than one update takes (batch: %d): take a recipe with a smaller batch", images, a.recipe.Batch)
	}
	done, total := 0, perEpoch*a.recipe.Epochs
	for epoch := range a.recipe.Epochs {
		within := 0
		for b, err := range source.Train(ctx, epoch, 0, a.recipe.Batch) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return nil, err
			}
			stats, err := a.step.Run(state, archs, a.recipe.LearningRate(done, perEpoch), b, seed, done)
			if err != nil {
				return nil, fmt.Errorf("step %d: %w", done+1, err)
			}
			for i, s := range stats {
				if !s.Finite() {
					return nil, fmt.Errorf("%w: step %d of %s has loss %v; a smaller optimizer.lr in the recipe may help", ErrNonFinite, done+1, archs[i], s.Loss)
				}
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
			return nil, err
		}
	}
	return a.test.Run(ctx, state.Averaged(nil).Shared, archs, source.HeldOut(ctx, evalImages))
}
