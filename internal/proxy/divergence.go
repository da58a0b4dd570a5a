package proxy

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Divergence measures how far the outputs of slices of a trained vision transformer are from
// those of the whole, on images without labels: KL(whole ‖ slice) of the predictions in nats, a
// mean over images; where the outputs are features (see Featured), the square of their change
// over that of the whole's spread. One program serves all architectures.
type Divergence struct {
	engine   *engine.Engine
	net      *supernet.Net
	featured bool
	program  *engine.Program
	weights  []*tensors.Tensor
	images   []float32
	samples  int
	outputs  int       // of an image
	whole    []float64 // what is known of the whole: log-probabilities, or features
	spread   float64   // of features
}

// NewDivergence computes the outputs of the whole.
func NewDivergence(ctx context.Context, e *engine.Engine, n *supernet.Net, weights map[string]tensorfile.Tensor, b ScoringBatch) (*Divergence, error) {
	m := n.Space().Model
	if m.IsConv() {
		return nil, fmt.Errorf("%w: divergence is of vision transformers; batch norms have statistics of each slice", ErrInputs)
	}
	if err := n.Check(weights); err != nil {
		return nil, err
	}
	d := &Divergence{engine: e, net: n, featured: Featured(n.Space(), weights), samples: b.Images.Shape[0], outputs: m.NumClasses}
	var err error
	if d.images, _, err = (ScoringBatch{Images: b.Images}).prepare(n.Space(), n.Space().Whole()); err != nil {
		return nil, err
	}
	params, size := n.Params(), chunkOf(d.samples)
	inputs := append(n.Bind().Shapes(), shapes.Make(dtypes.Int32, 1, n.SizesLen()), shapes.Make(dtypes.Float32, size, m.Channels, m.ImageSize, m.ImageSize))
	d.program, err = e.Compile("divergence of "+n.Space().Name, inputs, func(in []*graph.Node) []*graph.Node {
		each := make([]*graph.Node, len(params))
		for i := range each {
			each[i] = graph.InsertAxes(in[i], 0)
		}
		return []*graph.Node{n.MaskedLogits(each, in[len(params)+1], supernet.Masked{Sizes: in[len(params)]})}
	})
	if err != nil {
		return nil, err
	}
	if d.weights, err = n.Upload(e, weights); err == nil {
		d.whole, err = d.logits(ctx, n.Space().Whole())
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	if d.featured {
		d.spread = spread(d.whole, d.outputs)
	} else {
		logSoftmax(d.whole, d.outputs)
	}
	return d, nil
}

// Close frees the program and the weights.
func (d *Divergence) Close() {
	d.program.Close()
	free(d.weights)
}

// Of an architecture that the supernet holds, at least 0.
func (d *Divergence) Of(ctx context.Context, a space.Arch) (float64, error) {
	x, err := d.logits(ctx, a)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	if d.featured {
		for i, v := range x {
			sum += (v - d.whole[i]) * (v - d.whole[i])
		}
		return sum / d.spread, nil
	}
	logSoftmax(x, d.outputs)
	for i, v := range x {
		sum += math.Exp(d.whole[i]) * (d.whole[i] - v)
	}
	return sum / float64(d.samples), nil
}

// logits of all images.
func (d *Divergence) logits(ctx context.Context, a space.Arch) ([]float64, error) {
	m, size := d.net.Space().Model, chunkOf(d.samples)
	sizes := tensors.FromFlatDataAndDimensions(d.net.Sizes(a), 1, d.net.SizesLen())
	defer sizes.FinalizeAll() //nolint:errcheck // it is collected later
	var all []float64
	perChunk := len(d.images) / d.samples * size
	for chunk := range slices.Chunk(d.images, perChunk) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		images, err := d.engine.Put(chunk, size, m.Channels, m.ImageSize, m.ImageSize)
		if err != nil {
			return nil, err
		}
		out, err := run(d.program, append(d.weights[:len(d.weights):len(d.weights)], sizes, images))
		if err != nil {
			return nil, err
		}
		for _, v := range out[0] {
			all = append(all, float64(v))
		}
	}
	if slices.ContainsFunc(all, notFinite) {
		return nil, fmt.Errorf("outputs of %s: %w: are the weights sound?", a, ErrNotFinite)
	}
	return all, nil
}

// logSoftmax of each row, in place.
func logSoftmax(x []float64, columns int) {
	for row := range slices.Chunk(x, columns) {
		most, sum := slices.Max(row), 0.0
		for _, v := range row {
			sum += math.Exp(v - most)
		}
		for i := range row {
			row[i] -= most + math.Log(sum)
		}
	}
}

// spread is the sum of squares around the mean of the rows.
func spread(x []float64, columns int) float64 {
	mean, rows, sum := make([]float64, columns), len(x)/columns, 0.0
	for i, v := range x {
		mean[i%columns] += v / float64(rows)
	}
	for i, v := range x {
		sum += (v - mean[i%columns]) * (v - mean[i%columns])
	}
	return math.Max(sum, math.SmallestNonzeroFloat64)
}

// Featured tells whether the outputs are features and not scores of classes: the head of a model
// that had none is a permutation of the embedding.
func Featured(s *space.Space, weights map[string]tensorfile.Tensor) bool {
	if s.Model.NumClasses != s.Supernet.EmbedDim {
		return false
	}
	values, err := weights["head.weight"].Float32s()
	if err != nil {
		return false
	}
	for row := range slices.Chunk(values, s.Supernet.EmbedDim) {
		ones := 0
		for _, v := range row {
			if v == 1 {
				ones++
			} else if v != 0 {
				return false
			}
		}
		if ones != 1 {
			return false
		}
	}
	return true
}

// gumbel is the number of Gumbel's distribution that a uniform one stands for.
func gumbel(uniform float64) float64 {
	return -math.Log(-math.Log(math.Max(uniform, math.SmallestNonzeroFloat64)))
}

func notFinite(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }
