package evaluate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// Masked evaluates any architecture of a supernet with one program. It can evaluate several models at
// once, whose weights have a leading axis of models.
type Masked struct {
	engine        *engine.Engine
	net           *supernet.Net
	models, batch int
	program       *engine.Program
}

// NewMasked compiles the program, for a number of models and for batches of up to batch images. Its
// products are in float32, since its results are compared over machines and years.
func NewMasked(e *engine.Engine, net *supernet.Net, models, batch int) (*Masked, error) {
	params, m := net.Params(), net.Space().Model
	var inputs []shapes.Shape
	for _, p := range params {
		dims := p.Shape
		if models > 1 {
			dims = append([]int{models}, dims...)
		}
		inputs = append(inputs, shapes.Make(dtypes.Float32, dims...))
	}
	inputs = append(inputs,
		shapes.Make(dtypes.Int32, models, net.SizesLen()),
		shapes.Make(dtypes.Float32, batch, m.Channels, m.ImageSize, m.ImageSize),
		shapes.Make(dtypes.Int32, batch))
	program, err := e.Compile("masked evaluate", inputs, func(in []*graph.Node) []*graph.Node {
		weights := make([]*graph.Node, len(params))
		for i, p := range params {
			weights[i] = graph.Reshape(in[i], append([]int{models}, p.Shape...)...)
		}
		rest := in[len(params):]
		logits := net.MaskedLogits(weights, rest[1], supernet.Masked{Sizes: rest[0]})
		tallies := make([]*graph.Node, models)
		for i := range tallies {
			own := graph.Slice(logits, graph.AxisElem(i))
			tallies[i] = tally(graph.Reshape(own, batch, m.NumClasses), rest[2])
		}
		return []*graph.Node{graph.Stack(tallies, 0)}
	})
	if err != nil {
		return nil, fmt.Errorf("masked evaluation of %s: %w", net.Space().Name, err)
	}
	return &Masked{engine: e, net: net, models: models, batch: batch, program: program}, nil
}

// Close frees the program.
func (ev *Masked) Close() { ev.program.Close() }

// Run evaluates archs, one for each model, on all batches. weights are by Params index on the device,
// and stay valid. Where logits are not finite it returns an error that wraps ErrNonFinite together
// with the scores.
func (ev *Masked) Run(ctx context.Context, weights []*tensors.Tensor, archs []space.Arch, batches iter.Seq2[Batch, error]) ([]Score, error) {
	if len(archs) != ev.models {
		return nil, fmt.Errorf("masked evaluation: %d architectures for %d models", len(archs), ev.models)
	}
	var flat []int32
	for _, a := range archs {
		flat = append(flat, ev.net.Sizes(a)...)
	}
	sizes := tensors.FromFlatDataAndDimensions(flat, ev.models, ev.net.SizesLen())
	defer sizes.FinalizeAll()
	scores, done := make([]Score, ev.models), 0
	for batch, err := range batches {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = ev.add(scores, weights, sizes, batch)
		}
		if err != nil {
			return nil, fmt.Errorf("evaluation after %d images: %w", done, err)
		}
		done += batch.count()
	}
	if done == 0 {
		return nil, ErrNoImages
	}
	return scores, whole(scores, archs, done)
}

// add runs the program on one batch.
func (ev *Masked) add(scores []Score, weights []*tensors.Tensor, sizes *tensors.Tensor, b Batch) error {
	each := make([]*Score, len(scores))
	for i := range scores {
		each[i] = &scores[i]
	}
	return tallied(ev.engine, ev.program, ev.net.Space().Model, append(append([]*tensors.Tensor{}, weights...), sizes), b, ev.batch, each)
}

// tallied runs a program on a batch and adds its tallies to scores. The program takes the images and
// the labels after args, and returns a tally for each score.
func tallied(e *engine.Engine, program *engine.Program, m space.Model, args []*tensors.Tensor, b Batch, size int, scores []*Score) error {
	on, err := b.upload(e, m, size, 1)
	if err != nil {
		return err
	}
	began := time.Now()
	out, err := program.Run(append(args[:len(args):len(args)], on.images, on.targets))
	if err == nil {
		values := make([]float32, len(scores)*tallyColumns)
		err = out[0].ConstFlatData(func(flat any) { copy(values, flat.([]float32)) })
		for i, s := range scores {
			s.Seconds += time.Since(began).Seconds() / float64(len(scores))
			s.add(b.count(), values[i*tallyColumns:][:tallyColumns])
		}
		err = errors.Join(err, out[0].FinalizeAll())
	}
	return errors.Join(err, on.free())
}
