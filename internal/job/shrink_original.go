package job

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"

	"prenas/internal/data"
	"prenas/internal/data/source"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/export"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/rundir"
	"prenas/internal/train"
)

// read reads the pretrained model, and tells what is assumed of it.
func (o ShrinkOptions) read() (*export.Model, error) {
	imported, model, _, err := ImportOptions{File: o.File, Form: FormAuto, Hints: o.Hints, Licence: o.Licence}.read()
	for _, note := range imported.Notes {
		o.Log("note: " + note)
	}
	return model, err
}

// original writes the pretrained model as it is shrunk: of the size of image that is asked for,
// with a head for the images' classes, its units sorted by importance. fit: a head that is new is
// fitted; else it stays as it was drawn. It returns whether there is a new one.
func (o ShrinkOptions) original(ctx context.Context, e *engine.Engine, model *export.Model, to string, fit bool) (drawn bool, err error) {
	t, err := trainedAs(model)
	if err != nil {
		return false, fmt.Errorf("%s: %w", o.File, err)
	}
	// The images are those of the training, with the same ones held out, which tells about them.
	by := o.Recipe
	set, err := openSuited(ctx, o.Data, &by, o.Override, o.Seed, func(string) {}, o.Fetch)
	if err != nil {
		return false, err
	}
	if t, err = t.suit(set.Classes, o.ImageSize, o.Seed, o.Log); err != nil {
		return false, err
	}
	if t.drawn && fit {
		normaliseAs(set, t.look)
		images, err := train.NewImages(set, t.space.Model, by, o.Seed, o.Workers)
		if err != nil {
			return false, fmt.Errorf("%w %s: %w", input.Data, o.Data, err)
		}
		if err := t.fitHead(ctx, e, images, set, o.Log, o.Features); err != nil {
			return false, err
		}
	}
	about := model.Info
	about.Classes = set.Classes
	about.Preprocess.Size, about.Preprocess.Resize = t.space.Model.ImageSize, by.Augment.TestResize(t.space.Model.ImageSize)
	stats, err := rundir.RunningStats(t.weights, t.space.Model, t.arch)
	if err != nil {
		return false, err
	}
	maps.Copy(t.weights, stats)
	if model, err = export.Take(t.weights, t.space.Model, t.arch, about); err != nil {
		return false, err
	}
	s, err := shrinkableSpace(t.space.Model, t.arch)
	if err != nil {
		return false, fmt.Errorf("%s %w: %w", o.File, ErrImport, err)
	}
	// Importance is what the outputs for the images' classes lose, so the head comes first.
	ordering := Ordering{Engine: e, Data: o.Data, Workers: o.Workers, Seed: o.Seed, Log: o.Log, Progress: o.Gradients}
	if model, err = ordering.ordered(ctx, s, model); err != nil {
		return false, err
	}
	if err := fsys.OS.MkdirAll(filepath.Dir(to)); err != nil {
		return false, fmt.Errorf("folder of the original: %w", err)
	}
	return t.drawn, writeImported(model, s, to, o.Command)
}

// openModelInfo is what a model's file says of it.
func openModelInfo(path string) (export.Info, error) {
	m, err := export.Read(fsys.OS, path)
	if err != nil {
		return export.Info{}, err
	}
	return m.Info, nil
}

// evaluateOriginal measures the whole that a run's family was shrunk from, on the images and in the
// way that the family is measured.
func evaluateOriginal(ctx context.Context, o EvaluateOptions, m rundir.Manifest, whole trained) (results evaluate.Results, err error) {
	o.Data, o.Split = m.Data.Place(), cmp.Or(o.Split, Splits[0])
	set, split, err := openSplit(ctx, o, m)
	if err != nil {
		return results, err
	}
	normaliseAs(set, m.Data.ImageInfo)
	images, err := train.NewImages(set, whole.space.Model, m.Recipe, m.Seed, o.Workers)
	if err != nil {
		return results, fmt.Errorf("%w %s: %w", input.Data, o.Data, err)
	}
	var seen evaluate.Seen
	observe := func(_, image, label int, logits []float32) { seen.Add(image, label, logits) }
	score, err := whole.observed(ctx, o.Engine, images, split, o.Batch, observe, func(done int) { o.Progress(done, split.Len()) })
	if err != nil {
		return results, err
	}
	results = evaluate.Results{
		Space: whole.space.Name, Data: evaluate.Images{Source: source.Absolute(o.Data), Named: m.Data.GivenName(), Digest: set.Digest},
		Split: o.Split, Classes: m.Data.Classes, Images: score.Images, Bad: len(images.Skipped().List()), Crops: 1,
		ImageSize: whole.space.Model.ImageSize, Resize: m.Recipe.Augment.TestResize(whole.space.Model.ImageSize), Precision: engine.Float32,
	}
	results.Archs = []evaluate.Result{evaluate.NewResult(whole.space.Model, "", whole.arch, score, seen, func(image int) string { return data.NameOf(split, image) })}
	return results, nil
}
