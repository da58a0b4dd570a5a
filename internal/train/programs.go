package train

import (
	"context"
	"fmt"

	"prenas/internal/evaluate"
	"prenas/internal/trainstep"
)

// programs are all compiled programs of a run; they hold none of its state.
type programs struct {
	updater    trainstep.Updater
	evaluator  *evaluate.Evaluator
	calibrator *evaluate.Calibrator // nil: steps keep what statistics there are
}

func (p *programs) close() {
	if p.updater != nil {
		p.updater.Close()
	}
	if p.evaluator != nil {
		p.evaluator.Close()
	}
	if p.calibrator != nil {
		p.calibrator.Close()
	}
}

// compile builds every program of the run before its first step: whatever stops it loses
// nothing, for what there is of the run is in its directory.
func (t *trainer) compile(ctx context.Context) error {
	err := t.compilePrograms(ctx)
	if err != nil && ctx.Err() == nil {
		return err
	}
	stop, failed := t.world().Any("the first update", err != nil)
	if failed != nil {
		return failed
	}
	if stop {
		return t.interrupted()
	}
	return nil
}

func (t *trainer) compilePrograms(ctx context.Context) error {
	p := t.programs
	if p.updater == nil {
		u, err := trainstep.NewUpdater(trainstep.Config{
			Engine: t.Engine, Net: t.net, Recipe: t.Recipe, Archs: t.archs, Sampler: t.sampler, Seed: t.Seed, Teacher: t.Teacher, Weights: t.Recipe.WeightsOf(t.Source.ClassCounts()), Share: t.share,
		}, func(done, total int, arch string) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			t.Log(fmt.Sprintf("compiling %d/%d: %s", done+1, total, arch))
			return nil
		})
		if err != nil {
			return err
		}
		p.updater = u
	}
	if p.calibrator == nil {
		var err error
		if p.calibrator, err = t.newCalibrator(); err != nil {
			return err
		}
	}
	if _, heldOut := t.Source.Counts(); heldOut > 0 && p.evaluator == nil {
		var err error
		if p.evaluator, err = evaluate.New(t.Engine, t.net, t.archs, t.evalBatch(), 1, trainstep.Precision(t.Recipe)); err != nil {
			return err
		}
		p.evaluator.Ranks = t.world()
	}
	return nil
}

// evalBatch is the batch size of evaluations.
func (t *trainer) evalBatch() int {
	_, heldOut := t.Source.Counts()
	return min(heldOut, t.Recipe.Batch)
}
