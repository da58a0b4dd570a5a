package trainstep

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/crash"
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
	batch := NoiseBatch(r.Batch, s.Model)
	const warmUp = 2
	next := begin(func() ([]*tensors.Tensor, error) { return in.values(batch, 0, 0, 0) })
	defer func() {
		if values, err := next(); err == nil {
			_ = program.program.Free(values...)
		}
	}()
	for i := range warmUp + steps {
		if err := ctx.Err(); err != nil {
			return Speed{}, err
		}
		began = time.Now()
		values, err := next()
		next = begin(func() ([]*tensors.Tensor, error) { return in.values(batch, 0, i+1, 0) })
		if err != nil {
			return Speed{}, err
		}
		if in.taught {
			values = append(values, tensors.FromShape(shapes.Make(dtypes.Float32, r.Batch, s.Model.NumClasses)))
		}
		if _, err := program.run(state, r.PeakLR(), values...); err != nil {
			return Speed{}, err
		}
		late := !until.IsZero() && time.Now().After(until)
		if i >= warmUp || late {
			speed.Steps = append(speed.Steps, time.Since(began))
		}
		if late {
			break
		}
	}
	return speed, nil
}

// MeasureSums times what an update of an architecture spends on the sums of all ranks' gradients, from this rank's on
// the device to the whole on it: the best of several. Every rank calls it.
func MeasureSums(ctx context.Context, e *engine.Engine, net *supernet.Net, arch space.Arch, r recipe.Recipe, share load.Share, times int) (time.Duration, error) {
	trained, _ := partition(r.Optimizer, net.Bind(arch))
	all, _ := partsOf(share, r.Accumulate)
	sums, err := newRankSums(e, all, trained.Shapes())
	if err != nil {
		return 0, err
	}
	defer sums.close()
	best := time.Duration(math.MaxInt64)
	for range times {
		var own []partial[[]*tensors.Tensor]
		for _, branch := range sums.runs[e.Ranks().Rank()] {
			var zeros []*tensors.Tensor
			for _, s := range trained.Shapes() {
				zero, err := e.Put(make([]float32, s.Size()), s.Dimensions...)
				if err != nil {
					return 0, err
				}
				zeros = append(zeros, zero)
			}
			own = append(own, partial[[]*tensors.Tensor]{branch, zeros})
		}
		began := time.Now()
		whole, err := sums.sum("a measurement", own)
		if err != nil {
			return 0, err
		}
		best = min(best, time.Since(began))
		if err := sums.add.Free(whole[0].value...); err != nil {
			return 0, err
		}
	}
	return best, nil
}

// begin starts a function, and returns one that waits for its result.
func begin[T any](f func() (T, error)) (wait func() (T, error)) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	crash.Go(func() {
		value, err := f()
		done <- result{value, err}
	})
	return sync.OnceValues(func() (T, error) { r := <-done; return r.value, r.err })
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
