package job

import (
	"context"
	"errors"
	"fmt"
	"math"

	"prenas/internal/data"
	"prenas/internal/engine"
	"prenas/internal/input"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/train"
	"prenas/pkg/space"
)

// FinetuneOptions of Finetune.
type FinetuneOptions struct {
	Engine    *engine.Engine
	From      string // run that trained the weights, or the safetensors of an exported model
	Arch      string // name, or key of an interval (its best); empty: the only one there is
	Data      string
	ImageSize int // 0: as it was
	Recipe    recipe.Recipe
	Override  recipe.Override // what a command changes of the recipe, after it was suited to the images
	Seed      uint64
	Workers   int
	Out       string
	Command   string
	Log       func(string)
	Fetch     func(done, total int64)
	Progress  func(train.Status)
}

// Finetune trains one architecture further, on other images. They are normalised as the images were
// that it was trained on. Where they have other classes the head is drawn anew; where they have
// another size the positions are interpolated. The result is a run like any other, with the
// architecture as its one candidate.
func Finetune(ctx context.Context, o FinetuneOptions) (train.Result, error) {
	var none train.Result
	release, err := hold(o.Engine, o.Out)
	if err != nil {
		return none, err
	}
	defer release()
	start, err := openTrained(o.From, o.Arch, o.Log)
	if err != nil {
		return none, err
	}
	set, err := openSuited(ctx, o.Data, &o.Recipe, o.Override, o.Seed, o.Log, o.Fetch)
	if err != nil {
		return none, err
	}
	if start, err = start.suit(set.Classes, o.ImageSize, o.Seed, o.Log); err != nil {
		return none, err
	}
	normaliseAs(set, start.look)
	model := start.space.Model
	images, err := train.NewImages(set, model, o.Recipe, o.Seed, o.Workers)
	if err != nil {
		return none, fmt.Errorf("%w %s: %w", input.Data, o.Data, err)
	}
	taughtBy := teacherFile(o.Recipe, "")
	teacher, err := openTeacher(ctx, o.Engine, taughtBy, o.Recipe, model, images.Info(), o.Log)
	if err != nil {
		return none, err
	}
	params := model.Params(start.arch)
	candidates := space.Candidates{{
		Key:        space.BinKey(math.Nextafter(float64(params)/1e6, math.Inf(1))),
		Candidates: []space.Candidate{{Arch: start.arch, Params: params}},
	}}
	result, err := train.Run(ctx, train.Options{
		Engine: o.Engine, Space: start.space, Candidates: candidates, Recipe: o.Recipe, Seed: o.Seed,
		Weights: start.weights, From: start.from, Teacher: teacher, TeacherFile: taughtBy,
		Source: images, SourceName: o.Data, Images: images.Info(), Out: o.Out, Command: o.Command, Log: o.Log, Progress: o.Progress,
	})
	err = noteSkippedOfAll(o.Engine, o.Out, images.Skipped(), err, o.Log)
	return result, errors.Join(err, closeTeacher(teacher))
}

// normaliseAs gives a data set the mean and deviation of the images that weights were trained on,
// where these are known.
func normaliseAs(set *data.Dataset, look rundir.ImageInfo) {
	if len(look.Mean) > 0 {
		set.Mean, set.Std = look.Mean, look.Std
	}
}
