package evaluate

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// MaskedConv evaluates any architecture of a convolutional supernet that has a certain resolution. It
// has two programs: the first estimates the statistics of the architecture's batch norms, as a
// Calibrator does, and the second evaluates with them. Both compute the whole supernet.
type MaskedConv struct {
	net                 *supernet.Net
	engine              *engine.Engine
	resolution          int
	calibration, batch  int // images of a batch of each program
	calibrate, evaluate *engine.Program
}

// NewMaskedConv compiles the programs: the first for full batches of calibration images, the second for
// batches of up to batch images. Their products are in float32.
func NewMaskedConv(e *engine.Engine, net *supernet.Net, resolution, calibration, batch int) (*MaskedConv, error) {
	ev := &MaskedConv{net: net, engine: e, resolution: resolution, calibration: calibration, batch: batch}
	m, params := net.Space().Model, net.Params()
	stats := supernet.StatShapes(m, net.Whole())
	var begin []shapes.Shape
	for _, p := range params {
		begin = append(begin, shapes.Make(dtypes.Float32, p.Shape...))
	}
	begin = append(append(begin, shapes.Make(dtypes.Int32, 1, net.SizesLen())), stats...)
	logits := func(in []*graph.Node, images *graph.Node, f supernet.Masked) *graph.Node {
		weights := make([]*graph.Node, len(params))
		for i, p := range params {
			weights[i] = graph.Reshape(in[i], append([]int{1}, p.Shape...)...)
		}
		f.Sizes, f.Resolution = in[len(params)], resolution
		return net.MaskedLogits(weights, images, f)
	}
	images := func(n int) shapes.Shape {
		return shapes.Make(dtypes.Float32, n, m.Channels, m.ImageSize, m.ImageSize)
	}
	name := fmt.Sprintf("of %s at %d pixels", net.Space().Name, resolution)
	var err error
	ev.calibrate, err = e.Compile("masked calibration "+name, append(begin[:len(begin):len(begin)], images(calibration)), func(in []*graph.Node) []*graph.Node {
		sums := in[len(params)+1:][:len(stats)]
		var seen []*graph.Node
		logits(in, in[len(in)-1], supernet.Masked{Seen: &seen})
		for k := range seen {
			seen[k] = graph.Add(sums[k], seen[k])
		}
		return seen
	})
	if err != nil {
		return nil, fmt.Errorf("masked calibration %s: %w", name, err)
	}
	inputs := append(begin[:len(begin):len(begin)], shapes.Make(dtypes.Float32), images(batch), shapes.Make(dtypes.Int32, batch))
	ev.evaluate, err = e.Compile("masked evaluation "+name, inputs, func(in []*graph.Node) []*graph.Node {
		sums, rest := in[len(params)+1:][:len(stats)], in[len(params)+1+len(stats):]
		mean := make([]*graph.Node, len(stats))
		for k, sum := range sums {
			mean[k] = graph.Div(sum, rest[0])
		}
		all := logits(in, rest[1], supernet.Masked{Stats: mean})
		return []*graph.Node{tally(graph.Reshape(all, batch, m.NumClasses), rest[2])}
	})
	if err != nil {
		ev.calibrate.Close()
		return nil, fmt.Errorf("masked evaluation %s: %w", name, err)
	}
	return ev, nil
}

// Close frees the programs.
func (ev *MaskedConv) Close() {
	ev.calibrate.Close()
	ev.evaluate.Close()
}

// Run evaluates an architecture on all batches, with statistics estimated on all batches of
// calibration, which must be full. weights are by Params index on the device, and stay valid. Where
// logits are not finite it returns an error that wraps ErrNonFinite together with the score.
func (ev *MaskedConv) Run(ctx context.Context, weights []*tensors.Tensor, arch space.Arch, calibration, batches iter.Seq2[Batch, error]) (score Score, err error) {
	if arch.Resolution != ev.resolution {
		return score, fmt.Errorf("masked evaluation: %s has %d pixels, the program %d", arch, arch.Resolution, ev.resolution)
	}
	m := ev.net.Space().Model
	sizes := tensors.FromFlatDataAndDimensions(ev.net.Sizes(arch), 1, ev.net.SizesLen())
	defer sizes.FinalizeAll()
	begin := append(append([]*tensors.Tensor{}, weights...), sizes)
	var sums []*tensors.Tensor
	defer func() { err = errors.Join(err, finalize(sums...)) }()
	for _, s := range supernet.StatShapes(m, ev.net.Whole()) {
		sums = append(sums, tensors.FromShape(s))
	}
	seen := 0
	for b, err := range calibration {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && len(b.Labels) != ev.calibration {
			err = fmt.Errorf("a batch has %d images, %d are expected", len(b.Labels), ev.calibration)
		}
		if err != nil {
			return score, fmt.Errorf("calibration after %d batches: %w", seen, err)
		}
		on, err := b.upload(ev.engine, m, ev.calibration, 1)
		if err != nil {
			return score, err
		}
		out, err := ev.calibrate.Run(append(append(begin[:len(begin):len(begin)], sums...), on.images))
		if err = errors.Join(err, on.free()); err != nil {
			return score, fmt.Errorf("calibration after %d batches: %w", seen, err)
		}
		if err := finalize(sums...); err != nil {
			return score, err
		}
		sums = out
		seen++
	}
	if seen == 0 {
		return score, fmt.Errorf("calibration: %w", ErrNoImages)
	}
	count := tensors.FromScalar(float32(seen))
	defer count.FinalizeAll()
	begin = append(append(begin, sums...), count)
	done := 0
	for b, err := range batches {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = tallied(ev.engine, ev.evaluate, m, begin, b, ev.batch, []*Score{&score})
		}
		if err != nil {
			return score, fmt.Errorf("evaluation after %d images: %w", done, err)
		}
		done += b.count()
	}
	if done == 0 {
		return score, ErrNoImages
	}
	all := []Score{score}
	err = whole(all, []space.Arch{arch}, done)
	return all[0], err
}

func finalize(all ...*tensors.Tensor) error {
	var failed error
	for _, t := range all {
		failed = errors.Join(failed, t.FinalizeAll())
	}
	return failed
}
