package classify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/export"
	"prenas/internal/supernet"
)

// native runs a model on the engine. It has a program for one image, which waits for
// nothing, and one for full batches, or those of Options.Sizes; what is between is filled up.
type native struct {
	engine    *engine.Engine
	own       bool // close the engine, too
	net       *supernet.Net
	info      export.Info
	batch     int
	sizes     []int // of programs, in order; the last is batch
	precision engine.Precision
	inputs    []supernet.Param         // weights and statistics
	weights   []*tensors.Tensor        // those of inputs
	programs  map[int]*engine.Prepared // by batch
}

func openEngine(ctx context.Context, m *export.Model, o Options) (*native, error) {
	n := &native{engine: o.Engine, net: m.Net(), info: m.Info, batch: o.Batch, sizes: sizes(o), programs: map[int]*engine.Prepared{}}
	n.inputs = slices.Concat(n.net.Params(), supernet.Stats(n.net.Space().Model, m.Info.SpaceArch()))
	weights, err := m.Weights()
	if err != nil {
		return nil, err
	}
	if n.engine == nil {
		if n.engine, err = engine.Open(ctx, engine.Options{Backend: o.Backend, Stop: o.Stop, Log: o.Log}); err != nil {
			return nil, err
		}
		n.own = true
	}
	if n.precision, err = n.engine.Resolve(ctx, o.Precision, o.Log); err != nil {
		return nil, errors.Join(err, n.close())
	}
	for _, p := range n.inputs {
		t, err := n.engine.Upload(weights[p.Name])
		if err != nil {
			return nil, errors.Join(fmt.Errorf("tensor %q: %w", export.TimmName(p.Name), err), n.close())
		}
		n.weights = append(n.weights, t)
	}
	return n, nil
}

func (n *native) run(images []float32, count int) ([]float32, error) {
	batch, m := n.batchFor(count), n.net.Space().Model
	padded := make([]float32, batch*m.Channels*m.ImageSize*m.ImageSize)
	copy(padded, images)
	input := tensors.FromFlatDataAndDimensions(padded, batch, m.Channels, m.ImageSize, m.ImageSize)
	out, err := n.programs[batch].Run([]*tensors.Tensor{input})
	if err != nil {
		return nil, errors.Join(err, input.FinalizeAll())
	}
	logits, err := engine.Download(out[0])
	if err = errors.Join(err, input.FinalizeAll(), out[0].FinalizeAll()); err != nil {
		return nil, err
	}
	values, err := logits.Float32s()
	if err != nil {
		return nil, err
	}
	return values[:count*m.NumClasses], nil
}

// sizes of the programs that there may be.
func sizes(o Options) []int {
	list := o.Sizes
	if list == nil {
		list = []int{1}
	}
	list = slices.DeleteFunc(slices.Clone(list), func(size int) bool { return size < 1 || size >= o.Batch })
	slices.Sort(list)
	return append(slices.Compact(list), o.Batch)
}

// batchFor is the batch of the program that runs count images.
func (n *native) batchFor(count int) int {
	return n.sizes[slices.IndexFunc(n.sizes, func(size int) bool { return size >= count })]
}

// ready compiles the program for count images when it is first needed.
func (n *native) ready(count int) error {
	batch := n.batchFor(count)
	if n.programs[batch] != nil {
		return nil
	}
	m := n.net.Space().Model
	bound, stats := n.net.Bind(), supernet.StatShapes(m, n.info.SpaceArch())
	images := []shapes.Shape{shapes.Make(dtypes.Float32, batch, m.Channels, m.ImageSize, m.ImageSize)}
	p, err := n.engine.CompilePrepared("classify "+n.info.Arch, slices.Concat(bound.Shapes(), stats), images, func(fixed, in []*graph.Node) []*graph.Node {
		weights, stats := bound.Nodes(fixed)
		f := supernet.Forward{Arch: n.info.SpaceArch(), Stats: stats, Operands: n.precision.Operands()}
		return []*graph.Node{n.net.Logits(weights, in[0], f)}
	})
	if err != nil {
		return err
	}
	if err := p.Prepare(n.weights); err != nil {
		return errors.Join(err, p.Close())
	}
	n.programs[batch] = p
	return nil
}

func (n *native) close() error {
	var failed error
	for _, p := range n.programs {
		failed = errors.Join(failed, p.Close())
	}
	for _, w := range n.weights {
		failed = errors.Join(failed, w.FinalizeAll())
	}
	if n.own {
		n.engine.Close()
	}
	return failed
}
