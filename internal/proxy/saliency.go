package proxy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Errors of this package.
var (
	// ErrInputs: a gradient batch that does not fit the space, or drop-path
	// masks that do not fit the batch.
	ErrInputs = errors.New("inputs do not fit the space")
	// ErrNotFinite: weights or gradients with a NaN or an infinity.
	ErrNotFinite = errors.New("not a finite number")
)

// NoiseBatch is the number of noise images of a data-free gradient batch.
const NoiseBatch = 64

// chunk bounds the images of one run of the gradient program: the loss is a
// sum over images, so chunks add up, and memory stays bounded (64 images of
// 224 pixels through the base supernet would not fit a laptop). Of tiny's 64
// images, chunks of 8 take as much of the processor as chunks of 16 or 32, and
// a half to a third of the system's time for getting memory.
const chunk = 8

// chunkOf is the size of the chunks of a batch: chunks of one size compile
// once, and a divisor always exists.
func chunkOf(total int) int {
	size := min(chunk, total)
	for total%size != 0 {
		size--
	}
	return size
}

// Batch is what saliency is computed on.
type ScoringBatch struct {
	// Images [N, C, H, W], normalised.
	Images tensorfile.Tensor
	// Labels of the images: the loss is then the sum of the cross entropies. Nil: the loss is the
	// plain sum of all logits, as in the original.
	Labels []int
	// Masks are stochastic depth's draws by the names of an inputs file,
	// "blocks.I.drop_path.attn_mask" and "ffn_mask", [N] each, 1 for a sample
	// that keeps the branch. Empty for none, our default.
	Masks map[string]tensorfile.Tensor
	// DropPathRate is the rate that the masks were drawn at in the last block of
	// the supernet; kept branches are divided by 1 minus the block's rate.
	DropPathRate float64
	// Batches is how many batches of the original the images make up; the
	// gradients of their sum are divided by it. 0 is 1.
	Batches int
	// Linear: batch norms do not normalise. (See Linear.)
	Linear bool
}

// Noise draws the data-free batch of the original: NoiseBatch images, each
// channel normal with ImageNet's mean and standard deviation of that channel.
// Spaces without three channels take the mean of the three.
func Noise(m space.Model, seed uint64) ScoringBatch {
	mean, std := [3]float64{0.485, 0.456, 0.406}, [3]float64{0.229, 0.224, 0.225}
	pixels := m.ImageSize * m.ImageSize
	values := make([]float32, 0, NoiseBatch*m.Channels*pixels)
	for image := range NoiseBatch {
		r := rng.New(seed, "noise", uint64(image))
		for channel := range m.Channels {
			mu, sigma := (mean[0]+mean[1]+mean[2])/3, (std[0]+std[1]+std[2])/3
			if m.Channels == 3 {
				mu, sigma = mean[channel], std[channel]
			}
			for range pixels {
				values = append(values, float32(mu+sigma*r.NormFloat64()))
			}
		}
	}
	return ScoringBatch{Images: tensorfile.FromFloat32([]int{NoiseBatch, m.Channels, m.ImageSize, m.ImageSize}, values)}
}

// Linear is the point of SynFlow (Tanaka et al., Pruning Neural Networks without any
// Data by Iteratively Conserving Synaptic Flow, NeurIPS 2020): the absolute weights, and one image of ones. Batch norms do not
// normalise: of one image of ones nearly all would be zero after them, and gradients rounding errors. (Abdelfattah et al.,
// Zero-Cost Proxies for Lightweight NAS, ICLR 2021, leave them out too.)
func Linear(m space.Model, weights map[string]tensorfile.Tensor) (map[string]tensorfile.Tensor, ScoringBatch, error) {
	absolute := make(map[string]tensorfile.Tensor, len(weights))
	for name, t := range weights {
		values, err := t.Float32s()
		if err != nil {
			return nil, ScoringBatch{}, fmt.Errorf("weight %s: %w", name, err)
		}
		absolute[name] = tensorfile.FromFloat32(t.Shape, weightsAt(values, atLinear))
	}
	shape := []int{1, m.Channels, m.ImageSize, m.ImageSize}
	ones := slices.Repeat([]float32{1}, m.Channels*m.ImageSize*m.ImageSize)
	return absolute, ScoringBatch{Images: tensorfile.FromFloat32(shape, ones), Linear: m.IsConv()}, nil
}

