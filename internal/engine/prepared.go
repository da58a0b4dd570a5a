package engine

import (
	"fmt"
	"sync"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// Prepared is a program whose first inputs, weights, stay the same from run to run. What its operations
// make of them before anything else, such as packed weights, is made once.
type Prepared struct {
	prepare, program *Program // prepare: nil where there is nothing to make
	fixed, made      []*tensors.Tensor
}

// preparation is what a graph that is being built makes once.
type preparation struct {
	made  []*graph.Node // in the graph that makes them
	given []*graph.Node // in the graph that takes them, in the same order
}

// preparations of the graphs that are being built.
var preparations sync.Map // *graph.Graph: *preparation

// once is what make returns, a node that depends on weights alone; a prepared program has it as an input.
func once(g *graph.Graph, make func() *graph.Node) *graph.Node {
	found, has := preparations.Load(g)
	if !has {
		return make()
	}
	p := found.(*preparation)
	if p.given != nil {
		node := p.given[0]
		p.given = p.given[1:]
		return node
	}
	node := make()
	p.made = append(p.made, node)
	return node
}

// CompilePrepared is Compile for a program whose inputs are fixed ones, then those of each run.
func (e *Engine) CompilePrepared(name string, fixed, inputs []shapes.Shape, build func(fixed, in []*graph.Node) []*graph.Node) (*Prepared, error) {
	var made []shapes.Shape
	prepare, err := e.Compile(name+", prepared", fixed, func(weights []*graph.Node) []*graph.Node {
		g, p := weights[0].Graph(), &preparation{}
		preparations.Store(g, p)
		defer preparations.Delete(g)
		of := map[*graph.Node]bool{}
		var in []*graph.Node
		for _, shape := range inputs {
			zeros := graph.Zeros(g, shape)
			in, of[zeros] = append(in, zeros), true
		}
		build(weights, in)
		for _, node := range p.made {
			if dependsOn(node, of, map[*graph.Node]bool{}) {
				panic(fmt.Errorf("engine: what %s makes once is made of a run's inputs", name))
			}
		}
		made = shapesOf(p.made...)
		return append([]*graph.Node{graph.ScalarOne(g, fixed[0].DType)}, p.made...) // a program has an output
	})
	if err != nil {
		return nil, err
	}
	result := &Prepared{prepare: prepare}
	all := append(append(append([]shapes.Shape{}, fixed...), made...), inputs...)
	result.program, err = e.Compile(name, all, func(in []*graph.Node) []*graph.Node {
		g, p := in[0].Graph(), &preparation{given: in[len(fixed) : len(fixed)+len(made)]}
		if len(made) > 0 {
			preparations.Store(g, p)
			defer preparations.Delete(g)
		}
		return build(in[:len(fixed)], in[len(fixed)+len(made):])
	})
	if err == nil && len(made) == 0 {
		prepare.Close()
		result.prepare = nil
	}
	if err != nil {
		prepare.Close()
		return nil, err
	}
	return result, nil
}

// dependsOn tells whether a node is made of any of others.
func dependsOn(node *graph.Node, of, seen map[*graph.Node]bool) bool {
	if of[node] {
		return true
	}
	if seen[node] {
		return false
	}
	seen[node] = true
	for _, input := range node.Inputs() {
		if dependsOn(input, of, seen) {
			return true
		}
	}
	return false
}

// Prepare takes the fixed inputs of the runs that follow, which must stay valid.
func (p *Prepared) Prepare(fixed []*tensors.Tensor) error {
	var made []*tensors.Tensor
	if p.prepare != nil {
		out, err := p.prepare.Run(fixed)
		if err != nil {
			return err
		}
		if err := p.prepare.Free(out[0]); err != nil {
			return err
		}
		made = out[1:]
	}
	err := p.program.Free(p.made...)
	p.fixed, p.made = fixed, made
	return err
}

// Run executes the program with the fixed inputs and these.
func (p *Prepared) Run(args []*tensors.Tensor) ([]*tensors.Tensor, error) {
	return p.program.Run(append(append(append([]*tensors.Tensor{}, p.fixed...), p.made...), args...))
}

// Close frees the program, and what it made of the fixed inputs.
func (p *Prepared) Close() error {
	err := p.program.Free(p.made...)
	if p.prepare != nil {
		p.prepare.Close()
	}
	p.program.Close()
	return err
}
