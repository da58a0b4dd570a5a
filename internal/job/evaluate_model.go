package job

import (
	"context"
	"errors"
	"fmt"

	"prenas/internal/classify"
	"prenas/internal/data"
	"prenas/internal/data/source"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/printable"
)

// evaluateModel measures an exported model, safetensors or ONNX, on the test images. It
// writes nothing but the predictions that are asked for.
func evaluateModel(ctx context.Context, o EvaluateOptions) (results evaluate.Results, err error) {
	m, err := classify.Open(ctx, o.Run, classify.Options{Engine: o.Engine, Backend: o.Backend, Stop: ctx.Done(), Batch: o.Batch, Crops: o.Crops, Precision: o.Precision, Log: o.Log})
	if err != nil {
		return results, err
	}
	defer func() {
		if closed := m.Close(); err == nil {
			err = closed
		}
	}()
	info := m.Info()
	if p := info.Preprocess; o.Crops > 1 && p.Resize == p.Size {
		return results, fmt.Errorf("%w %d: the model's images are resized to %s, all that it takes, so there is nothing to crop", input.Crops, o.Crops, printable.Count(p.Resize, "pixel"))
	}
	named := o.Data != ""
	if !named {
		o.Data = info.Data.Source
	}
	set, err := openTest(ctx, o)
	if err == nil && !named {
		err = sameImages(set, o.Data, info.Data.Digest, o.Run)
	}
	if err != nil {
		return results, err
	}
	test, err := labelledFor(set.Test, set.Classes, info.Classes, info.Architecture.NumClasses, o.Log)
	if err != nil {
		return results, fmt.Errorf("%w %s does not suit %s: %w", input.Data, o.Data, o.Run, err)
	}
	indices := func(yield func(int) bool) {
		for i := range test.Len() {
			if !yield(i) {
				return
			}
		}
	}
	var score evaluate.Score
	var seen evaluate.Seen
	said := evaluate.NewPredictions(1)
	var skipped data.Skipped
	load := func(i int, use func(data.Image) error) error { return data.Whole(test, i, use) }
	for outcome, err := range classify.Stream(ctx, m, indices, o.Workers, load) {
		if err == nil {
			err = outcome.Err
		}
		if bad := (*data.DamagedImage)(nil); o.SkipBad && errors.As(err, &bad) {
			skipped.Add(bad)
			continue
		}
		if errors.Is(err, classify.ErrNonFinite) {
			return results, fmt.Errorf("%s: after %s: %w", o.Run, printable.Count(score.Images, "image"), err)
		}
		if err != nil {
			return results, fmt.Errorf("%w %s, after %s: %w", input.Data, o.Data, printable.Count(score.Images, "image"), err)
		}
		score.AddImage(outcome.Logits, test.Label(outcome.Item))
		seen.Add(outcome.Item, test.Label(outcome.Item), outcome.Logits)
		if o.Predictions != "" {
			said.Add(0, outcome.Item, test.Label(outcome.Item), outcome.Logits)
		}
		if o.Progress != nil {
			o.Progress(score.Images, test.Len())
		}
	}
	tellSkipped(&skipped, o.Log)
	if score.Images == 0 {
		return results, fmt.Errorf("%w %s: %w", input.Data, o.Data, evaluate.ErrNoImages)
	}
	score.Loss /= float64(score.Images)
	computing, _ := m.Spent()
	score.Seconds = computing.Seconds()
	results = evaluate.Results{
		Data:    evaluate.Images{Source: source.Absolute(o.Data), Named: o.Data, Digest: set.Digest},
		Classes: info.Classes,
		Split:   "test", Images: score.Images, Bad: len(skipped.List()), Crops: o.Crops, ImageSize: info.Preprocess.Size, Resize: info.Preprocess.Resize,
		Step: info.Training.Steps, Steps: info.Training.Of, Precision: m.Precision(),
	}
	results.Archs = []evaluate.Result{evaluate.NewResult(info.SpaceModel(), "", info.CutArch(), score, seen, func(image int) string { return data.NameOf(test, image) })}
	if o.Predictions != "" {
		err = said.Write(fsys.OS, o.Predictions, results, func(image int) string { return data.NameOf(test, image) })
	}
	return results, err
}

// ErrNoTest: there is nothing to measure on but what a run held out.
var ErrNoTest = errors.New("has no test images")

// openTest opens the images to measure on.
func openTest(ctx context.Context, o EvaluateOptions) (*data.Dataset, error) {
	set, err := source.Open(ctx, o.Data, source.Options{Log: o.Log})
	if err == nil && set.Test.Len() == 0 {
		err = fmt.Errorf("%w %s %w: a folder needs test or val beside train, shards need one of these in their names; %v held-out measures a run on the training images that it held out", input.Data, o.Data, ErrNoTest, input.Split)
	}
	return set, err
}