// unnormalised are statistics of an architecture's batch norms by which they do not normalise: means of 0 and variances of 1, as
// they are at first.
func unnormalised(g *graph.Graph, m space.Model, a space.Arch) (stats []*graph.Node) {
	for _, p := range supernet.Stats(m, a) {
		values, err := p.Init(0).Float32s()
		if err != nil {
			panic(err) // they are float32
		}
		stats = append(stats, graph.Const(g, tensors.FromFlatDataAndDimensions(values, p.Shape...)))
	}
	return stats
}

// BatchFromFile takes a batch from the tensors of an inputs file: "input"
// [N, C, H, W] float32 and, optionally, drop-path masks, which are taken to be
// drawn at rate.
func BatchFromFile(f *tensorfile.File, rate float64) (ScoringBatch, error) {
	b := ScoringBatch{Masks: map[string]tensorfile.Tensor{}, DropPathRate: rate}
	for name, t := range f.Tensors {
		if name == "input" {
			b.Images = t
		} else {
			b.Masks[name] = t
		}
	}
	if b.Images.Shape == nil {
		return ScoringBatch{}, fmt.Errorf(`%w: there is no tensor "input" (images, [N, C, H, W] float32)`, ErrInputs)
	}
	return b, nil
}

// Gradients computes, in one forward and backward pass of the largest
// architecture of the space, the gradient of the batch's loss with
// respect to every weight of the supernet; zero outside of that architecture's
// slice (behaviour of the original: the largest of each choice list, not the
// supernet's own size).
func Gradients(ctx context.Context, e *engine.Engine, n *supernet.Net, weights map[string]tensorfile.Tensor, b ScoringBatch, progress func(done, total int)) (map[string]tensorfile.Tensor, error) {
	if err := n.Check(weights); err != nil {
		return nil, err
	}
	arch := n.Space().Largest()
	images, factors, err := b.prepare(n.Space(), arch)
	if err != nil {
		return nil, err
	}
	total := b.Images.Shape[0]
	size := chunkOf(total)
	targets, err := b.targets(n.Space().Model.NumClasses)
	if err != nil {
		return nil, err
	}

	params := n.Params()
	inputs := slices.Repeat(n.Bind().Shapes(), 2) // weights, and the gradients so far
	m := n.Space().Model
	inputs = append(inputs, shapes.Make(dtypes.Float32, size, m.Channels, m.ImageSize, m.ImageSize))
	if factors != nil {
		inputs = append(inputs, shapes.Make(dtypes.Float32, arch.Depth(), 2, size))
	}
	if targets != nil {
		inputs = append(inputs, shapes.Make(dtypes.Float32, size, m.NumClasses))
	}
	program, err := e.Compile("saliency "+n.Space().Name, inputs, func(in []*graph.Node) []*graph.Node {
		w, sums, rest := in[:len(params)], in[len(params):2*len(params)], in[2*len(params):]
		forward := supernet.Forward{Arch: arch}
		if factors != nil {
			forward.DropPath = rest[1]
		}
		if b.Linear {
			forward.Stats = unnormalised(rest[0].Graph(), m, arch)
		}
		var wanted *graph.Node
		if targets != nil {
			wanted = rest[len(rest)-1]
		}
		loss := labelledLoss(n.Logits(w, rest[0], forward), wanted)
		grads := engine.Gradient(loss, w...)
		for i := range grads {
			grads[i] = graph.Add(sums[i], grads[i])
		}
		return grads
	})
	if err != nil {
		return nil, err
	}
	defer program.Close()

	held, err := n.Upload(e, weights)
	if err != nil {
		return nil, err
	}
	sums := make([]*tensors.Tensor, len(params))
	for i := range params {
		sums[i] = tensors.FromShape(inputs[i])
	}
	pixels := m.Channels * m.ImageSize * m.ImageSize
	for at := 0; at < total; at += size {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		args := append(append([]*tensors.Tensor{}, held...), sums...)
		chunk, err := e.Put(images[at*pixels:(at+size)*pixels], size, m.Channels, m.ImageSize, m.ImageSize)
		if err != nil {
			return nil, err
		}
		args = append(args, chunk)
		if factors != nil {
			args = append(args, tensors.FromFlatDataAndDimensions(columns(factors, arch.Depth()*2, total, at, size), arch.Depth(), 2, size))
		}
		if targets != nil {
			args = append(args, tensors.FromFlatDataAndDimensions(targets[at*m.NumClasses:(at+size)*m.NumClasses], size, m.NumClasses))
		}
		before := args[len(params):]
		if sums, err = program.Run(args); err != nil {
			return nil, err
		}
		// The sums so far and the images are as large as all weights and would
		// wait for the garbage collector.
		for _, spent := range before {
			if err := spent.FinalizeAll(); err != nil {
				return nil, err
			}
		}
		if progress != nil {
			progress(at+size, total)
		}
	}

	grads := make(map[string]tensorfile.Tensor, len(params))
	for i, p := range params {
		t, err := engine.Download(sums[i])
		if err != nil {
			return nil, fmt.Errorf("gradient of %s: %w", p.Name, err)
		}
		if b.Batches > 1 {
			values, err := t.Float32s()
			if err != nil {
				return nil, fmt.Errorf("gradient of %s: %w", p.Name, err)
			}
			for i := range values {
				values[i] /= float32(b.Batches)
			}
			t = tensorfile.FromFloat32(t.Shape, values)
		}
		if grads[p.Name] = t; !finite(t) {
			return nil, fmt.Errorf("gradient of %s: %w: are the weights sound?", p.Name, ErrNotFinite)
		}
	}
	return grads, nil
}

