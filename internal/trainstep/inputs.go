package trainstep

import (
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/data/load"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/recipe"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// Batch is a batch of images that are on the device, where an update finds them.
type Batch struct {
	evaluate.Batch // without Images where nobody needs them on the host
	images         *tensors.Tensor
}

// Put copies the images of a batch, n images of a model, to the device. It may do so while an
// update of other batches runs. The caller frees the batch after its update.
func Put(e *engine.Engine, m space.Model, b evaluate.Batch) (Batch, error) {
	images, err := e.Put(b.Images, len(b.Labels), m.Channels, m.ImageSize, m.ImageSize)
	return Batch{b, images}, err
}

// Free gives back the memory of the images on the device.
func (b Batch) Free() error { return b.images.FinalizeAll() }

// stepInputs makes the batch of one architecture's step: images, labels, and, as far as the
// recipe wants them, mix rows, drop-path factors and a key for dropout. Which of them there are is the
// same in the graph and in every step, so both sides live here.
type stepInputs struct {
	engine  *engine.Engine
	recipe  recipe.Recipe
	space   *space.Space
	arch    space.Arch
	weights []float32  // of classes in the loss; nil: all alike
	share   load.Share // the images of each batch that are a rank's
	taught  bool       // a teacher's logits [N, classes] come last, which values does not make
}

// form is the graph's side.
func (p stepInputs) form() batchForm {
	n, m := p.share.Images(p.recipe.Batch), p.space.Model
	b := batchForm{inputs: []shapes.Shape{
		shapes.Make(dtypes.Float32, n, m.Channels, m.ImageSize, m.ImageSize),
		shapes.Make(dtypes.Int32, n),
	}, split: []int{0, 1}}
	image := func(columns int) { // an input that has a row for each image
		b.split = append(b.split, len(b.inputs))
		b.inputs = append(b.inputs, shapes.Make(dtypes.Float32, n, columns))
	}
	if p.recipe.Mixes() {
		image(mixColumns)
	}
	if p.recipe.Regularize.DropPath > 0 {
		b.inputs = append(b.inputs, shapes.Make(dtypes.Float32, p.arch.Depth(), 2, n))
	}
	if p.recipe.Regularize.DropsOut() {
		b.inputs = append(b.inputs, shapes.Make(dtypes.Uint32, 2))
	}
	if p.taught {
		image(m.NumClasses)
	}
	b.prepare = func(in []*graph.Node) prepared {
		x := prepared{images: in[0], targets: smoothTargets(in[1], m.NumClasses, p.recipe.Loss.Smoothing)}
		rest := in[2:]
		if p.recipe.Mixes() {
			x.images, x.targets = mixImages(x.images, rest[0]), mixTargets(x.targets, rest[0])
			rest = rest[1:]
		}
		if p.weights != nil {
			x.targets = weighTargets(x.targets, p.weights)
		}
		if p.recipe.Regularize.DropPath > 0 {
			x.dropPath = rest[0]
			rest = rest[1:]
		}
		if reg := p.recipe.Regularize; reg.DropsOut() {
			x.dropout = &supernet.Dropout{Rate: reg.Drop, Attention: reg.AttnDrop, Key: rest[0], Places: p.places()}
		}
		if p.taught {
			x.teacher = in[len(in)-1]
		}
		return x
	}
	return b
}

// values is the host's side: the inputs of batch number part of an update, but for the images. All
// draws are functions of (seed, step, part), and of the whole batch where a rank has a part of it.
func (p stepInputs) values(labels []int32, seed uint64, step, part int) []*tensors.Tensor {
	n, m := p.share.Images(p.recipe.Batch), p.space.Model
	values := []*tensors.Tensor{tensors.FromFlatDataAndDimensions(labels, n)}
	if p.recipe.Mixes() {
		rows := mixRows(p.recipe.Mix, seed, step, part, p.recipe.Batch, m.ImageSize)
		rows = ofShare(p.share, rows, p.recipe.Batch, mixColumns)
		values = append(values, tensors.FromFlatDataAndDimensions(rows, n, mixColumns))
	}
	if rate := p.recipe.Regularize.DropPath; rate > 0 {
		var factors []float32
		for row := range slices.Chunk(dropPathFactors(p.dropRates(rate), p.recipe.Batch, seed, step, part), p.recipe.Batch) {
			factors = append(factors, ofShare(p.share, row, p.recipe.Batch, 1)...)
		}
		values = append(values, tensors.FromFlatDataAndDimensions(factors, p.arch.Depth(), 2, n))
	}
	if p.recipe.Regularize.DropsOut() {
		r := rng.New(seed, "dropout", uint64(step), uint64(part))
		values = append(values, tensors.FromFlatDataAndDimensions([]uint32{r.Uint32(), r.Uint32()}, 2))
	}
	return values
}

// ofShare are those rows of a batch's, of so many values each, that are in a share.
func ofShare(s load.Share, rows []float32, batch, columns int) []float32 {
	if s.Images(batch) == batch {
		return rows
	}
	var own []float32
	for k := range s.Images(batch) {
		own = append(own, rows[s.Place(k, batch)*columns:][:columns]...)
	}
	return own
}

// places of the images in the batch that they are a part of; nil where they are all of it.
func (p stepInputs) places() []uint32 {
	n := p.share.Images(p.recipe.Batch)
	if n == p.recipe.Batch {
		return nil
	}
	places := make([]uint32, n)
	for k := range places {
		places[k] = uint32(p.share.Place(k, p.recipe.Batch))
	}
	return places
}

// dropRates are the rates of the architecture's layers: they grow linearly over the
// supernet's, so that a layer has the same rate in every architecture.
func (p stepInputs) dropRates(rate float64) []float64 {
	whole := p.space.Whole()
	rates := supernet.DropPathRates(rate, whole.Depth())
	own := make([]float64, 0, p.arch.Depth())
	for _, place := range supernet.Places(whole, p.arch) {
		own = append(own, rates[place])
	}
	return own
}

// dropPathFactors draws [layers, 2, samples]: 0 where a sample skips a branch of a layer,
// else 1/(1 - rate of the layer).
func dropPathFactors(rates []float64, samples int, seed uint64, step, part int) []float32 {
	r := rng.New(seed, "drop path", uint64(step), uint64(part))
	factors := make([]float32, 0, len(rates)*2*samples)
	for _, rate := range rates {
		kept := float32(1 / (1 - rate))
		for range 2 * samples {
			factor := kept
			if r.Float64() < rate {
				factor = 0
			}
			factors = append(factors, factor)
		}
	}
	return factors
}

// Precision the products of a recipe's steps.
func Precision(r recipe.Recipe) engine.Precision { return engine.Precision(r.Precision) }
