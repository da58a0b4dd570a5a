package train

import (
	"errors"
	"fmt"
	"math"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/space"
	"prenas/internal/supernet"
)

// State is everything that an update changes. Its tensors live on the device; each has
// the index of its weight in the supernet's Params.
type State struct {
	Weights, M, V []*tensors.Tensor
	Counts        *tensors.Tensor // float32 [len(Params)]: updates that each tensor has had
}

// free gives the state's memory back at once.
func (s *State) free() error {
	failed := s.Counts.FinalizeAll()
	for _, group := range [][]*tensors.Tensor{s.Weights, s.M, s.V} {
		for _, t := range group {
			failed = errors.Join(failed, t.FinalizeAll())
		}
	}
	return failed
}

// Stats is what a step reports. A step with a number in it that is not finite was not
// applied.
type Stats struct {
	Loss     float32 // mean over the batch
	GradNorm float32 // L2 norm of the gradient of all tensors that took part
}

// finite tells whether the step was applied.
func (s Stats) finite() bool {
	sum := float64(s.Loss) + float64(s.GradNorm)
	return !math.IsNaN(sum) && !math.IsInf(sum, 0)
}

// step is the compiled train step of one architecture: forward, backward and update in
// one program over the tensors the architecture uses.
//
//	donated   weights, m, v (used ones only), counts
//	read      lr, then what the batch consists of
//	returned  weights, m, v, counts, stats [2]
type step struct {
	program *engine.Program
	used    []int
}

// batch is the form in which a step gets its images: the shapes of its inputs, and how
// the graph makes images, soft targets and drop-path factors (nil: none) of them.
type batch struct {
	inputs  []shapes.Shape
	prepare func(in []*graph.Node) (images, targets, dropPath *graph.Node)
}

// compileStep builds and compiles the step of one architecture.
func compileStep(e *engine.Engine, net *supernet.Net, arch space.Arch, r Recipe, b batch) (*step, error) {
	params := net.Params()
	s := &step{}
	for i, uses := range net.Uses(arch) {
		if uses {
			s.used = append(s.used, i)
		}
	}
	var inputs []shapes.Shape
	for range 3 { // weights, m, v
		for _, i := range s.used {
			inputs = append(inputs, shapes.Make(dtypes.Float32, params[i].Shape...))
		}
	}
	inputs = append(inputs, shapes.Make(dtypes.Float32, len(params)), shapes.Make(dtypes.Float32))
	inputs = append(inputs, b.inputs...)

	build := func(in []*graph.Node) []*graph.Node {
		n := len(s.used)
		u := update{
			params: params, used: s.used,
			weights: in[:n], m: in[n : 2*n], v: in[2*n : 3*n],
			counts: in[3*n], lr: in[3*n+1],
		}
		byIndex := make([]*graph.Node, len(params))
		for k, i := range s.used {
			byIndex[i] = u.weights[k]
		}
		images, targets, dropPath := b.prepare(in[3*n+2:])
		logits := net.Logits(byIndex, images, supernet.Forward{Arch: arch, DropPath: dropPath, Operands: r.operands()})
		loss := softCrossEntropy(logits, targets)
		u.grads = engine.Gradient(loss, u.weights...)
		norm := globalNorm(u.grads)
		u.finite = graph.LogicalAnd(graph.IsFinite(loss), graph.IsFinite(norm))

		weights, m, v, counts := r.Optimizer.adamw(u)
		out := append(append(append(weights, m...), v...), counts)
		return append(out, graph.Stack([]*graph.Node{loss, norm}, 0))
	}
	var err error
	s.program, err = e.Compile("train "+arch.String(), inputs, build)
	if err != nil {
		return nil, fmt.Errorf("train step of %s: %w", arch, err)
	}
	return s, nil
}

// run applies the step to the state, which then holds the new tensors. After an error
// the state may be gone and the run must start again from a checkpoint.
func (s *step) run(state *State, lr float64, batch ...*tensors.Tensor) (Stats, error) {
	n := len(s.used)
	var args []*tensors.Tensor
	for _, group := range [][]*tensors.Tensor{state.Weights, state.M, state.V} {
		for _, i := range s.used {
			args = append(args, group[i])
		}
	}
	args = append(args, state.Counts)
	donated := len(args)
	rate := tensors.FromScalar(float32(lr))
	args = append(append(args, rate), batch...)
	out, err := s.program.RunDonating(args, donated)
	if err != nil {
		return Stats{}, err
	}
	for g, group := range [][]*tensors.Tensor{state.Weights, state.M, state.V} {
		for k, i := range s.used {
			group[i] = out[g*n+k]
		}
	}
	state.Counts = out[3*n]
	stats := out[3*n+1]
	var values [2]float32
	err = stats.ConstFlatData(func(flat any) { copy(values[:], flat.([]float32)) })
	for _, t := range append(batch, rate, stats) {
		if freed := t.FinalizeAll(); err == nil {
			err = freed
		}
	}
	return Stats{Loss: values[0], GradNorm: values[1]}, err
}

// softCrossEntropy is the mean over the batch of -Σ target · log softmax(logits).
func softCrossEntropy(logits, targets *graph.Node) *graph.Node {
	perImage := graph.Neg(graph.ReduceSum(graph.Mul(targets, graph.LogSoftmax(logits, -1)), -1))
	return graph.ReduceAllMean(perImage)
}

// globalNorm is the L2 norm of all gradients taken as one vector.
func globalNorm(grads []*graph.Node) *graph.Node {
	var total *graph.Node
	for _, g := range grads {
		square := graph.ReduceAllSum(graph.Square(g))
		if total == nil {
			total = square
		} else {
			total = graph.Add(total, square)
		}
	}
	return graph.Sqrt(total)
}

func (s *step) close() { s.program.Close() }
