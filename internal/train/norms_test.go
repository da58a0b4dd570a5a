package train

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prenas/internal/engine/enginetest"
	"prenas/internal/fixture"
	"prenas/internal/fsys"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/internal/toy"
	"prenas/internal/trainstep"
	"prenas/pkg/space"
)

// convOptions are of a run of both architectures.
func convOptions(t *testing.T, out string) Options {
	o := toyOptions(t, out)
	o.Engine = enginetest.PureGo(t) // it compiles at once
	o.Space = toy.ConvSpace(t)
	o.Space.Model.Channels, o.Space.Model.ImageSize, o.Space.Model.NumClasses, o.Space.Resolution = 1, 8, 3, []int{8}
	o.Candidates = nil
	for i, a := range toy.ConvArchs(t) {
		a.Resolution = 8
		o.Candidates = append(o.Candidates, space.Bin{Key: space.BinKey(float64(i + 1)), Candidates: []space.Candidate{{Arch: a, Params: o.Space.Model.Params(a)}}})
	}
	o.Recipe.Regularize = recipe.Regularize{DropPath: 0.2}
	o.Recipe.Optimizer = recipe.Optimizer{Name: recipe.SGD, LR: 0.05, Momentum: 0.9, Eps: 1e-8}
	return o
}

func (o Options) archs() []space.Arch {
	var archs []space.Arch
	for _, bin := range o.Candidates {
		archs = append(archs, bin.Candidates[0].Arch)
	}
	return archs
}

// A convolutional run that is cut and goes on ends with the same bytes, statistics and
// their averages included, as one that is left alone.
func TestConvRunGoesOn(t *testing.T) {
	for _, sampler := range []string{recipe.Balanced, recipe.WholeSpace} {
		t.Run(sampler, func(t *testing.T) { convRunGoesOn(t, sampler) })
	}
}

func convRunGoesOn(t *testing.T, sampler string) {
	dir := t.TempDir()
	whole := convOptions(t, filepath.Join(dir, "whole"))
	whole.Recipe.Sampler.Name = sampler
	whole.Recipe.EMA.Decay, whole.Recipe.Epochs = 0.9, 2
	programs := &programs{}
	defer programs.close()
	result, err := run(context.Background(), whole, programs)
	if err != nil {
		t.Fatal(err)
	}
	cut := whole
	cut.Out = filepath.Join(dir, "cut")
	ctx, stop := context.WithCancel(context.Background())
	cut.Progress = func(s Status) {
		if s.Step == result.Step/2+1 {
			stop()
		}
	}
	if _, err := run(ctx, cut, programs); err == nil {
		t.Fatal("the run was not cut")
	}
	cut.Resume, cut.Progress = true, nil
	if _, err := run(context.Background(), cut, programs); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{rundir.MetricsFile, filepath.Join(rundir.CheckpointsDir, fmt.Sprintf("step-%d.safetensors", result.Step))} {
		a, err := os.ReadFile(filepath.Join(whole.Out, file))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(cut.Out, file))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs", file)
		}
	}
	weights, _, err := rundir.Weights(fsys.OS, whole.Out, whole.Space, func(path string, why error) { t.Errorf("%s: %v", path, why) })
	if err != nil {
		t.Fatal(err)
	}
	file, err := tensorfile.Read(rundir.CheckpointFile(whole.Out, result.BestStep))
	if err != nil {
		t.Fatal(err)
	}
	archs := whole.archs()
	for _, arch := range archs {
		own, err := rundir.RunningStats(weights, whole.Space.Model, arch)
		if err != nil {
			t.Fatal(err)
		}
		for name, s := range own {
			if !bytes.Equal(s.Data, file.Tensors["ema.stats."+arch.String()+"."+name].Data) {
				t.Errorf("%s of %s is not the average's", name, arch)
			}
		}
	}
	if _, err := rundir.RunningStats(weights, whole.Space.Model, whole.Space.Largest()); err == nil {
		t.Error("an architecture that was not trained has statistics")
	}
}

