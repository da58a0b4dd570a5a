package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"prenas/internal/engine/enginetest"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/fsys/faultfs"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// toySpace is small enough to compile and train in a test.
func toySpace() *space.Space {
	return &space.Space{
		Name: "toy", Supernet: space.Supernet{EmbedDim: 24, Depth: 2, NumHeads: 2, MLPRatio: 2},
		EmbedDim: []int{16, 24}, Depth: []int{1, 2}, NumHeads: []int{1, 2}, MLPRatio: []float64{1, 2},
		Model: space.Model{ImageSize: 8, PatchSize: 4, Channels: 1, NumClasses: 3, HeadDim: 8,
			RelativePosition: true, MaxRelativePosition: 2, GlobalPool: true, AbsPos: true, QKVBias: true},
		Interval: space.Interval{Min: 0, Max: 1, Step: 0.1},
	}
}

func toyCandidates() space.Candidates {
	return space.Candidates{
		{Key: "0.1", Candidates: []space.Candidate{{Arch: space.Arch{EmbedDim: 16, NumHeads: []int{1}, MLPRatio: []float64{1}}}}},
		{Key: "0.2", Candidates: []space.Candidate{{Arch: space.Arch{EmbedDim: 24, NumHeads: []int{2, 1}, MLPRatio: []float64{1, 2}}}}},
		{Key: "0.3", Candidates: []space.Candidate{{Arch: space.Arch{EmbedDim: 24, NumHeads: []int{2, 2}, MLPRatio: []float64{2, 2}}}}},
	}
}

// toyImages shows one of three bars in noise; label and noise are drawn from the number
// of the image.
type toyImages struct{ train, heldOut int }

const toySize = 8

func (s toyImages) Counts() (int, int) { return s.train, s.heldOut }
func (s toyImages) Digest() string     { return fmt.Sprintf("toy %d %d", s.train, s.heldOut) }

func toyBatch(numbers []int, epoch int) evaluate.Batch {
	b := evaluate.Batch{}
	for _, n := range numbers {
		r := rng.New(9, "toy", uint64(n), uint64(epoch))
		label := n % 3
		b.Labels = append(b.Labels, int32(label))
		for y := range toySize {
			for range toySize {
				v := float32(r.NormFloat64())
				if y/3 == label {
					v += 2
				}
				b.Images = append(b.Images, v)
			}
		}
	}
	return b
}

func (s toyImages) Train(_ context.Context, epoch, from, size int) iter.Seq2[evaluate.Batch, error] {
	order := rng.New(9, "order", uint64(epoch)).Perm(s.train)
	return func(yield func(evaluate.Batch, error) bool) {
		for at := from * size; at+size <= len(order); at += size {
			if !yield(toyBatch(order[at:at+size], epoch), nil) {
				return
			}
		}
	}
}

func (s toyImages) HeldOut(_ context.Context, size int) iter.Seq2[evaluate.Batch, error] {
	return func(yield func(evaluate.Batch, error) bool) {
		for at := 0; at < s.heldOut; at += size {
			var numbers []int
			for n := at; n < min(at+size, s.heldOut); n++ {
				numbers = append(numbers, 1_000_000+n)
			}
			if !yield(toyBatch(numbers, 0), nil) {
				return
			}
		}
	}
}

func (s toyImages) Calibration(ctx context.Context, count, size int) (iter.Seq2[evaluate.Batch, error], error) {
	if count*size > s.train {
		return nil, errors.New("too many")
	}
	return func(yield func(evaluate.Batch, error) bool) {
		for b, err := range s.Train(ctx, 0, 0, size) {
			if count--; count < 0 || !yield(b, err) {
				return
			}
		}
	}, nil
}

func toyRecipe() Recipe {
	r := DefaultRecipe()
	r.Epochs, r.Batch, r.LogEvery, r.Keep = 3, 8, 4, 2
	r.Optimizer.LR = 3e-3
	r.Schedule.Warmup = 0.5
	r.Mix.Mixup, r.Mix.Cutmix, r.Mix.Mode = 0.8, 1, "elem"
	r.Regularize.DropPath = 0.1
	return r
}

func toyOptions(t *testing.T, out string) Options {
	t.Helper()
	return Options{
		Engine: enginetest.Test(t), Space: toySpace(), Candidates: toyCandidates(), Recipe: toyRecipe(),
		Seed: 5, Source: toyImages{train: 90, heldOut: 21}, Out: out,
	}
}

// A run that is cut at any step and resumed, again and again, leaves the same bytes as
// one that is not.
func TestResumeIsByteEqual(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Recipe)
		trials int
	}{
		{"adamw", func(*Recipe) {}, 6},
		{"sgd with averages", func(r *Recipe) {
			r.Optimizer = Optimizer{Name: sgd, LR: 0.02, Decay: 1e-4, Momentum: 0.9, Nesterov: true, Clip: 1, Eps: 1e-8}
			r.EMA.Decay = 0.9
			r.Schedule = Schedule{Name: constantSchedule, Cooldown: 1, MinLR: 1e-3}
		}, 4},
		{"two batches an update", func(r *Recipe) { r.Batch, r.Accumulate, r.SaveEvery = 4, 2, 5 }, 3},
		{"sandwich that teaches", func(r *Recipe) {
			r.Sampler.Name, r.Distill = sandwichSampler, Distill{Teacher: largestTeacher, Kind: softTeaching, Alpha: 1, Temperature: 2}
		}, 2},
		{"any of the space, lamb, dropout", func(r *Recipe) {
			r.Sampler.Name, r.Optimizer.Name, r.Regularize.Drop, r.Regularize.AttnDrop = spaceSampler, lamb, 0.1, 0.1
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) { resumeIsByteEqual(t, c.change, c.trials) })
	}
}

