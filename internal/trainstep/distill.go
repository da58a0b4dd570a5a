package trainstep

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/data/load"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/recipe"
	"prenas/pkg/space"
)

// lossOf each image, [..., N], given logits and soft targets [..., N, classes] and,
// where there is a teacher, its logits of the same shape; else nil.
func lossOf(r recipe.Recipe, logits, targets, teacher *graph.Node) *graph.Node {
	own := crossEntropy(logits, targets)
	if teacher == nil {
		return own
	}
	d := r.Distill
	var taught *graph.Node
	if d.Kind == recipe.HardTarget {
		likeliest := graph.ArgMax(teacher, -1, dtypes.Int32)
		taught = crossEntropy(logits, smoothTargets(likeliest, logits.Shape().Dim(-1), r.Loss.Smoothing))
	} else {
		cool := func(x *graph.Node) *graph.Node { return graph.DivScalar(x, d.Temperature) }
		taught = crossEntropy(cool(logits), graph.Softmax(cool(teacher), -1))
		taught = graph.MulScalar(taught, d.Temperature*d.Temperature)
	}
	return graph.Add(graph.MulScalar(own, 1-d.Alpha), graph.MulScalar(taught, d.Alpha))
}

// crossEntropy of each image, -Σ target · log softmax(logits).
func crossEntropy(logits, targets *graph.Node) *graph.Node {
	return graph.Neg(graph.ReduceSum(graph.Mul(targets, graph.LogSoftmax(logits, -1)), -1))
}

// Teacher is a model that teaches a run.
type Teacher interface {
	// Logits of images [C, H, W], which are as the run trains on them: augmented, mixed,
	// and normalised as Options.Look says. A row of the run's classes for each.
	Logits(images [][]float32) ([][]float32, error)
	// Digest names the teacher: a run is resumed with the one it began with.
	Digest() string
}

// teaching asks the teacher about batches. A nil one has no teacher.
type teaching struct {
	teacher Teacher
	recipe  recipe.Recipe
	model   space.Model
	share   load.Share
	mix     *engine.Program // nil where images are not mixed
}

func newTeaching(e *engine.Engine, r recipe.Recipe, m space.Model, share load.Share, teacher Teacher) (*teaching, error) {
	if r.Distill.File() == "" {
		return nil, nil
	}
	t := &teaching{teacher: teacher, recipe: r, model: m, share: share}
	if !r.Mixes() {
		return t, nil
	}
	var err error
	t.mix, err = e.Compile("mix", []shapes.Shape{
		shapes.Make(dtypes.Float32, share.Images(r.Batch), m.Channels, m.ImageSize, m.ImageSize), shapes.Make(dtypes.Float32, share.Images(r.Batch), mixColumns),
	}, func(in []*graph.Node) []*graph.Node { return []*graph.Node{mixImages(in[0], in[1])} })
	return t, err
}

// logits [N, classes] of the batch that a step trains on; nil without a teacher.
func (t *teaching) logits(b evaluate.Batch, seed uint64, step, part int) (*tensors.Tensor, error) {
	if t == nil {
		return nil, nil
	}
	n, m := t.share.Images(t.recipe.Batch), t.model
	images := b.Images
	if t.mix != nil {
		args := []*tensors.Tensor{
			tensors.FromFlatDataAndDimensions(b.Images, n, m.Channels, m.ImageSize, m.ImageSize),
			tensors.FromFlatDataAndDimensions(ofShare(t.share, mixRows(t.recipe.Mix, seed, step, part, t.recipe.Batch, m.ImageSize), t.recipe.Batch, mixColumns), n, mixColumns),
		}
		out, err := t.mix.Run(args)
		if err != nil {
			return nil, err
		}
		mixed, err := engine.Download(out[0])
		for _, spent := range append(args, out[0]) {
			err = errors.Join(err, spent.FinalizeAll())
		}
		if err == nil {
			images, err = mixed.Float32s()
		}
		if err != nil {
			return nil, err
		}
	}
	rows, err := t.teacher.Logits(slices.Collect(slices.Chunk(images, len(images)/n)))
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", recipe.ErrTeacher, t.recipe.Distill.Teacher, err)
	}
	return tensors.FromFlatDataAndDimensions(slices.Concat(rows...), n, m.NumClasses), nil
}

func (t *teaching) close() {
	if t != nil && t.mix != nil {
		t.mix.Close()
	}
}