// A batch summed over parts moves the statistics as its parts do, one after the other:
// those of an update that is not finite not at all.
func TestSummedUpdatesMoveStatistics(t *testing.T) {
	for _, sampler := range []string{recipe.Balanced, recipe.Sandwich} {
		o := convOptions(t, filepath.Join(t.TempDir(), "run"))
		o.Recipe.Sampler.Name, o.Recipe.Accumulate, o.Recipe.Batch, o.Recipe.EvalEvery = sampler, 2, 4, 0
		o.Recipe.Epochs = 1
		o.Source = toyImages{train: 16} // two updates
		programs := &programs{}
		defer programs.close()
		stats := func(source Source, name string) map[string][]byte {
			t.Helper()
			o := o
			o.Source, o.Out = source, filepath.Join(t.TempDir(), name)
			if _, err := run(context.Background(), o, programs); err != nil {
				t.Fatal(err)
			}
			weights, _, err := rundir.Weights(fsys.OS, o.Out, o.Space, func(path string, why error) { t.Errorf("%s: %v", path, why) })
			if err != nil {
				t.Fatal(err)
			}
			all := map[string][]byte{}
			for name, w := range weights {
				if strings.HasPrefix(name, rundir.StatsPrefix) {
					all[name] = w.Data
				}
			}
			return all
		}
		sound, bad := stats(o.Source, "sound"), stats(spoiled{toyImages{train: 16}}, "bad")
		start := trainstep.NewState(supernet.New(o.Space), o.Recipe, supernet.New(o.Space).Init(o.Seed), o.archs()...)
		if len(sound) == 0 || len(sound) != len(bad) {
			t.Fatalf("%s: %d and %d statistics", sampler, len(sound), len(bad))
		}
		for name := range sound {
			if bytes.Equal(sound[name], start[name].Data) {
				t.Errorf("%s: %s was not moved", sampler, name)
			}
			if !bytes.Equal(bad[name], start[name].Data) {
				t.Errorf("%s: an update that was not finite moved %s", sampler, name)
			}
		}
	}
}

// Accumulated batches of one architecture move its statistics like as many steps of no
// learning rate.
func TestAccumulatedBatchesMoveStatisticsOneByOne(t *testing.T) {
	stats := func(change func(*Options)) map[string]tensorfile.Tensor {
		o := convOptions(t, filepath.Join(t.TempDir(), "run"))
		o.Candidates, o.Source, o.Recipe.EvalEvery, o.Recipe.Epochs = o.Candidates[:1], toyImages{train: 16}, 0, 1
		o.Recipe.Batch, o.Recipe.Regularize, o.Recipe.Mix = 8, recipe.Regularize{}, recipe.Mix{Mode: "batch"}
		o.Recipe.Optimizer.LR, o.Recipe.Schedule = 1e-12, recipe.Schedule{Name: recipe.ConstantSchedule}
		change(&o)
		if _, err := Run(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		weights, _, err := rundir.Weights(fsys.OS, o.Out, o.Space, func(path string, why error) { t.Errorf("%s: %v", path, why) })
		if err != nil {
			t.Fatal(err)
		}
		own, err := rundir.RunningStats(weights, o.Space.Model, o.archs()[0])
		if err != nil {
			t.Fatal(err)
		}
		return own
	}
	steps := stats(func(*Options) {})
	one := stats(func(o *Options) { o.Recipe.Accumulate = 2 })
	for name := range steps {
		a, err := steps[name].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		b, err := one[name].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		if d := fixture.Difference(a, b); d > 1e-5 {
			t.Errorf("%s differs by %.2g of its largest", name, d)
		}
		if slices.Equal(a, make([]float32, len(a))) {
			t.Errorf("%s was not moved", name)
		}
	}
}

// Where only the head trains, statistics rest, and a run begins with those that its
// weights bring.
func TestFrozenStatisticsRest(t *testing.T) {
	o := convOptions(t, filepath.Join(t.TempDir(), "run"))
	o.Source, o.Recipe.EvalEvery, o.Recipe.Epochs, o.Recipe.Optimizer.Freeze = toyImages{train: 16}, 0, 1, true
	o.Recipe.Regularize = recipe.Regularize{}
	net := supernet.New(o.Space)
	o.Weights = net.Init(3)
	for _, arch := range o.archs() {
		for _, p := range supernet.Stats(o.Space.Model, arch) {
			values := make([]float32, p.Shape[0])
			for i := range values {
				values[i] = 0.5 + float32(i%3)
			}
			o.Weights[rundir.StatName(arch, p)] = tensorfile.FromFloat32(p.Shape, values)
		}
	}
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	weights, _, err := rundir.Weights(fsys.OS, o.Out, o.Space, func(path string, why error) { t.Errorf("%s: %v", path, why) })
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range o.Weights {
		moved := !bytes.Equal(w.Data, weights[name].Data)
		if head := strings.HasPrefix(name, "classifier."); moved != head {
			t.Errorf("%s: moved %v, in the head %v", name, moved, head)
		}
	}
}

// What convolutional spaces cannot have is refused with the recipe's key.
func TestConvRecipesRefused(t *testing.T) {
	for key, change := range map[string]func(*recipe.Recipe){
		"regularize.attn_drop": func(r *recipe.Recipe) { r.Regularize.AttnDrop = 0.1 },
	} {
		o := convOptions(t, filepath.Join(t.TempDir(), "run"))
		change(&o.Recipe)
		if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}
