package engine

import (
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/tensorfile"
)

// Program is one compiled computation of fixed input shapes.
type Program struct {
	name   string
	inputs []shapes.Shape
	graph  *graph.Graph
}

// Compile builds and compiles a graph. build gets a node per input shape and
// returns the outputs; what it panics with becomes an error that wraps
// ErrBuild.
func (e *Engine) Compile(name string, inputs []shapes.Shape, build func(in []*graph.Node) []*graph.Node) (*Program, error) {
	p := &Program{name: name, inputs: inputs}
	err := catch(func() error {
		g := graph.NewGraph(e.backend, name)
		nodes := make([]*graph.Node, len(inputs))
		for i, s := range inputs {
			nodes[i] = graph.Parameter(g, fmt.Sprintf("input%d", i), s)
		}
		g.Compile(build(nodes)...)
		p.graph = g
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrBuild, name, err)
	}
	return p, nil
}

// Run executes the program. The arguments stay valid; the outputs are on the
// device and are the caller's to free (FinalizeAll) or to leave to the garbage
// collector.
func (p *Program) Run(args []*tensors.Tensor) (out []*tensors.Tensor, err error) {
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
	err = catch(func() error {
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
// the garbage collector. (XLA accepts donated buffers but does not reuse them,
// so nothing is gained by donating them to it.)
func (p *Program) RunDonating(args []*tensors.Tensor, donate int) ([]*tensors.Tensor, error) {
	out, err := p.Run(args)
	if err != nil {
		return nil, err
	}
	for _, t := range args[:donate] {
		if err := t.FinalizeAll(); err != nil {
			return nil, fmt.Errorf("%w: %q: free its inputs: %w", ErrRun, p.name, err)
		}
	}
	return out, nil
}

// Close frees the program.
func (p *Program) Close() { p.graph.Finalize() }

// Upload makes an engine tensor of a tensor from a file. Floating-point types
// become float32.
func Upload(t tensorfile.Tensor) (*tensors.Tensor, error) {
	values, err := t.Float32s()
	if err != nil {
		return nil, err
	}
	return tensors.FromFlatDataAndDimensions(values, t.Shape...), nil
}

// Download copies a float32 tensor from the engine.
func Download(t *tensors.Tensor) (tensorfile.Tensor, error) {
	if t.DType() != dtypes.Float32 {
		return tensorfile.Tensor{}, fmt.Errorf("%w: download of %s", ErrRun, t.DType())
	}
	var values []float32
	err := catch(func() (err error) { values, err = tensors.CopyFlatData[float32](t); return err })
	if err != nil {
		return tensorfile.Tensor{}, fmt.Errorf("%w: %w", ErrRun, err)
	}
	return tensorfile.FromFloat32(append([]int{}, t.Shape().Dimensions...), values), nil
}
