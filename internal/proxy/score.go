package proxy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/space"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
)

// ErrName: there is no proxy of that name.
var ErrName = errors.New("unknown proxy")

// counts are the baselines: a proxy that does not beat them says nothing that
// the size of an architecture does not say.
var counts = map[string]func(space.Model, space.Arch) int64{
	"params": space.Model.Params,
	"macs":   space.Model.MACs,
}

// measures are sums over the weights w of an architecture and the gradients g
// of its own forward and backward pass. The loss is the plain sum of the
// logits, where the papers take the cross-entropy: nothing here has labels.
// Each costs one forward and one backward pass for an architecture. None adds
// up over nested slices, since g is another for each architecture.
var measures = map[string]func(w, g *graph.Node) *graph.Node{
	// The sum over tensors of |g|₂: Abdelfattah et al., Zero-Cost Proxies for
	// Lightweight NAS, ICLR 2021.
	"grad_norm": func(_, g *graph.Node) *graph.Node { return graph.Sqrt(graph.ReduceAllSum(graph.Mul(g, g))) },
	// The sum over weights of |w·g|: Lee et al., SNIP, ICLR 2019, as a score of
	// architectures in Abdelfattah et al.
	"snip": func(w, g *graph.Node) *graph.Node { return graph.ReduceAllSum(graph.Abs(graph.Mul(w, g))) },
	// The sum over weights of w·g: "plain" in Abdelfattah et al.
	"plain": func(w, g *graph.Node) *graph.Node { return graph.ReduceAllSum(graph.Mul(w, g)) },
}

// Names lists the proxies that Score computes, sorted.
func Names() []string {
	var names []string
	for name := range counts {
		names = append(names, name)
	}
	for name := range measures {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Score computes the proxy of that name of each architecture, on its slice of
// the weights: one value each, higher for the architecture that the proxy
// prefers. One masked program serves all. It returns ErrName for a name that is
// not in Names, ErrInputs for a batch that does not fit or has drop-path masks,
// and ErrNotFinite for a score that is not a number.
func Score(ctx context.Context, e *engine.Engine, n *supernet.Net, weights map[string]tensorfile.Tensor, b Batch, name string, archs []space.Arch, progress func(done, total int)) ([]float64, error) {
	for _, a := range archs {
		if err := n.Space().Check(a); err != nil {
			return nil, err
		}
	}
	scores := make([]float64, len(archs))
	if count, ok := counts[name]; ok {
		for i, a := range archs {
			scores[i] = float64(count(n.Space().Model, a))
		}
		return scores, nil
	}
	measure, ok := measures[name]
	if !ok {
		return nil, fmt.Errorf("%w %q: use one of %s", ErrName, name, strings.Join(Names(), ", "))
	}
	run, err := newMeasure(e, n, weights, b, name, measure)
	if err != nil {
		return nil, err
	}
	defer run.program.Close()
	for i, a := range archs {
		if scores[i], err = run.of(ctx, a); err != nil {
			return nil, fmt.Errorf("%s of %s: %w", name, a, err)
		}
		if progress != nil {
			progress(i+1, len(archs))
		}
	}
	return scores, nil
}

// measureRun is a compiled measure with its weights and images on the engine.
type measureRun struct {
	net     *supernet.Net
	program *engine.Program
	weights []*tensors.Tensor
	shapes  []shapes.Shape
	chunks  []*tensors.Tensor // of the images
}

// newMeasure compiles a program that adds a chunk's gradients to those so far
// and measures the sum; the last chunk's measure is the batch's.
func newMeasure(e *engine.Engine, n *supernet.Net, weights map[string]tensorfile.Tensor, b Batch, name string, measure func(w, g *graph.Node) *graph.Node) (*measureRun, error) {
	if err := n.Check(weights); err != nil {
		return nil, err
	}
	images, factors, err := b.prepare(n.Space(), n.Space().Largest())
	if err != nil {
		return nil, err
	}
	if factors != nil {
		return nil, fmt.Errorf("%w: %s takes no drop-path masks", ErrInputs, name)
	}
	total, m := b.Images.Shape[0], n.Space().Model
	size := chunkOf(total)
	run := &measureRun{net: n}
	for _, p := range n.Params() {
		t, err := engine.Upload(weights[p.Name])
		if err != nil {
			return nil, fmt.Errorf("weight %s: %w", p.Name, err)
		}
		run.weights = append(run.weights, t)
		run.shapes = append(run.shapes, t.Shape())
	}
	pixels := m.Channels * m.ImageSize * m.ImageSize
	for at := 0; at < total; at += size {
		run.chunks = append(run.chunks, tensors.FromFlatDataAndDimensions(images[at*pixels:(at+size)*pixels], size, m.Channels, m.ImageSize, m.ImageSize))
	}
	inputs := append(append([]shapes.Shape{}, run.shapes...), run.shapes...)
	inputs = append(inputs, run.chunks[0].Shape(), shapes.Make(dtypes.Int32, 1, n.SizesLen()))
	count := len(run.shapes)
	batches := float64(max(1, b.Batches))
	run.program, err = e.Compile("proxy "+name, inputs, func(in []*graph.Node) []*graph.Node {
		w, sums, rest := in[:count], in[count:2*count], in[2*count:]
		models := make([]*graph.Node, count) // with the axis of one model
		for i := range w {
			models[i] = graph.ExpandAxes(w[i], 0)
		}
		loss := graph.DivScalar(graph.ReduceAllSum(n.MaskedLogits(models, rest[0], supernet.Masked{Sizes: rest[1]})), batches)
		out := engine.Gradient(loss, w...)
		var score *graph.Node
		for i := range out {
			out[i] = graph.Add(sums[i], out[i])
			if part := measure(w[i], out[i]); score == nil {
				score = part
			} else {
				score = graph.Add(score, part)
			}
		}
		return append(out, score)
	})
	return run, err
}

func (r *measureRun) of(ctx context.Context, a space.Arch) (float64, error) {
	sizes := tensors.FromFlatDataAndDimensions(r.net.Sizes(a), 1, r.net.SizesLen())
	sums := make([]*tensors.Tensor, len(r.shapes))
	for i, s := range r.shapes {
		sums[i] = tensors.FromShape(s)
	}
	var score tensorfile.Tensor
	for _, images := range r.chunks {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		out, err := r.program.Run(append(append(append([]*tensors.Tensor{}, r.weights...), sums...), images, sizes))
		if err != nil {
			return 0, err
		}
		sums = out[:len(sums)]
		if score, err = engine.Download(out[len(sums)]); err != nil {
			return 0, err
		}
	}
	values, err := score.Float32s()
	if err != nil {
		return 0, err
	}
	value := float64(values[0])
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return 0, fmt.Errorf("%w: are the weights sound?", ErrNotFinite)
	}
	return value, nil
}
