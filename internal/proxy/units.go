package proxy

import (
	"context"
	"fmt"
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

// Units are what the parts of a trained vision transformer are worth: how far its outputs move
// without them, to the second order and each by itself. That is in nats of the divergence of
// the predictions, or, where the outputs are features (see Featured), half the square of their
// change.
type Units struct {
	Embed  []float64   // [embed_dim], features of the embedding
	Heads  [][]float64 // [depth][heads]
	Hidden [][]float64 // [depth][hidden], hidden units of the MLPs
	Blocks []float64   // [depth], both branches of a block at once
}

// unitSites are where the graph has what Weigh looks at.
type unitSites struct {
	writes, heads, hidden []*graph.Node // writes are those to the embedding
}

// Weigh finds the worth of all units of the whole supernet on a batch of images. Think of each
// unit with a gate of 1 that its output is multiplied with, in each image by itself. The worth is
//
//	½ · mean over images of (∂L/∂gate)²,    L = -log p(y), y drawn from the model's own p
//
// which is half the diagonal of the gates' Fisher information: no labels are needed, and it is
// zero of what the predictions do not depend on (Theis et al., Faster Gaze Prediction with Dense
// Networks and Fisher Pruning, 2018; of a transformer's gates Kwon et al., A Fast Post-Training
// Pruning Framework for Transformers, NeurIPS 2022). Where the outputs are features, L is their
// product with standard normal numbers. One forward and backward pass.
func Weigh(ctx context.Context, e *engine.Engine, n *supernet.Net, weights map[string]tensorfile.Tensor, b ScoringBatch, seed uint64, progress func(done, total int)) (Units, error) {
	var units Units
	if n.Space().Model.IsConv() {
		return units, fmt.Errorf("%w: units are weighed of vision transformers", ErrInputs)
	}
	if err := n.Check(weights); err != nil {
		return units, err
	}
	whole := n.Space().Whole()
	images, _, err := ScoringBatch{Images: b.Images}.prepare(n.Space(), whole)
	if err != nil {
		return units, err
	}
	total, featured := b.Images.Shape[0], Featured(n.Space(), weights)
	size := chunkOf(total)
	program, err := compileWeigh(e, n, whole, size, featured)
	if err != nil {
		return units, err
	}
	defer program.Close()
	args, err := n.Upload(e, weights)
	if err != nil {
		return units, err
	}
	defer free(args)
	w := weighing{engine: e, program: program, args: args, model: n.Space().Model, images: images, total: total, size: size, seed: seed, featured: featured}
	err = w.run(ctx, progress, func(out [][]float32) { units.add(out, whole.Depth(), float64(total)) })
	if err != nil {
		return units, err
	}
	return units, units.check()
}

// weighing is a program that weighs units on size images at once, and what it takes.
type weighing struct {
	engine   *engine.Engine
	program  *engine.Program
	args     []*tensors.Tensor // before the images and the draws of each run
	model    space.Model
	images   []float32
	total    int // images
	size     int // a divisor of total
	seed     uint64
	featured bool
}

// run weighs chunk by chunk, and gives what comes out of each to add.
func (w weighing) run(ctx context.Context, progress func(done, total int), add func(out [][]float32)) error {
	m := w.model
	pixels := m.Channels * m.ImageSize * m.ImageSize
	for at := 0; at < w.total; at += w.size {
		if err := ctx.Err(); err != nil {
			return err
		}
		chunk, err := w.engine.Put(w.images[at*pixels:][:w.size*pixels], w.size, m.Channels, m.ImageSize, m.ImageSize)
		if err != nil {
			return err
		}
		noise := tensors.FromFlatDataAndDimensions(draws(w.seed, at, w.size, m.NumClasses, w.featured), w.size, m.NumClasses)
		out, err := run(w.program, append(w.args[:len(w.args):len(w.args)], chunk, noise))
		if err != nil {
			return err
		}
		add(out)
		if progress != nil {
			progress(at+w.size, w.total)
		}
	}
	return nil
}

// draws are the numbers that make an image's L, by (seed, image): standard normal ones for
// features; else Gumbel's, to which the largest of logits plus numbers is a draw from softmax.
func draws(seed uint64, first, images, classes int, featured bool) []float32 {
	var all []float32
	for i := range images {
		r := rng.New(seed, "weigh", uint64(first+i))
		for range classes {
			if featured {
				all = append(all, float32(r.NormFloat64()))
			} else {
				all = append(all, float32(gumbel(r.Float64())))
			}
		}
	}
	return all
}

func compileWeigh(e *engine.Engine, n *supernet.Net, whole space.Arch, size int, featured bool) (*engine.Program, error) {
	m, params := n.Space().Model, len(n.Params())
	inputs := append(n.Bind().Shapes(), shapes.Make(dtypes.Float32, size, m.Channels, m.ImageSize, m.ImageSize), shapes.Make(dtypes.Float32, size, m.NumClasses))
	return e.Compile("units of "+n.Space().Name, inputs, func(in []*graph.Node) []*graph.Node {
		var s unitSites
		logits := n.Logits(in[:params], in[params], supernet.Forward{Arch: whole, Tap: func(at supernet.Site, x *graph.Node) {
			switch {
			case at == supernet.SiteBlock && len(s.writes) == 0, at == supernet.SiteAttention, at == supernet.SiteMLP:
				s.writes = append(s.writes, x)
			case at == supernet.SiteHeads:
				s.heads = append(s.heads, x)
			case at == supernet.SiteUnits:
				s.hidden = append(s.hidden, x)
			}
		}})
		return s.squares(lossOf(logits, in[params+1], featured), m.HeadDim)
	})
}

// lossOf is L, a sum over images.
func lossOf(logits, noise *graph.Node, featured bool) *graph.Node {
	if featured {
		return graph.ReduceAllSum(graph.Mul(logits, noise))
	}
	noisy := graph.StopGradient(graph.Add(logits, noise))
	drawn := graph.Equal(noisy, graph.ReduceAndKeep(noisy, graph.ReduceMax, 1))
	return graph.Neg(graph.ReduceAllSum(graph.Mul(graph.ConvertDType(drawn, logits.DType()), graph.LogSoftmax(logits))))
}

// squares are sums over images of squared gradients by gates: of the embedding, of the blocks,
// then of each block's heads, then of each block's hidden units.
func (s unitSites) squares(loss *graph.Node, headDim int) []*graph.Node {
	sites := slices.Concat(s.writes, s.heads, s.hidden)
	grads := engine.Gradient(loss, sites...)
	gate := func(i int) *graph.Node { // [N, features]
		return graph.ReduceSum(byPlace(graph.Mul(sites[i], grads[i])), 1)
	}
	square := func(x *graph.Node) *graph.Node { return graph.ReduceSum(graph.Square(x), 0) }
	embed, blocks := gate(0), []*graph.Node{}
	for i := 1; i < len(s.writes); i += 2 {
		both := graph.Add(gate(i), gate(i+1))
		embed = graph.Add(embed, both)
		blocks = append(blocks, square(graph.ReduceAndKeep(both, graph.ReduceSum, 1)))
	}
	out := []*graph.Node{square(embed), graph.Concatenate(blocks, 0)}
	for i := range s.heads {
		g := gate(len(s.writes) + i)
		g = graph.ReduceSum(graph.Reshape(g, g.Shape().Dimensions[0], -1, headDim), 2)
		out = append(out, square(g))
	}
	for i := range s.hidden {
		out = append(out, square(gate(len(s.writes)+len(s.heads)+i)))
	}
	return out
}

// add what squares put out of a chunk.
func (u *Units) add(out [][]float32, depth int, images float64) {
	if u.Heads == nil {
		u.Heads = make([][]float64, depth)
	}
	addSquares(&u.Embed, out[0], images)
	addSquares(&u.Blocks, out[1], images)
	for l := range depth {
		addSquares(&u.Heads[l], out[2+l], images)
	}
	u.addHidden(out[2+depth:], images)
}

// addHidden adds sums of squares of the hidden units of blocks.
func (u *Units) addHidden(out [][]float32, images float64) {
	if u.Hidden == nil {
		u.Hidden = make([][]float64, len(out))
	}
	for l := range out {
		addSquares(&u.Hidden[l], out[l], images)
	}
}

// addSquares adds half of the mean over images that a chunk's sums are of.
func addSquares(sums *[]float64, values []float32, images float64) {
	if *sums == nil {
		*sums = make([]float64, len(values))
	}
	for i, v := range values {
		(*sums)[i] += float64(v) / (2 * images)
	}
}

// check refuses what cannot be compared.
func (u Units) check() error {
	for _, list := range slices.Concat([][]float64{u.Embed, u.Blocks}, u.Heads, u.Hidden) {
		if slices.ContainsFunc(list, notFinite) {
			return fmt.Errorf("worth of units: %w: are the weights sound?", ErrNotFinite)
		}
	}
	return nil
}
