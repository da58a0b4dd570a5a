package trainstep

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// Batch norm under weight sharing. Each architecture that is trained has running
// statistics of its own: the activations of another one have other means and variances,
// though both are made by the same weights. Its step moves them, and no other step does.
// Those of architectures that no step trains by themselves are estimated: calibrate.go.
//
//	running ← running + normMomentum · (batch - running)
//
// with the batch's mean and its unbiased variance, as torch.nn.BatchNorm2d.
const normMomentum = 0.1

// batchNorms are one architecture's running statistics, in the order of supernet.Stats: mean
// and variance of each batch norm. A vision transformer has none.
type batchNorms[T any] struct {
	Running []T
	EMA     []T // moving average of the running ones, where the recipe keeps one
}

func (n *batchNorms[T]) group(prefix string) *[]T {
	if prefix == rundir.GroupEMA {
		return &n.EMA
	}
	return &n.Running
}

func (n batchNorms[T]) all() []T { return slices.Concat(n.Running, n.EMA) }

// statGroups are the prefixes of the groups of running statistics.
func statGroups(r recipe.Recipe) []string {
	return slices.DeleteFunc(Groups(r), func(p string) bool { return p != rundir.GroupWeights && p != rundir.GroupEMA })
}

// statShapes are those of the statistics of an architecture that a program takes.
func statShapes(r recipe.Recipe, m space.Model, arch space.Arch) []shapes.Shape {
	return slices.Repeat(supernet.StatShapes(m, arch), len(statGroups(r)))
}

// takeStats takes them off a program's inputs, and returns the rest of these.
func takeStats(r recipe.Recipe, m space.Model, arch space.Arch, in []*graph.Node) (batchNorms[*graph.Node], []*graph.Node) {
	var n batchNorms[*graph.Node]
	count := len(supernet.Stats(m, arch))
	for _, prefix := range statGroups(r) {
		*n.group(prefix), in = in[:count], in[count:]
	}
	return n, in
}

// updatedStats are the statistics after a batch with those seen. finite false leaves them as they
// were; nil is true. Where only the head trains, nothing is seen and nothing moves.
//
// An average moves as that of a weight does, except that weights move once an update and
// statistics with each of its batches: all these together leave of the average what one
// update leaves.
func updatedStats(r recipe.Recipe, n batchNorms[*graph.Node], seen []*graph.Node, finite *graph.Node) (after batchNorms[*graph.Node]) {
	if len(seen) == 0 {
		return n
	}
	toward := func(before, to *graph.Node, part float64) *graph.Node {
		moved := graph.Add(before, graph.MulScalar(graph.Sub(to, before), part))
		if finite == nil {
			return moved
		}
		return graph.Where(finite, moved, before)
	}
	for k, before := range n.Running {
		after.Running = append(after.Running, toward(before, seen[k], normMomentum))
	}
	left := math.Pow(r.EMA.Decay, 1/float64(max(r.Accumulate, 1)))
	for k, before := range n.EMA {
		after.EMA = append(after.EMA, toward(before, after.Running[k], 1-left))
	}
	return after
}

// moveProgram moves the statistics of an architecture by what a batch was normalised by.
//
//	in   statistics, seen (shapes of supernet.Stats)
//	out  statistics
func moveProgram(e *engine.Engine, r recipe.Recipe, m space.Model, arch space.Arch) (*engine.Program, error) {
	shape := statShapes(r, m, arch)
	before := len(shape)
	shape = append(shape, supernet.StatShapes(m, arch)...)
	program, err := e.CompileParallel("statistics "+arch.String(), shape, nil, func(in []*graph.Node) []*graph.Node {
		n, seen := takeStats(r, m, arch, in[:before:before])
		return updatedStats(r, n, append(seen, in[before:]...), nil).all()
	})
	if err != nil {
		return nil, fmt.Errorf("statistics of %s: %w", arch, err)
	}
	return program, nil
}

// replace puts new tensors, in the order of all, in the place of the old ones, which are
// gone already.
func (n *batchNorms[T]) replace(all []T) {
	n.Running, n.EMA = all[:len(n.Running)], all[len(n.Running):]
}

func free(all []*tensors.Tensor) error {
	var failed error
	for _, t := range all {
		failed = errors.Join(failed, t.FinalizeAll())
	}
	return failed
}
