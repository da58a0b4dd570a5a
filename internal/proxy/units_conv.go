package proxy

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"prenas/internal/engine"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
)

// ConvUnits are what the hidden features of a trained convolutional network's blocks are worth, as
// Units are: in nats, to the second order and each by itself. Blocks are those that expand, in
// their order.
type ConvUnits struct {
	Hidden  [][]float64 // [blocks][hidden]
	Squeeze [][]float64 // [blocks][features in the middle of squeeze-excite]; nil where there is none
}

// WeighConv finds the worth of the hidden features of the whole supernet on a batch of images, as
// Weigh does. A gate is on a feature at all places of the image, behind the depthwise convolution
// and its activation; batch norms normalise by the running statistics, which weights have beside
// the supernet's by the names of supernet.Stats.
func WeighConv(ctx context.Context, e *engine.Engine, n *supernet.Net, weights map[string]tensorfile.Tensor, b ScoringBatch, seed uint64, progress func(done, total int)) (units ConvUnits, err error) {
	m, whole := n.Space().Model, n.Space().Whole()
	if !m.IsConv() {
		return units, fmt.Errorf("%w: these units are of convolutional networks", ErrInputs)
	}
	if err := n.Check(weights); err != nil {
		return units, err
	}
	images, _, err := ScoringBatch{Images: b.Images}.prepare(n.Space(), whole)
	if err != nil {
		return units, err
	}
	args, err := n.Upload(e, weights)
	if err != nil {
		return units, err
	}
	defer func() { free(args) }()
	for _, p := range supernet.Stats(m, whole) {
		if len(weights[p.Name].Shape) == 0 {
			return units, fmt.Errorf("%w: running statistics %q are missing", ErrInputs, p.Name)
		}
		held, err := e.Upload(weights[p.Name])
		if err != nil {
			return units, fmt.Errorf("statistics %s: %w", p.Name, err)
		}
		args = append(args, held)
	}
	total := b.Images.Shape[0]
	size := chunkOf(total)
	params, stats := len(n.Params()), len(supernet.Stats(m, whole))
	inputs := append(n.Bind().Shapes(), supernet.StatShapes(m, whole)...)
	inputs = append(inputs, shapes.Make(dtypes.Float32, size, m.Channels, m.ImageSize, m.ImageSize), shapes.Make(dtypes.Float32, size, m.NumClasses))
	program, err := e.Compile("units of "+n.Space().Name, inputs, func(in []*graph.Node) []*graph.Node {
		var sites []*graph.Node
		logits := n.Logits(in[:params], in[params+stats], supernet.Forward{Arch: whole, Stats: in[params : params+stats], Tap: func(at supernet.Site, x *graph.Node) {
			if at == supernet.SiteUnits || at == supernet.SiteSqueeze {
				sites = append(sites, x)
			}
		}})
		var out []*graph.Node
		for i, g := range engine.Gradient(lossOf(logits, in[params+stats+1], false), sites...) {
			gate := graph.ReduceSum(byPlace(graph.Mul(sites[i], g)), 1) // [N, features]
			out = append(out, graph.ReduceSum(graph.Square(gate), 0))
		}
		return out
	})
	if err != nil {
		return units, err
	}
	defer program.Close()
	var sums Units // of all sites, as if each were a block's hidden units
	w := weighing{engine: e, program: program, args: args, model: m, images: images, total: total, size: size, seed: seed}
	if err := w.run(ctx, progress, func(out [][]float32) { sums.addHidden(out, float64(total)) }); err != nil {
		return units, err
	}
	if err := sums.check(); err != nil {
		return units, err
	}
	next := 0
	take := func() []float64 { next++; return sums.Hidden[next-1] }
	for _, block := range m.ConvBlocks(whole)[1:] {
		var squeeze []float64
		units.Hidden = append(units.Hidden, take())
		if block.Squeeze > 0 {
			squeeze = take()
		}
		units.Squeeze = append(units.Squeeze, squeeze)
	}
	return units, nil
}
