package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"prenas/internal/engine/enginetest"
	"prenas/internal/fsys"
	"prenas/internal/fsys/faultfs"
	"prenas/internal/recipe"
	"prenas/internal/rng"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/internal/toy"
)

func toyRecipe() recipe.Recipe {
	r := recipe.Default()
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
		Engine: enginetest.Quick(t), Space: toy.Space(), Candidates: toy.Candidates(), Recipe: toyRecipe(),
		Seed: 5, Source: toyImages{train: 90, heldOut: 21}, Out: out,
	}
}

// A run that is cut at any step and resumed, again and again, leaves the same bytes as
// one that is not.
func TestResumeIsByteEqual(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*recipe.Recipe)
		trials int
	}{
		{"adamw", func(*recipe.Recipe) {}, 6},
		{"sgd with averages", func(r *recipe.Recipe) {
			r.Optimizer = recipe.Optimizer{Name: recipe.SGD, LR: 0.02, Decay: 1e-4, Momentum: 0.9, Nesterov: true, Clip: 1, Eps: 1e-8}
			r.EMA.Decay = 0.9
			r.Schedule = recipe.Schedule{Name: recipe.ConstantSchedule, Cooldown: 1, MinLR: 1e-3}
		}, 4},
		{"two batches an update", func(r *recipe.Recipe) { r.Batch, r.Accumulate, r.SaveEvery = 4, 2, 5 }, 3},
		{"classes weighed", func(r *recipe.Recipe) {
			r.ClassWeights, r.Loss.Smoothing, r.Mix = "balanced", 0.1, recipe.Mix{Mixup: 0.8, Cutmix: 1, Prob: 1, Switch: 0.5, Mode: "elem"}
		}, 2},
		{"classes weighed, of the whole space", func(r *recipe.Recipe) {
			r.ClassWeights, r.Sampler.Name, r.Batch, r.Accumulate = "balanced", recipe.WholeSpace, 4, 2
		}, 2},
		{"classes weighed, a sandwich that teaches, updates of two batches", func(r *recipe.Recipe) {
			r.ClassWeights, r.Sampler.Name, r.Distill = "balanced", recipe.Sandwich, recipe.Distill{Teacher: recipe.LargestTeacher, Kind: recipe.SoftTarget, Alpha: 0.5, Temperature: 2}
			r.Batch, r.Accumulate = 4, 2
		}, 2},
		{"classes shown alike", func(r *recipe.Recipe) { r.BalanceClasses, r.FillLast = true, true }, 3},
		{"classes shown alike, in groups, each image three times", func(r *recipe.Recipe) {
			r.BalanceClasses, r.Sampler.Name, r.Augment.RepeatedAug = true, recipe.Groups, 3
		}, 2},
		{"sandwich that teaches", func(r *recipe.Recipe) {
			r.Sampler.Name, r.Distill = recipe.Sandwich, recipe.Distill{Teacher: recipe.LargestTeacher, Kind: recipe.SoftTarget, Alpha: 1, Temperature: 2}
		}, 2},
		{"any of the space, lamb, dropout", func(r *recipe.Recipe) {
			r.Sampler.Name, r.Optimizer.Name, r.Regularize.Drop, r.Regularize.AttnDrop = recipe.WholeSpace, recipe.LAMB, 0.1, 0.1
		}, 2},
	} {
		if testing.Short() {
			c.trials = 1
		}
		t.Run(c.name, func(t *testing.T) { resumeIsByteEqual(t, c.change, c.trials) })
	}
}

func resumeIsByteEqual(t *testing.T, change func(*recipe.Recipe), trials int) {
	whole := filepath.Join(t.TempDir(), "whole")
	programs := &programs{}
	defer programs.close()
	o := toyOptions(t, whole)
	change(&o.Recipe)
	if o.Recipe.BalanceClasses { // which is the work of the loader
		images, err := NewImages(unevenImages(), o.Space.Model, o.Recipe, o.Seed, 2)
		if err != nil {
			t.Fatal(err)
		}
		o.Source = images
	}
	result, err := run(context.Background(), o, programs)
	if err != nil {
		t.Fatal(err)
	}
	images, _ := o.Source.Counts()
	steps := o.Recipe.Epochs * o.Recipe.PerEpoch(images)
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
		sameFile(t, whole, o.Out, rundir.MetricsFile)
		sameFile(t, whole, o.Out, filepath.Join(rundir.CheckpointsDir, fmt.Sprintf("step-%d.safetensors", steps)))
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
	o.Recipe.Epochs, o.Recipe.Mix = 12, recipe.Mix{Mode: "batch"}
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
	if _, err := run(cut, o, programs); !errors.Is(err, rundir.ErrOtherRun) {
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
	sameFile(t, whole.Out, o.Out, rundir.MetricsFile)
	sameFile(t, whole.Out, o.Out, filepath.Join(rundir.CheckpointsDir, fmt.Sprintf("step-%d.safetensors", result.Step)))
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
		if testing.Short() && at%9 != 0 {
			continue
		}
		o := begin()
		o.FS = &faultfs.FS{FS: fsys.OS, At: at, Kind: faultfs.DiskFull}
		_, _ = run(cut, o, programs)
		o.FS = nil
		if _, err := os.Stat(filepath.Join(o.Out, rundir.ManifestFile)); err == nil {
			o.Resume, o.Weights = true, nil
		}
		if _, err := run(context.Background(), o, programs); err != nil {
			t.Fatalf("%s (operation %d) fails, then: %v", operation, at, err)
		}
		sameFile(t, whole.Out, o.Out, rundir.MetricsFile)
		sameFile(t, whole.Out, o.Out, filepath.Join(rundir.CheckpointsDir, fmt.Sprintf("step-%d.safetensors", result.Step)))
	}
}
