package train

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"prenas/internal/augment"
	"prenas/internal/data"
	"prenas/internal/data/inspect"
	"prenas/internal/data/load"
	"prenas/internal/evaluate"
	"prenas/internal/printable"
	"prenas/internal/recipe"
	"prenas/internal/rng"
	"prenas/internal/rundir"
	"prenas/pkg/space"
)

// Images is a Source over an open data set, as a recipe and a model take it.
type Images struct {
	set     *data.Dataset
	options load.Options
	skipped data.Skipped
}

// NewImages checks that the data set fits the model. workers prepare images ahead of
// the step (0: one per core); their number changes nothing else.
func NewImages(set *data.Dataset, m space.Model, r recipe.Recipe, seed uint64, workers int) (*Images, error) {
	if len(set.Classes) > m.NumClasses {
		return nil, fmt.Errorf("the images have %s, the model %d", printable.Count(len(set.Classes), "class"), m.NumClasses)
	}
	if m.Channels != 1 && m.Channels != 3 {
		return nil, fmt.Errorf("the model takes %s, images have 1 (grey) or 3 (red, green, blue): set CHANNELS in the space's MODEL block", printable.Count(m.Channels, "channel"))
	}
	o := load.Options{
		Channels: m.Channels, Size: m.ImageSize, Seed: seed, Workers: workers,
		Augment: r.Augment.Options(), Repeat: r.Augment.RepeatedAug,
		Balance: r.BalanceClasses,
		Test:    augment.Test{Resize: r.Augment.TestResize(m.ImageSize)},
	}
	if o.Mean, o.Std = set.Mean, set.Std; len(o.Mean) != m.Channels {
		o.Mean, o.Std = data.Statistics(m.Channels)
	}
	if r.FillLast {
		o.Filled = func(images int) int { return r.PerEpoch(images) * r.Accumulate }
	}
	images := &Images{set: set, options: o}
	if r.SkipBadImages {
		images.options.Skip = &images.skipped
	}
	return images, nil
}

// Skipped are the damaged images that were left out until now.
func (s *Images) Skipped() *data.Skipped { return &s.skipped }

// Look of the images, as the model sees them.
func (s *Images) Info() rundir.ImageInfo {
	return rundir.ImageInfo{Mean: s.options.Mean, Std: s.options.Std, Classes: s.set.Classes}
}

// Counts implements Source.
func (s *Images) Counts() (train, heldOut int) { return s.set.Train.Len(), s.set.HeldOut.Len() }

// ClassCounts implements Source.
func (s *Images) ClassCounts() []int { return data.LabelCounts(s.set.Train, len(s.set.Classes)) }

// Digest implements Source.
func (s *Images) Digest() string { return s.set.Digest }

// Contents are the digests of the images that were read; nil where they are not files.
func (s *Images) Contents() *data.Contents { return s.set.Contents }

// Train implements Source.
func (s *Images) Train(ctx context.Context, epoch, from, size int, share load.Share) iter.Seq2[evaluate.Batch, error] {
	o := s.options
	o.Train, o.Batch, o.Share = true, size, share
	return batches(ctx, s.set.Train, o, epoch, from)
}

// HeldOut implements Source.
func (s *Images) HeldOut(ctx context.Context, size int, share load.Share) iter.Seq2[evaluate.Batch, error] {
	return s.Plain(ctx, s.set.HeldOut, size, 1, share)
}

// Calibration implements Source: the images are drawn by the source's seed.
func (s *Images) Calibration(ctx context.Context, count, size int) (iter.Seq2[evaluate.Batch, error], error) {
	if all := s.set.Train.Len(); count*size > all {
		return nil, fmt.Errorf("%s fewer than %s of %d", printable.Are(all, "training image"), printable.Count(count, "batch"), size)
	}
	order := rng.New(s.options.Seed, "calibration").Perm(s.set.Train.Len())[:count*size]
	return s.Plain(ctx, drawn{s.set.Train, order}, size, 1, load.Share{}), nil
}

// drawn is some images of a split.
type drawn struct {
	data.Split
	order []int
}

func (d drawn) Len() int                        { return len(d.order) }
func (d drawn) Label(i int) int                 { return d.Split.Label(d.order[i]) }
func (d drawn) Image(i int) (data.Image, error) { return d.Split.Image(d.order[i]) }

// Plain yields a share of the batches of all images of a split in order, not augmented, as 1, 5 or
// 10 crops each.
func (s *Images) Plain(ctx context.Context, split data.Split, size, crops int, share load.Share) iter.Seq2[evaluate.Batch, error] {
	o := s.options
	o.Batch, o.Test.Crops, o.Share = size, crops, share
	return batches(ctx, split, o, 0, 0)
}

// batches streams one epoch of a split, beginning with batch from.
func batches(ctx context.Context, split data.Split, o load.Options, epoch, from int) iter.Seq2[evaluate.Batch, error] {
	return func(yield func(evaluate.Batch, error) bool) {
		loader, err := load.New(split, o)
		if err != nil {
			yield(evaluate.Batch{}, err)
			return
		}
		pixels := o.Channels * o.Size * o.Size
		if !o.Train {
			pixels *= max(o.Test.Crops, 1)
		}
		for b, err := range loader.Stream(ctx, epoch, from) {
			if err != nil {
				yield(evaluate.Batch{}, err)
				return
			}
			if !yield(evaluate.Batch{Images: b.Images[:b.Count*pixels], Labels: b.Labels[:b.Count]}, nil) {
				return
			}
		}
	}
}

// The picture of what augmentation makes of training images has a row for each of the first classes.
const (
	shownImages = 4
	shownEpochs = 6
	shownSide   = 96 // pixels of a thumbnail's side, at most
)

// Augmented is what augmentation makes of the first sound training image of each of the first classes,
// in the first epochs, seen as often as once in each.
func (s *Images) Augmented() (*inspect.Sheet, error) {
	o := s.options
	o.Batch = 1
	loader, err := load.New(s.set.Train, o)
	if err != nil {
		return nil, err
	}
	var rows [][]data.Image
	shown := map[int]bool{}
	for i := range s.set.Train.Len() {
		if len(rows) == shownImages {
			break
		}
		label := s.set.Train.Label(i)
		if shown[label] {
			continue
		}
		views, err := loader.Views(i, shownEpochs)
		var damaged *data.DamagedImage
		if errors.As(err, &damaged) {
			continue
		}
		if err != nil {
			return nil, err
		}
		rows, shown[label] = append(rows, views), true
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%w: no training image is sound", data.ErrEmpty)
	}
	sheet := inspect.NewSheet(1+shownEpochs, len(rows), min(shownSide, o.Size))
	for row, views := range rows {
		for column, view := range views {
			sheet.Put(column, row, view)
		}
	}
	return sheet, nil
}
