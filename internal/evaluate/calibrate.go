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
	"prenas/internal/printable"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Calibrator estimates the statistics of batch norms: batches go through an architecture
// as in training, each normalised by itself, and the means and unbiased variances that
// the norms see are averaged, as torch.optim.swa_utils.update_bn does.
type Calibrator struct {
	programs
	batch int
}

// NewCalibrator compiles one program for each architecture of a convolutional supernet. It adds the
// statistics of a batch of batch images to sums. The devices share each batch, so their number must
// divide batch; the batch is normalised as a whole all the same. precision must be a resolved one.
func NewCalibrator(e *engine.Engine, net *supernet.Net, archs []space.Arch, batch int, precision engine.Precision) (*Calibrator, error) {
	c, m := &Calibrator{programs{engine: e, net: net, archs: archs}, batch}, net.Space().Model
	images := shapes.Make(dtypes.Float32, batch, m.Channels, m.ImageSize, m.ImageSize)
	return c, c.compile("calibrate", []shapes.Shape{images}, func(arch space.Arch, weights, sums, batch []*graph.Node) []*graph.Node {
		var seen []*graph.Node
		net.Logits(weights, batch[0], supernet.Forward{Arch: arch, Seen: &seen, Operands: precision.Operands()})
		for k := range seen {
			seen[k] = graph.Add(sums[k], seen[k])
		}
		return seen
	})
}

// Run estimates the statistics of every architecture on all batches, which must be full. They come by
// architecture, in the order of supernet.Stats. weights are by Params index, and stay valid.
func (c *Calibrator) Run(ctx context.Context, weights []*tensors.Tensor, batches iter.Seq2[Batch, error]) ([][]tensorfile.Tensor, error) {
	m := c.net.Space().Model
	sums := make([][]*tensors.Tensor, len(c.archs))
	for a, arch := range c.archs {
		for _, p := range supernet.Stats(m, arch) {
			sums[a] = append(sums[a], tensors.FromShape(shapes.Make(dtypes.Float32, p.Shape...)))
		}
	}
	done := 0
	for b, err := range batches {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && len(b.Labels) != c.batch {
			err = fmt.Errorf("a batch has %s, %d are expected", printable.Count(len(b.Labels), "image"), c.batch)
		}
		if err == nil {
			err = c.add(sums, weights, b)
		}
		if err != nil {
			return nil, fmt.Errorf("calibration after %s: %w", printable.Count(done, "batch"), err)
		}
		done++
	}
	if done == 0 {
		return nil, fmt.Errorf("calibration: %w", ErrNoImages)
	}
	all := make([][]tensorfile.Tensor, len(sums))
	for a := range sums {
		for _, sum := range sums[a] {
			t, err := engine.Download(sum)
			if err != nil {
				return nil, err
			}
			values, err := t.Float32s()
			if err != nil {
				return nil, err
			}
			mean := make([]float32, len(values))
			for i, v := range values {
				mean[i] = v / float32(done)
			}
			all[a] = append(all[a], tensorfile.FromFloat32(t.Shape, mean))
		}
		if err := c.free(a, sums[a]...); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// add runs all programs on one batch.
func (c *Calibrator) add(sums [][]*tensors.Tensor, weights []*tensors.Tensor, b Batch) error {
	on, err := b.upload(c.engine, c.net.Space().Model, c.batch, 1)
	if err != nil {
		return err
	}
	var failed error
	for a := range c.each {
		out, err := c.run(a, weights, sums[a], on.images)
		if err != nil {
			failed = errors.Join(failed, err)
			break
		}
		failed = errors.Join(failed, c.free(a, sums[a]...))
		sums[a] = out
	}
	return errors.Join(failed, on.free())
}
