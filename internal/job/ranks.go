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

// hold locks a run directory. Of several ranks only the first does, since it alone writes.
func hold(e *engine.Engine, run string) (release func(), err error) {
	if !e.Ranks().First() {
		return func() {}, nil
	}
	return rundir.Hold(run)
}

// resolve is the precision to compute in. It may depend on timings, so the first rank decides for
// all.
func resolve(ctx context.Context, e *engine.Engine, p engine.Precision, log func(string)) (engine.Precision, error) {
	first, err := e.Ranks().Decided("the choice of precision", func() (string, error) {
		own, err := e.Resolve(ctx, p, log)
		return string(own), err
	})
	return engine.Precision(first), err
}

// noteSkippedOfAll notes, on the first rank, the images that any rank left out. ended is the error
// that the work before ended with; it is returned. Ranks are asked for their images only after
// success or an interruption, which all of them see. Any other error is of one rank alone, and the
// others would wait for it.
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

// allSkipped tells every rank which damaged images the others left out.
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
