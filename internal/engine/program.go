package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/tensorfile"
)

// Program is one compiled computation of fixed input shapes, on the first device
// or, if CompileParallel made it, on all.
type Program struct {
	name     string
	inputs   []shapes.Shape
	graph    *graph.Graph
	parallel *parallel // nil: on one device
	updated  int       // inputs that outputs are written to
}

// Compile builds and compiles a graph. build gets a node per input shape and
// returns the outputs; what it panics with becomes an error that wraps
// ErrBuild. Where the engine is stopped meanwhile the error wraps context.Canceled, and
// the one thing left to do is to end.
func (e *Engine) Compile(name string, inputs []shapes.Shape, build func(in []*graph.Node) []*graph.Node) (*Program, error) {
	p := &Program{name: name, inputs: inputs}
	return p, p.compile(e, build)
}

// CompileUpdate is CompileParallel for a program that updates: its first outputs, of which there are updated, take the
// place of the inputs of the same number, which have their shapes. On one device of XLA RunDonating writes
// them where these inputs are, so that a state is in memory once.
func (e *Engine) CompileUpdate(name string, inputs []shapes.Shape, split []int, updated int, build func(in []*graph.Node) []*graph.Node) (*Program, error) {
	backend, has := e.backend.(statementBackend)
	if !has {
		return e.CompileParallel(name, inputs, split, build)
	}
	p := &Program{name: name, inputs: inputs, updated: updated}
	return p, p.compile(e, func(in []*graph.Node) []*graph.Node {
		for i, x := range in[:updated] {
			backend.alias(x, i)
		}
		return build(in)
	})
}

func (p *Program) compile(e *Engine, build func(in []*graph.Node) []*graph.Node) error {
	err := catch(func() error {
		g := graph.NewGraph(e.backend, p.name)
		if p.parallel != nil {
			if err := g.SetAutoSharding(p.parallel.mesh); err != nil {
				return err
			}
		}
		nodes := make([]*graph.Node, len(p.inputs))
		for i, s := range p.inputs {
			nodes[i] = graph.ShardedParameter(g, fmt.Sprintf("input%d", i), s, p.parallel.input(i))
		}
		out := build(nodes)
		if err := e.unlessStopped(func() error {
			g.CompileWithSharding(out, p.parallel.outputs(len(out)))
			return nil
		}); err != nil {
			return err
		}
		p.graph = g
		return nil
	})
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("compiling %q: %w", p.name, err)
	}
	allocator.Trim() // XLA's compiler leaves hundreds of megabytes
	if err != nil {
		return fmt.Errorf("%w %q: %w", ErrBuild, p.name, err)
	}
	return nil
}

// Run executes the program. The arguments stay valid; the outputs are on the
// device and are the caller's to free (FinalizeAll) or to leave to the garbage
// collector.
func (p *Program) Run(args []*tensors.Tensor) ([]*tensors.Tensor, error) { return p.run(args, 0) }

// run takes the first arguments, of which there are donated, for good.
func (p *Program) run(args []*tensors.Tensor, donated int) (out []*tensors.Tensor, err error) {
	if len(args) != len(p.inputs) {
		return nil, fmt.Errorf("%w: %q takes %d inputs, got %d", ErrRun, p.name, len(p.inputs), len(args))
	}
	values := make([]any, len(args))
	for i, t := range args {
		if !t.Shape().Equal(p.inputs[i]) {
			return nil, fmt.Errorf("%w: %q takes %s as input %d, got %s", ErrRun, p.name, p.inputs[i], i, t.Shape())
		}
		values[i] = t
	}
	err = catch(func() (err error) {
		for i, t := range args[:donated] {
			if values[i], err = graph.DonateTensorBuffer(t, p.graph.Backend(), 0); err != nil {
				return err
			}
		}
		if p.parallel != nil {
			out, err = p.parallel.run(p.graph, args)
			return err
		}
		out = p.graph.Run(values...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrRun, p.name, err)
	}
	return out, nil
}

// RunDonating executes the program and frees its first arguments, of which
// there are donate, at once: state that the outputs replace does not wait for
// the garbage collector. Those that the program updates are gone after an error too. (Without CompileUpdate XLA
// accepts donated buffers but does not reuse them, so nothing is gained by donating them to it.)
func (p *Program) RunDonating(args []*tensors.Tensor, donate int) ([]*tensors.Tensor, error) {
	out, err := p.run(args, min(donate, p.updated))
	if err != nil {
		return nil, err
	}
	return out, p.Free(args[:donate]...)
}

// Free gives back at once the memory of tensors that the program took or made, on
// all devices.
func (p *Program) Free(of ...*tensors.Tensor) error {
	for _, t := range of {
		err := t.FinalizeAll()
		if p.parallel != nil {
			err = errors.Join(err, p.parallel.copies.free(t))
		}
		if err != nil {
			return fmt.Errorf("%w: %q: free a tensor: %w", ErrRun, p.name, err)
		}
	}
	return nil
}

// Close frees the program, and gives back what memory its runs took.
func (p *Program) Close() {
	p.graph.Finalize()
	allocator.Trim()
}

// Put makes a tensor of values that do not change while it does. On one device
// they are copied straight to it. On several they are copied on the host, since
// a program that divides them takes them from there.
//
// A batch of images for a GPU is large and its step short, so what is copied on
// the way shows: 256 images of 224 pixels are 154 MB.
func (e *Engine) Put(values []float32, dims ...int) (t *tensors.Tensor, err error) {
	err = catch(func() error {
		if e.devices > 1 {
			t = tensors.FromFlatDataAndDimensions(values, dims...)
			return nil
		}
		buffer, err := e.backend.BufferFromFlatData(0, values, shapes.Make(dtypes.Float32, dims...))
		if err == nil {
			t, err = tensors.FromBuffer(e.backend, buffer)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: copy float32 %v to the device: %w", ErrRun, dims, err)
	}
	return t, nil
}

// Upload is Put of a tensor from a file. Floating-point types become float32.
func (e *Engine) Upload(t tensorfile.Tensor) (*tensors.Tensor, error) {
	values, err := t.Float32s()
	if err != nil {
		return nil, err
	}
	return e.Put(values, t.Shape...)
}

// Download copies a float32 tensor from the engine.
func Download(t *tensors.Tensor) (tensorfile.Tensor, error) {
	if t.DType() != dtypes.Float32 {
		return tensorfile.Tensor{}, fmt.Errorf("%w: download of %s", ErrRun, t.DType())
	}
	var host tensorfile.Tensor
	err := catch(func() error {
		return tensors.ConstFlatData(t, func(values []float32) {
			host = tensorfile.FromFloat32(append([]int{}, t.Shape().Dimensions...), values)
		})
	})
	if err != nil {
		return host, fmt.Errorf("%w: %w", ErrRun, err)
	}
	return host, nil
}
