package job

import (
	"context"
	"fmt"

	"prenas/internal/data/source"
	"prenas/internal/engine"
	"prenas/internal/export"
	"prenas/internal/importance"
	"prenas/internal/input"
	"prenas/internal/proxy"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Ordering says how Import sorts a model by importance.
type Ordering struct {
	Engine   *engine.Engine
	Data     string // source of images; empty: the model stays as it is
	Workers  int
	Seed     uint64
	Log      func(string)
	Progress func(done, total int)
}

// ordered sorts the model's units by their importance, which it measures on a batch of images. So
// slices, which take the first units, keep the most important ones; the whole model computes the
// same as before. The space gets the order of its blocks.
func (o Ordering) ordered(ctx context.Context, s *space.Space, m *export.Model) (*export.Model, error) {
	set, err := source.Open(ctx, o.Data, source.Options{Seed: o.Seed, Look: true, Log: o.Log})
	if err != nil {
		return nil, err
	}
	set.Mean, set.Std = m.Info.Preprocess.Mean, m.Info.Preprocess.Std
	batch, err := material{
		Scoring: Scoring{Data: o.Data, Batches: 1, Workers: o.Workers, Seed: o.Seed, Log: o.Log}, space: s, images: set,
	}.batch(ctx)
	if err != nil {
		return nil, err
	}
	weights, err := m.Weights()
	if err != nil {
		return nil, err
	}
	progress := func(before int) func(done, total int) {
		return func(done, _ int) { o.progress(before+done, batch.Images.Shape[0]+importance.Removals(s)) }
	}
	if s.Model.IsConv() {
		return o.orderedConv(ctx, s, m, weights, batch)
	}
	worth, err := proxy.Weigh(ctx, o.Engine, supernet.New(s), weights, batch, o.Seed, progress(0))
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", input.OrderBy, o.Data, err)
	}
	if weights, err = importance.Order(s, weights, worth); err != nil {
		return nil, err
	}
	d, err := proxy.NewDivergence(ctx, o.Engine, supernet.New(s), weights, batch)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	done := 0
	s.Layers, err = importance.Layers(s, func(a space.Arch) (float64, error) {
		done++
		progress(batch.Images.Shape[0])(done, 0)
		return d.Of(ctx, a)
	})
	if err != nil {
		return nil, err
	}
	return export.Take(weights, m.Info.SpaceModel(), m.Info.SpaceArch(), m.Info)
}

// orderedConv is ordered of a convolutional network, whose units keep their first blocks.
func (o Ordering) orderedConv(ctx context.Context, s *space.Space, m *export.Model, weights map[string]tensorfile.Tensor, batch proxy.ScoringBatch) (*export.Model, error) {
	worth, err := proxy.WeighConv(ctx, o.Engine, supernet.New(s), weights, batch, o.Seed, o.progress)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", input.OrderBy, o.Data, err)
	}
	if weights, err = importance.OrderConv(s, weights, worth); err != nil {
		return nil, err
	}
	return export.Take(weights, m.Info.SpaceModel(), m.Info.SpaceArch(), m.Info)
}

func (o Ordering) progress(done, total int) {
	if o.Progress != nil {
		o.Progress(done, total)
	}
}
