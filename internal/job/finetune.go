package job

import (
	"context"
	"errors"
	"fmt"
	"math"

	"prenas/internal/data"
	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/space"
	"prenas/internal/supernet"
	"prenas/internal/train"
)

// FinetuneOptions of Finetune.
type FinetuneOptions struct {
	Engine    *engine.Engine
	Run       string // that trained the weights
	Arch      string // name, or key of an interval (its best)
	Data      string
	ImageSize int // 0: as the run had it
	Recipe    train.Recipe
	Seed      uint64
	Workers   int
	Out       string
	Command   string
	Log       func(string)
	Fetch     func(done, total int64)
	Progress  func(train.Status)
}

// Finetune goes on training one architecture of a run on other images. Where
// they have other classes the head is drawn anew; where they have another size,
// positions are interpolated. The result is a run like any other, whose one
// candidate is the architecture.
func Finetune(ctx context.Context, o FinetuneOptions) (train.Result, error) {
	var none train.Result
	manifest, err := train.ReadManifest(fsys.OS, o.Run)
	if err != nil {
		return none, err
	}
	if o.Arch == AllArchs {
		return none, fmt.Errorf("--arch: %w: name one, not all", ErrUnknownArch)
	}
	chosen, err := chooseArchs(ExportOptions{Run: o.Run, Arch: o.Arch})
	if err != nil {
		return none, err
	}
	weights, _, err := train.Weights(fsys.OS, o.Run, manifest.Space, func(path string, why error) {
		o.Log(fmt.Sprintf("skipped %s: %v", path, why))
	})
	if err != nil {
		return none, err
	}
	set, err := data.Open(ctx, o.Data, data.Options{Seed: o.Seed, HeldOut: o.Recipe.Holdout, Log: o.Log, Progress: o.Fetch})
	if err != nil {
		return none, err
	}
	from := manifest.Space.Model
	s := *manifest.Space
	s.Interval, s.ModelGiven = space.Interval{}, true
	s.Model.NumClasses = len(set.Classes)
	if o.ImageSize != 0 {
		s.Model.ImageSize = o.ImageSize
		scale := float64(o.ImageSize) / float64(from.ImageSize)
		if from.RelativePosition {
			s.Model.MaxRelativePosition = max(1, int(math.Round(scale*float64(from.MaxRelativePosition))))
		}
	}
	if err := s.Validate(); err != nil {
		return none, fmt.Errorf("--image-size %d: %w", o.ImageSize, err)
	}
	if weights, err = supernet.Resize(from, s.Model, weights); err != nil {
		return none, fmt.Errorf("%s: %w", o.Run, err)
	}
	if s.Model.NumClasses != from.NumClasses {
		o.Log(fmt.Sprintf("%d classes instead of %d: the head is drawn anew", s.Model.NumClasses, from.NumClasses))
		drawn := supernet.New(&s).Init(o.Seed)
		for _, name := range []string{"head.weight", "head.bias"} {
			weights[name] = drawn[name]
		}
	}
	images, err := train.NewImages(set, s.Model, o.Recipe, o.Seed, o.Workers)
	if err != nil {
		return none, fmt.Errorf("--data %s: %w", o.Data, err)
	}
	arch := chosen[0].arch
	params := s.Model.Params(arch)
	candidates := space.Candidates{{
		Key:        space.BinKey(math.Nextafter(float64(params)/1e6, math.Inf(1))),
		Candidates: []space.Candidate{{Arch: arch, Params: params}},
	}}
	result, err := train.Run(ctx, train.Options{
		Engine: o.Engine, Space: &s, Candidates: candidates, Recipe: o.Recipe, Seed: o.Seed, Weights: weights,
		Source: images, SourceName: o.Data, Look: images.Look(), Out: o.Out, Command: o.Command, Log: o.Log, Progress: o.Progress,
	})
	return result, errors.Join(err, noteSkipped(o.Out, images.Skipped(), o.Log))
}
