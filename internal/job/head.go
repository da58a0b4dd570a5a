package job

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"

	"prenas/internal/data"
	"prenas/internal/data/load"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/machine"
	"prenas/internal/printable"
	"prenas/internal/probe"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/internal/train"
	"prenas/pkg/space"
)

// featureBatch is the number of images that a frozen network computes features of at once.
const featureBatch = 64

// fitHead fits the head to the training images and leaves all other weights as they are. The
// held-out images choose the strength of the regularisation. progress counts images.
func (t *trained) fitHead(ctx context.Context, e *engine.Engine, images *train.Images, set *data.Dataset, log func(string), progress func(done, total int)) error {
	total := set.Train.Len() + set.HeldOut.Len()
	frozen, columns, err := t.withoutHead()
	if err != nil {
		return err
	}
	if err := machine.Need(float64(total)*float64(columns)*4*2, fmt.Sprintf("fitting a head on the features of %s", printable.Count(total, "image")), "take fewer images"); err != nil {
		return err
	}
	var splits [2]probe.Features
	done := 0
	for i, split := range []data.Split{set.Train, set.HeldOut} {
		own := func(n int) { progress(done+n, total) }
		if splits[i], err = frozen.outputs(ctx, e, images, split, columns, own); err != nil {
			return fmt.Errorf("features of the images: %w", err)
		}
		done += split.Len()
	}
	fitted, err := probe.Fit(ctx, e, splits[0], splits[1], t.space.Model.NumClasses)
	if err != nil {
		return fmt.Errorf("a head for %s: %w", printable.Count(t.space.Model.NumClasses, "class"), err)
	}
	held := "no image was held out to measure it on"
	if !math.IsNaN(fitted.HeldOut) {
		held = fmt.Sprintf("it knows %.2f %% of the %s", 100*fitted.HeldOut, printable.Count(len(splits[1].Labels), "held-out image"))
	}
	log(fmt.Sprintf("a new head was fitted on the frozen features of %s: %s", printable.Count(len(splits[0].Labels), "image"), held))
	t.putHead(fitted, columns)
	return nil
}

// isWeight tells whether a parameter of a head is its weights [outputs, features], not its biases
// [outputs].
func isWeight(p supernet.Param) bool { return strings.HasSuffix(p.Name, ".weight") }

// withoutHead is the network whose outputs are the features that its head takes; columns is their
// number. Where there are several heads each has features of its own, and the columns add up.
func (t *trained) withoutHead() (frozen trained, columns int, err error) {
	params := supernet.New(t.space).Params()
	for _, p := range params {
		if p.InHead() && isWeight(p) {
			columns += p.Shape[1]
		}
	}
	s := *t.space
	s.Model.NumClasses = columns
	frozen = trained{space: &s, arch: t.arch, weights: maps.Clone(t.weights)}
	at := 0
	for _, p := range params {
		switch {
		case !p.InHead():
		case isWeight(p):
			if len(p.Shape) != 2 {
				return frozen, 0, fmt.Errorf("a head of shape %v is none that can be fitted", p.Shape)
			}
			values := make([]float32, columns*p.Shape[1])
			for i := range p.Shape[1] {
				values[(at+i)*p.Shape[1]+i] = 1
			}
			at += p.Shape[1]
			frozen.weights[p.Name] = tensorfile.FromFloat32([]int{columns, p.Shape[1]}, values)
		default:
			frozen.weights[p.Name] = tensorfile.FromFloat32([]int{columns}, make([]float32, columns))
		}
	}
	return frozen, columns, nil
}

// outputs computes the network's outputs on the images of a split, in their order and without
// augmentation.
func (t *trained) outputs(ctx context.Context, e *engine.Engine, images *train.Images, split data.Split, columns int, progress func(done int)) (probe.Features, error) {
	f := probe.Features{Dim: columns}
	if split.Len() == 0 {
		return f, nil
	}
	_, err := t.observed(ctx, e, images, split, featureBatch, func(_, _, label int, logits []float32) { f.Add(logits, label) }, progress)
	return f, err
}

// observed measures the network on the images of a split, in their order and without augmentation.
// observe gets the logits of each image.
func (t *trained) observed(ctx context.Context, e *engine.Engine, images *train.Images, split data.Split, batch int,
	observe func(arch, image, label int, logits []float32), progress func(done int),
) (evaluate.Score, error) {
	ev, err := evaluate.New(e, supernet.New(t.space), []space.Arch{t.arch}, batch, 1, engine.Float32)
	if err != nil {
		return evaluate.Score{}, err
	}
	defer ev.Close()
	given, err := t.upload(e)
	if err != nil {
		return evaluate.Score{}, err
	}
	ev.Observe = observe
	scores, err := ev.Run(ctx, given, images.Plain(ctx, split, batch, 1, load.Share{}), progress)
	if errors.Is(err, evaluate.ErrNonFinite) {
		err = fmt.Errorf("the pretrained weights: %w", err)
	}
	if err != nil {
		return evaluate.Score{}, err
	}
	return scores[0], nil
}

// upload puts the weights on the device.
func (t *trained) upload(e *engine.Engine) (given evaluate.Weights, err error) {
	if given.Shared, err = supernet.New(t.space).Upload(e, t.weights); err != nil {
		return given, err
	}
	stats, err := uploadStats(e, t.weights, t.space.Model, t.arch)
	given.Stats = append(given.Stats, stats)
	return given, err
}

// putHead makes a fitted classifier the head of the network. Its columns are in the order of
// withoutHead. Where there are two heads, the outputs of both are averaged if both have biases.
func (t *trained) putHead(c probe.Classifier, columns int) {
	classes, at := t.space.Model.NumClasses, 0
	for _, p := range supernet.New(t.space).Params() {
		switch {
		case !p.InHead():
		case isWeight(p):
			values := make([]float32, 0, classes*p.Shape[1])
			for k := range classes {
				values = append(values, c.Weight[k*columns+at:][:p.Shape[1]]...)
			}
			at += p.Shape[1]
			t.weights[p.Name] = tensorfile.FromFloat32([]int{classes, p.Shape[1]}, values)
		default:
			t.weights[p.Name] = tensorfile.FromFloat32([]int{classes}, c.Bias)
		}
	}
}
