package trainstep

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/recipe"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// Stats is what a step reports. A step with a number in it that is not finite was not
// applied.
type Stats struct {
	Loss     float32 // mean over the batch
	GradNorm float32 // L2 norm of the gradient of all tensors that took part
}

// Finite tells whether the step was applied.
func (s Stats) Finite() bool {
	sum := float64(s.Loss) + float64(s.GradNorm)
	return !math.IsNaN(sum) && !math.IsInf(sum, 0)
}

// step is the compiled train step of one architecture: forward, backward and update in
// one program over the tensors the architecture uses.
//
//	donated   statistics of the architecture's batch norms; weights, moments, averages
//	          (trained ones only); counts
//	read      lr, weights that are used but not trained, then what the batch consists of
//	returned  what was donated, stats [2]
type step struct {
	program         *engine.Program
	arch            space.Arch
	trained, frozen supernet.Binding
}

// batchForm is the form in which a step gets its images: the shapes of its inputs, and how
// the graph makes of them what it trains on. Several devices share those inputs that
// split names, by index, image by image.
type batchForm struct {
	inputs  []shapes.Shape
	split   []int
	prepare func(in []*graph.Node) prepared
}

// splitAfter is split where the batch comes after other inputs.
func (b batchForm) splitAfter(others int) []int {
	split := make([]int, len(b.split))
	for k, i := range b.split {
		split[k] = others + i
	}
	return split
}

// prepared is a batch in a graph.
type prepared struct {
	images, targets *graph.Node       // soft targets, [N, classes]
	dropPath        *graph.Node       // factors; nil: none
	dropout         *supernet.Dropout // nil: none
	teacher         *graph.Node       // its logits, [N, classes]; nil: none
}

// forward pass of an architecture on the batch. Batch norms normalise by the batch and
// say in seen by what. Where only the head trains, the rest is as it is in evaluation: it
// normalises by the running statistics.
func (p prepared) forward(arch space.Arch, r recipe.Recipe, n batchNorms[*graph.Node], seen *[]*graph.Node) supernet.Forward {
	f := supernet.Forward{Arch: arch, DropPath: p.dropPath, Dropout: p.dropout, Operands: Precision(r).Operands(), Seen: seen}
	if r.Optimizer.Freeze {
		f.Stats = n.Running
	}
	return f
}

// compileStep builds and compiles the step of one architecture.
func compileStep(e *engine.Engine, net *supernet.Net, arch space.Arch, r recipe.Recipe, b batchForm) (*step, error) {
	params := net.Params()
	m := net.Space().Model
	s := &step{arch: arch}
	s.trained, s.frozen = partition(r.Optimizer, net.Bind(arch))
	inputs := statShapes(r, m, arch)
	for range Groups(r) {
		inputs = append(inputs, s.trained.Shapes()...)
	}
	inputs = append(inputs, shapes.Make(dtypes.Float32, len(params)))
	updated := len(inputs)
	inputs = append(inputs, shapes.Make(dtypes.Float32))
	inputs = append(inputs, s.frozen.Shapes()...)
	split := b.splitAfter(len(inputs))
	inputs = append(inputs, b.inputs...)
	read := net.SliceShapes(arch)

	build := func(in []*graph.Node) []*graph.Node {
		n, in := takeStats(r, m, arch, in)
		u, in := takeUpdate(r, params, s.trained.Indices(), in)
		u.lr, in = in[0], in[1:]
		byIndex, in := s.frozen.Nodes(in)
		var corners []*graph.Node
		for k, i := range s.trained.Indices() {
			byIndex[i] = engine.LeadingSlice(u.Weights[k], read[i])
			corners = append(corners, byIndex[i])
		}
		p := b.prepare(in)
		var seen []*graph.Node
		logits := net.Logits(byIndex, p.images, p.forward(arch, r, n, &seen))
		loss := graph.ReduceAllMean(lossOf(r, logits, p.targets, p.teacher))
		u.grads = engine.Gradient(loss, corners...)
		norm := graph.Sqrt(engine.SquareSum(u.grads))
		u.finite = graph.LogicalAnd(graph.IsFinite(loss), graph.IsFinite(norm))
		u.factor = clipFactor(r.Optimizer, norm)
		after, counts := applyUpdate(r, u)
		out := append(updatedStats(r, n, seen, u.finite).all(), slices.Concat(after.groups()...)...)
		return append(out, counts, graph.Stack([]*graph.Node{loss, norm}, 0))
	}
	var err error
	s.program, err = e.CompileUpdate("train "+arch.String(), inputs, split, updated, build)
	if err != nil {
		return nil, fmt.Errorf("train step of %s: %w", arch, err)
	}
	return s, nil
}

// run applies the step to the state, which then holds the new tensors, and frees the values that it
// gets beside the images. After an error the state may be gone and the run must start again from a
// checkpoint.
func (s *step) run(state *State, lr float64, images *tensors.Tensor, values ...*tensors.Tensor) (Stats, error) {
	own := state.batchNormsOf(s.arch)
	args := own.all()
	count := len(args)
	for _, group := range state.groups() {
		args = append(args, s.trained.Args(group)...)
	}
	args = append(args, state.Counts)
	donated := len(args)
	rate := tensors.FromScalar(float32(lr))
	args = append(args, rate)
	args = append(args, s.frozen.Args(state.Weights)...)
	args = append(append(args, images), values...)
	out, err := s.program.RunDonating(args, donated)
	if err != nil {
		return Stats{}, err
	}
	own.replace(out[:count])
	out = out[count:]
	for _, group := range state.groups() {
		out = s.trained.Store(group, out)
	}
	state.Counts = out[0]
	stats := out[1]
	var reported [2]float32
	err = stats.ConstFlatData(func(flat any) { copy(reported[:], flat.([]float32)) })
	err = errors.Join(err, s.program.Free(append(values, rate, stats)...))
	return Stats{Loss: unsigned(reported[0]), GradNorm: reported[1]}, err
}

// unsigned is a loss without the sign of zero: of one class it is -1 · log 1, -0.
func unsigned(loss float32) float32 {
	if loss == 0 {
		return 0
	}
	return loss
}

func (s *step) close() { s.program.Close() }
