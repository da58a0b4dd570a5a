package evaluate

import (
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// programs holds one compiled program for each architecture. The inputs of a program are the weights
// that the architecture uses, two tensors for each of its batch norms (with the shapes of
// supernet.Stats), and a batch.
type programs struct {
	engine *engine.Engine
	net    *supernet.Net
	archs  []space.Arch
	each   []archProgram // by index of archs
}

type archProgram struct {
	*engine.Program
	weights supernet.Binding
}

// compile compiles the programs. build gets the weights by Params index; weights that the architecture
// does not use are nil. The devices share the rows of the batch's inputs.
func (p *programs) compile(what string, batch []shapes.Shape, build func(arch space.Arch, weights, norms, batch []*graph.Node) []*graph.Node) error {
	for _, arch := range p.archs {
		bound, norms := p.net.Bind(arch), supernet.StatShapes(p.net.Space().Model, arch)
		inputs := append(bound.Shapes(), norms...)
		first := len(inputs) // of the batch
		split := make([]int, len(batch))
		for i := range batch {
			split[i] = first + i
		}
		inputs = append(inputs, batch...)
		program, err := p.engine.CompileParallel(what+" "+arch.String(), inputs, split, func(in []*graph.Node) []*graph.Node {
			weights, rest := bound.Nodes(in)
			return build(arch, weights, rest[:len(norms)], rest[len(norms):])
		})
		if err != nil {
			p.Close()
			p.each = nil
			return fmt.Errorf("%s %s: %w", what, arch, err)
		}
		p.each = append(p.each, archProgram{program, bound})
	}
	return nil
}

// run runs the program of an architecture, with weights by Params index.
func (p *programs) run(arch int, weights, norms []*tensors.Tensor, batch ...*tensors.Tensor) ([]*tensors.Tensor, error) {
	args := slices.Concat(p.each[arch].weights.Args(weights), norms, batch)
	return p.each[arch].Run(args)
}

// free frees tensors that the program of an architecture took or made.
func (p *programs) free(arch int, of ...*tensors.Tensor) error { return p.each[arch].Free(of...) }

// Close frees the programs.
func (p *programs) Close() {
	for _, program := range p.each {
		program.Close()
	}
}
