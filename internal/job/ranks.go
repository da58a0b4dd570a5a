package job

import (
	"context"
	"encoding/json"
	"errors"

	"prenas/internal/data"
	"prenas/internal/engine"
	"prenas/internal/rundir"
	"prenas/internal/train"
)

// hold is rundir.Hold by the first of several ranks, which is the one that writes.
func hold(e *engine.Engine, run string) (release func(), err error) {
	if !e.Ranks().First() {
		return func() {}, nil
	}
	return rundir.Hold(run)
}

// resolve is the first rank's precision, which may be timed.
func resolve(ctx context.Context, e *engine.Engine, p engine.Precision, log func(string)) (engine.Precision, error) {
	first, err := e.Ranks().Decided("the choice of precision", func() (string, error) {
		own, err := e.Resolve(ctx, p, log)
		return string(own), err
	})
	return engine.Precision(first), err
}

// noteSkippedOfAll is noteSkipped of what any rank left out, by the first, after what ended with an
// error, which it returns. An error but that of being stopped is of one rank alone.
func noteSkippedOfAll(e *engine.Engine, run string, skipped *data.Skipped, ended error, log func(string)) error {
	if ended == nil || errors.Is(ended, train.ErrInterrupted) {
		if err := allSkipped(e, skipped); err != nil {
			return errors.Join(ended, err)
		}
	}
	if e.Ranks().First() {
		noteSkipped(run, skipped, log)
	}
	return ended
}

// allSkipped has every rank know the damaged images that any left out.
func allSkipped(e *engine.Engine, skipped *data.Skipped) error {
	if e.Ranks().Size() == 1 {
		return nil
	}
	text, err := json.Marshal(skipped.List())
	if err != nil {
		return err
	}
	all, err := e.Ranks().Gather("the damaged images", text)
	if err != nil {
		return err
	}
	for _, text := range all {
		var list []data.SkippedImage
		if err := json.Unmarshal(text, &list); err != nil {
			return err
		}
		for _, image := range list {
			skipped.Add(&data.DamagedImage{Name: image.Image, Err: errors.New(image.Why)})
		}
	}
	return nil
}
