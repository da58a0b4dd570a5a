package supernet

import (
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Binding says which of the shared weights a program takes, one after the other. Shapes are its
// inputs, Args what to run it with, Nodes what its graph computes with.
type Binding struct {
	net  *Net
	used []int // Params indices, in ascending order
}

// Bind takes the weights that any of the architectures uses; without architectures all weights.
func (n *Net) Bind(archs ...space.Arch) Binding {
	taken := make([]bool, len(n.params))
	for _, a := range archs {
		for i, uses := range n.Uses(a) {
			taken[i] = taken[i] || uses
		}
	}
	b := Binding{net: n}
	for i := range n.params {
		if taken[i] || len(archs) == 0 {
			b.used = append(b.used, i)
		}
	}
	return b
}

// Only is the binding of those of its weights that keep holds for.
func (b Binding) Only(keep func(Param) bool) Binding {
	used := slices.DeleteFunc(slices.Clone(b.used), func(i int) bool { return !keep(b.net.params[i]) })
	return Binding{b.net, used}
}

// Len is the number of weights.
func (b Binding) Len() int { return len(b.used) }

// Indices of the weights among Params, in ascending order.
func (b Binding) Indices() []int { return b.used }

// Params of the weights.
func (b Binding) Params() []Param {
	params := make([]Param, len(b.used))
	for k, i := range b.used {
		params[k] = b.net.params[i]
	}
	return params
}

// Shapes of the weights, float32.
func (b Binding) Shapes() []shapes.Shape { return floatShapes(b.Params()) }

// Args are the tensors of the weights out of all, which go by Params index.
func (b Binding) Args(all []*tensors.Tensor) []*tensors.Tensor {
	args := make([]*tensors.Tensor, len(b.used))
	for k, i := range b.used {
		args[k] = all[i]
	}
	return args
}

// Store puts new tensors of the weights, which values begins with, into all, by Params index. It
// returns the rest of values.
func (b Binding) Store(all, values []*tensors.Tensor) (rest []*tensors.Tensor) {
	for k, i := range b.used {
		all[i] = values[k]
	}
	return values[len(b.used):]
}

// Nodes are the weights, which in begins with, by Params index, nil for all others: what Logits
// takes. It returns the rest of in.
func (b Binding) Nodes(in []*graph.Node) (byIndex, rest []*graph.Node) {
	byIndex = make([]*graph.Node, len(b.net.params))
	for k, i := range b.used {
		byIndex[i] = in[k]
	}
	return byIndex, in[len(b.used):]
}

// StatShapes are the shapes of the statistics of an architecture's batch norms, in the order of
// Stats.
func StatShapes(m space.Model, a space.Arch) []shapes.Shape { return floatShapes(Stats(m, a)) }

func floatShapes(params []Param) []shapes.Shape {
	list := make([]shapes.Shape, len(params))
	for k, p := range params {
		list[k] = shapes.Make(dtypes.Float32, p.Shape...)
	}
	return list
}

// Upload puts weights of the whole supernet, by name, on the device, by Params index.
func (n *Net) Upload(e *engine.Engine, weights map[string]tensorfile.Tensor) ([]*tensors.Tensor, error) {
	held := make([]*tensors.Tensor, 0, len(n.Params()))
	for _, p := range n.Params() {
		t, err := e.Upload(weights[p.Name])
		if err != nil {
			for _, t := range held {
				_ = t.FinalizeAll() // the error that matters is the upload's
			}
			return nil, fmt.Errorf("weight %s: %w", p.Name, err)
		}
		held = append(held, t)
	}
	return held, nil
}
