package trainstep

import (
	"context"
	"errors"
	"iter"
	"math"
	"time"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/ahead"
	"prenas/internal/data/load"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/recipe"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// Speed is what a train step costs on an engine.
type Speed struct {
	Compile time.Duration   // building and compiling the program
	Steps   []time.Duration // each measured step, batch upload to loss read
}

// Measure compiles the train step of an architecture as a run with the recipe does, and
// times steps of it on noise, after two that are not counted. Once until has passed, if it is
// not zero, no more steps begin; the last one then counts, whichever it was.
func Measure(ctx context.Context, e *engine.Engine, s *space.Space, arch space.Arch, r recipe.Recipe, steps int, until time.Time) (Speed, error) {
	net := supernet.New(s)
	in := stepInputs{engine: e, recipe: r, space: s, arch: arch, taught: !r.Distill.IsZero()}
	began := time.Now()
	program, err := compileStep(e, net, arch, r, in.form())
	if err != nil {
		return Speed{}, err
	}
	defer program.close()
	speed := Speed{Compile: time.Since(began)}
	state, err := Upload(NewState(net, r, net.Init(0), arch), e, net, arch)
	if err != nil {
		return Speed{}, err
	}
	defer state.Free()
	const warmUp = 2
	batches := ahead.Next(ctx, Repeat(NoiseBatch(r.Batch, s.Model), warmUp+steps), func(b evaluate.Batch) (Batch, error) { return Put(e, s.Model, b) })
	step := 0
	began = time.Now()
	for b, err := range batches {
		if err != nil {
			return Speed{}, err
		}
		values := in.values(b.Labels, 0, step, 0)
		if in.taught {
			values = append(values, tensors.FromShape(shapes.Make(dtypes.Float32, r.Batch, s.Model.NumClasses)))
		}
		_, err = program.run(state, r.PeakLR(), b.images, values...)
		if err = errors.Join(err, b.Free()); err != nil {
			return Speed{}, err
		}
		late := !until.IsZero() && time.Now().After(until)
		if step >= warmUp || late {
			speed.Steps = append(speed.Steps, time.Since(began))
		}
		if late {
			break
		}
		step, began = step+1, time.Now()
	}
	return speed, ctx.Err()
}

// Sums is what it costs to add the gradients of all ranks once.
type Sums struct {
	Took      time.Duration // from this rank's gradients on the device to the whole on it: the best of several
	HostBytes int64         // the most that a host sends to the others
}

// MeasureSums measures those of an update of an architecture, so many times. Every rank calls it.
func MeasureSums(e *engine.Engine, net *supernet.Net, arch space.Arch, r recipe.Recipe, share load.Share, times int) (Sums, error) {
	trained, _ := partition(r.Optimizer, net.Bind(arch))
	all, _ := partsOf(share, r.Accumulate)
	return measureSums(e, all, trained.Shapes(), times)
}

// MeasureSumsOf measures those of so many values, where each rank has one part. Every rank calls it.
func MeasureSumsOf(e *engine.Engine, values, times int) (Sums, error) {
	return measureSums(e, span{0, e.Ranks().Size()}, []shapes.Shape{shapes.Make(dtypes.Float32, values)}, times)
}

func measureSums(e *engine.Engine, all span, gradients []shapes.Shape, times int) (Sums, error) {
	sums, err := newRankSums(e, all, gradients)
	if err != nil {
		return Sums{}, err
	}
	defer sums.close()
	cost := Sums{math.MaxInt64, sums.hostBytes(all)}
	for range times {
		var own []partial[[]*tensors.Tensor]
		for _, branch := range sums.runs[e.Ranks().Rank()] {
			var zeros []*tensors.Tensor
			for _, s := range gradients {
				zero, err := e.Put(make([]float32, s.Size()), s.Dimensions...)
				if err != nil {
					return cost, err
				}
				zeros = append(zeros, zero)
			}
			own = append(own, partial[[]*tensors.Tensor]{branch, zeros})
		}
		began := time.Now()
		whole, err := sums.sum("a measurement", own)
		if err != nil {
			return cost, err
		}
		cost.Took = min(cost.Took, time.Since(began))
		for _, t := range whole[0].value {
			if err := t.FinalizeAll(); err != nil {
				return cost, err
			}
		}
	}
	return cost, nil
}

// NoiseBatch is a batch of n images of normal noise with drawn labels, the same at every
// call.
func NoiseBatch(n int, m space.Model) evaluate.Batch {
	b := evaluate.Batch{Images: make([]float32, n*m.Channels*m.ImageSize*m.ImageSize), Labels: make([]int32, n)}
	r := rng.New(0, "measure")
	for i := range b.Images {
		b.Images[i] = float32(r.NormFloat64())
	}
	for i := range b.Labels {
		b.Labels[i] = int32(r.IntN(m.NumClasses))
	}
	return b
}

// Repeat yields a batch so many times.
func Repeat(b evaluate.Batch, times int) iter.Seq2[evaluate.Batch, error] {
	return func(yield func(evaluate.Batch, error) bool) {
		for range times {
			if !yield(b, nil) {
				return
			}
		}
	}
}