func resumeIsByteEqual(t *testing.T, change func(*Recipe), trials int) {
	whole := filepath.Join(t.TempDir(), "whole")
	programs := &programs{}
	defer programs.close()
	o := toyOptions(t, whole)
	change(&o.Recipe)
	result, err := run(context.Background(), o, programs)
	if err != nil {
		t.Fatal(err)
	}
	images, _ := o.Source.Counts()
	steps := o.Recipe.Epochs * (images / (o.Recipe.Batch * o.Recipe.Accumulate))
	if result.Step != steps {
		t.Fatalf("%d steps, want %d", result.Step, steps)
	}
	r := rng.New(3, "cuts")
	for trial := range trials {
		o.Out, o.Resume = filepath.Join(t.TempDir(), fmt.Sprint(trial)), false
		var cuts []int
		for done := false; !done; o.Resume = true {
			ctx, cancel := context.WithCancel(context.Background())
			left := 1 + r.IntN(steps/2)
			o.Progress = func(s Status) {
				if left--; left == 0 {
					cuts = append(cuts, s.Step)
					cancel()
				}
			}
			_, err := run(ctx, o, programs)
			cancel()
			if err != nil && !errors.Is(err, ErrInterrupted) {
				t.Fatal(err)
			}
			done = err == nil
		}
		t.Logf("cut after steps %v", cuts)
		sameFile(t, whole, o.Out, metricsFile)
		sameFile(t, whole, o.Out, filepath.Join(checkpointsDir, fmt.Sprintf("step-%d.safetensors", steps)))
	}
}

func sameFile(t *testing.T, a, b, name string) {
	t.Helper()
	x, err := os.ReadFile(filepath.Join(a, name))
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(filepath.Join(b, name))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		t.Errorf("%s differs: %s and %s", name, a, b)
	}
}

// The toy problem is easy: every architecture must solve it.
func TestTrainingLearns(t *testing.T) {
	o := toyOptions(t, t.TempDir()+"/run")
	o.Recipe.Epochs, o.Recipe.Mix = 12, Mix{Mode: "batch"}
	o.Recipe.Optimizer.LR = 1e-2
	result, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range result.Last.Archs {
		if a.Top1 < 0.9 {
			t.Errorf("%s reaches %.0f %% on the held-out part", a.Arch, 100*a.Top1)
		}
	}
}

// A run that was cut before it had done anything has the weights that it was given, and is
// not gone on with with others.
func TestARunHasTheWeightsItBeganWith(t *testing.T) {
	o := toyOptions(t, filepath.Join(t.TempDir(), "run"))
	o.Weights = supernet.New(o.Space).Init(77)
	programs := &programs{}
	defer programs.close()
	whole := o
	whole.Out = filepath.Join(t.TempDir(), "whole")
	if _, err := run(context.Background(), whole, programs); err != nil {
		t.Fatal(err)
	}
	cut, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := run(cut, o, programs); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	given := o.Weights
	o.Resume, o.Weights = true, supernet.New(o.Space).Init(78)
	if _, err := run(cut, o, programs); !errors.Is(err, ErrOtherRun) {
		t.Errorf("other weights: %v", err)
	}
	for _, o.Weights = range []map[string]tensorfile.Tensor{given, nil} {
		if _, err := run(cut, o, programs); !errors.Is(err, ErrInterrupted) {
			t.Errorf("the same weights, or none: %v", err)
		}
	}
	result, err := run(context.Background(), o, programs)
	if err != nil {
		t.Fatal(err)
	}
	sameFile(t, whole.Out, o.Out, metricsFile)
	sameFile(t, whole.Out, o.Out, filepath.Join(checkpointsDir, fmt.Sprintf("step-%d.safetensors", result.Step)))
}

// Whatever file operation of a run's beginning fails, the run can go on, or begins again.
func TestABeginningThatFailsIsNotInTheWay(t *testing.T) {
	begin := func() Options {
		o := littleOptions(t)
		o.Weights, o.Recipe.Epochs = supernet.New(o.Space).Init(77), 1
		return o
	}
	programs := &programs{}
	defer programs.close()
	whole := begin()
	result, err := run(context.Background(), whole, programs)
	if err != nil {
		t.Fatal(err)
	}
	cut, cancel := context.WithCancel(context.Background())
	cancel()
	clean := &faultfs.FS{FS: fsys.OS, At: -1}
	o := begin()
	o.FS = clean
	if _, err := run(cut, o, programs); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	for at, operation := range clean.Log {
		o := begin()
		o.FS = &faultfs.FS{FS: fsys.OS, At: at, Kind: faultfs.DiskFull}
		_, _ = run(cut, o, programs)
		o.FS = nil
		if _, err := os.Stat(filepath.Join(o.Out, manifestFile)); err == nil {
			o.Resume, o.Weights = true, nil
		}
		if _, err := run(context.Background(), o, programs); err != nil {
			t.Fatalf("%s (operation %d) fails, then: %v", operation, at, err)
		}
		sameFile(t, whole.Out, o.Out, metricsFile)
		sameFile(t, whole.Out, o.Out, filepath.Join(checkpointsDir, fmt.Sprintf("step-%d.safetensors", result.Step)))
	}
}