// targets are the labels as rows of one 1 each, [N, classes]; nil without labels.
func (b ScoringBatch) targets(classes int) ([]float32, error) {
	if b.Labels == nil {
		return nil, nil
	}
	if len(b.Labels) != b.Images.Shape[0] {
		return nil, fmt.Errorf("%w: %d labels for %d images", ErrInputs, len(b.Labels), b.Images.Shape[0])
	}
	targets := make([]float32, len(b.Labels)*classes)
	for i, label := range b.Labels {
		if label < 0 || label >= classes {
			return nil, fmt.Errorf("%w: label %d of %d classes", ErrInputs, label, classes)
		}
		targets[i*classes+label] = 1
	}
	return targets, nil
}

// labelledLoss of logits [N, classes]: the sum of the cross entropies with the targets, or of all logits where those are nil.
func labelledLoss(logits, targets *graph.Node) *graph.Node {
	if targets == nil {
		return graph.ReduceAllSum(logits)
	}
	return graph.Neg(graph.ReduceAllSum(graph.Mul(targets, graph.LogSoftmax(logits, -1))))
}

// prepare checks the batch against the space and returns the pixels and, where
// there are masks, the factors [depth, 2, N] of the branches.
func (b ScoringBatch) prepare(s *space.Space, arch space.Arch) (images, factors []float32, err error) {
	m := s.Model
	if got := b.Images.Shape; len(got) != 4 || got[0] < 1 || got[1] != m.Channels || got[2] != m.ImageSize || got[3] != m.ImageSize {
		return nil, nil, fmt.Errorf("%w: input has shape %v, space %s takes [N, %d, %d, %d]", ErrInputs, got, s.Name, m.Channels, m.ImageSize, m.ImageSize)
	}
	if images, err = b.Images.Float32s(); err != nil {
		return nil, nil, fmt.Errorf("input: %w", err)
	}
	if len(b.Masks) == 0 {
		return images, nil, nil
	}
	samples := b.Images.Shape[0]
	factors = make([]float32, arch.Depth()*2*samples)
	known := 0
	rates := supernet.DropPathRates(b.DropPathRate, s.Supernet.Depth)
	for i := range arch.Depth() {
		block := arch.Layer(i)
		rate := rates[block]
		for branch, kind := range []string{"attn_mask", "ffn_mask"} {
			row := factors[(i*2+branch)*samples:][:samples]
			name := fmt.Sprintf("blocks.%d.drop_path.%s", block, kind)
			mask, ok := b.Masks[name]
			if !ok {
				for i := range row {
					row[i] = 1
				}
				continue
			}
			known++
			kept, err := mask.Float32s()
			if err != nil || len(kept) != samples {
				return nil, nil, fmt.Errorf("%w: mask %q has shape %v, the batch has %d images", ErrInputs, name, mask.Shape, samples)
			}
			for i := range row {
				row[i] = kept[i] / float32(1-rate)
			}
		}
	}
	if known != len(b.Masks) {
		return nil, nil, fmt.Errorf("%w: a tensor is neither \"input\" nor a drop-path mask of one of the %d blocks", ErrInputs, arch.Depth())
	}
	return images, factors, nil
}

// columns copies columns [from, from+count) of a matrix [rows, width].
func columns(matrix []float32, rows, width, from, count int) []float32 {
	part := make([]float32, 0, rows*count)
	for r := range rows {
		part = append(part, matrix[r*width+from:][:count]...)
	}
	return part
}

func finite(t tensorfile.Tensor) bool {
	values, err := t.Float32s()
	if err != nil {
		return false
	}
	for _, v := range values {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return false
		}
	}
	return true
}
