package train

import (
	"context"
	"errors"
	"iter"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"prenas/internal/data/load"
	"prenas/internal/engine/enginetest"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/pkg/space"
)

// littleOptions are of two architectures that compile fast.
func littleOptions(t *testing.T) Options {
	o := toyOptions(t, filepath.Join(t.TempDir(), "run"))
	o.Candidates = space.Candidates{
		{Key: "0.1", Candidates: []space.Candidate{{Arch: space.Arch{EmbedDim: 16, NumHeads: []int{1}, MLPRatio: []float64{1}}}}},
		{Key: "0.2", Candidates: []space.Candidate{{Arch: space.Arch{EmbedDim: 24, NumHeads: []int{2}, MLPRatio: []float64{2}}}}},
	}
	o.Source, o.Recipe.EvalEvery = toyImages{train: 90}, 0
	return o
}

// trained runs a recipe and returns the weights it ends with.
func trained(t *testing.T, change func(*Options)) map[string][]float32 {
	t.Helper()
	o := littleOptions(t)
	change(&o)
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	weights, _, err := rundir.Weights(fsys.OS, o.Out, o.Space, func(path string, why error) { t.Errorf("%s: %v", path, why) })
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]float32{}
	for name, w := range weights {
		if values[name], err = w.Float32s(); err != nil {
			t.Fatal(err)
		}
	}
	return values
}

// far is the largest difference of two sets of weights, relative to the largest weight of the
// tensor. It is infinite where they have other tensors, none, or weights that are not finite.
func far(a, b map[string][]float32) float64 {
	worst := 0.0
	for name := range a {
		largest, most := 0.0, 0.0
		for i, v := range a[name] {
			largest = max(largest, math.Abs(float64(v)))
			most = max(most, math.Abs(float64(v)-float64(b[name][i])))
		}
		worst = max(worst, most/max(largest, 1e-3))
	}
	if len(a) == 0 || len(a) != len(b) || math.IsNaN(worst) {
		return math.Inf(1)
	}
	return worst
}

func plainToy(o *Options) {
	o.Recipe.Epochs, o.Recipe.Mix, o.Recipe.Regularize = 2, recipe.Mix{Mode: "batch"}, recipe.Regularize{}
	o.Recipe.Optimizer = recipe.Optimizer{Name: recipe.SGD, LR: 0.05, Momentum: 0.9, Eps: 1e-8, Clip: 0.5}
}

// Two batches of 4 an update are one batch of 8.
func TestAccumulatedBatchesAreOne(t *testing.T) {
	for _, sampler := range []string{recipe.Balanced, recipe.WholeSpace} {
		by := func(batch, accumulate int) map[string][]float32 {
			return trained(t, func(o *Options) {
				plainToy(o)
				o.Recipe.Batch, o.Recipe.Accumulate, o.Recipe.Sampler.Name = batch, accumulate, sampler
			})
		}
		one := by(8, 1)
		if d := far(one, by(4, 2)); d > 1e-4 {
			t.Errorf("%s: weights differ by %.2g of their largest", sampler, d)
		}
		if d := far(one, by(4, 1)); d < 1e-2 {
			t.Errorf("%s: batches of 4 without accumulation give the same weights (%.2g)", sampler, d)
		}
	}
}

// In a sandwich whose largest teaches, the others' loss is a mean of the labels' and of the
// teacher's, by alpha: so is the update, which plain SGD makes of its gradient. The largest itself
// learns from the labels alone.
func TestTeaching(t *testing.T) {
	e := enginetest.PureGo(t)
	update := func(d recipe.Distill, archs int) map[string][]float32 {
		return trained(t, func(o *Options) {
			plainToy(o)
			o.Engine, o.Source, o.Recipe.Epochs, o.Recipe.Schedule.Warmup = e, toyImages{train: 8}, 1, 0
			o.Recipe.Optimizer.LR, o.Recipe.Optimizer.Clip = 0.5, 0
			o.Recipe.Sampler.Name, o.Recipe.Distill = recipe.Sandwich, d
			o.Candidates = o.Candidates[len(o.Candidates)-archs:]
		})
	}
	plain, taught := update(recipe.Distill{}, 2), map[string]map[string][]float32{}
	for _, kind := range []string{recipe.SoftTarget, recipe.HardTarget} {
		by := func(alpha float64) recipe.Distill {
			return recipe.Distill{Teacher: recipe.LargestTeacher, Kind: kind, Alpha: alpha, Temperature: 1}
		}
		half, all := update(by(0.5), 2), update(by(1), 2)
		taught[kind] = all
		mean := map[string][]float32{}
		for name := range all {
			for i, v := range all[name] {
				mean[name] = append(mean[name], (v+plain[name][i])/2)
			}
		}
		if d := far(mean, half); d > 1e-5 {
			t.Errorf("%s: with alpha 0.5 weights are %.2g off the mean of those with 0 and 1", kind, d)
		}
		if d := far(plain, all); d < 1e-3 {
			t.Errorf("%s: the teacher changes nothing (%.2g)", kind, d)
		}
		if d := far(update(recipe.Distill{}, 1), update(by(1), 1)); d != 0 {
			t.Errorf("%s: the largest is taught by itself: weights differ by %.2g", kind, d)
		}
	}
	if d := far(taught[recipe.SoftTarget], taught[recipe.HardTarget]); d < 1e-3 {
		t.Errorf("soft and hard teaching are the same (%.2g)", d)
	}
}

// poisoned are images of which one batch is not finite, each time it is seen.
type poisoned struct {
	toyImages
	at int // batch of the first epoch
}

func (s poisoned) Train(ctx context.Context, epoch, from, size int, share load.Share) iter.Seq2[evaluate.Batch, error] {
	return func(yield func(evaluate.Batch, error) bool) {
		k := from
		for b, err := range s.toyImages.Train(ctx, epoch, from, size, share) {
			if epoch == 1 && k >= s.at && k < s.at+maxBadSteps {
				b.Images[0] = float32(math.Inf(1))
			}
			k++
			if !yield(b, err) {
				return
			}
		}
	}
}

// Updates that are not finite change nothing; three in a row end the run, or take it
// back, as often as it may, and every line says so.
func TestUpdatesThatAreNotFinite(t *testing.T) {
	for _, sampler := range []string{recipe.Balanced, recipe.Sandwich} {
		o := littleOptions(t)
		o.Source, o.Recipe.Sampler.Name = poisoned{toyImages{train: 90}, 4}, sampler
		programs := &programs{}
		defer programs.close()
		if _, err := run(context.Background(), o, programs); !errors.Is(err, ErrNonFinite) {
			t.Fatalf("%s: error %v, want ErrNonFinite", sampler, err)
		}
		o.Out, o.Recipe.RollBack = filepath.Join(t.TempDir(), "back"), true
		backs := 0
		o.Log = func(line string) {
			if strings.Contains(line, "back to step 11 with") { // 90/8 updates an epoch
				backs++
			}
		}
		if _, err := run(context.Background(), o, programs); !errors.Is(err, ErrNonFinite) || backs != maxRollBacks {
			t.Errorf("%s: went back %d times, then %v", sampler, backs, err)
		}
	}
}

// An update that is not finite leaves the state as it was.
func TestOneUpdateThatIsNotFiniteIsLeftOut(t *testing.T) {
	for _, sampler := range []string{recipe.Balanced, recipe.Sandwich, recipe.WholeSpace} {
		o := littleOptions(t)
		o.Recipe.Sampler.Name, o.Recipe.Epochs = sampler, 1
		o.Source = spoiled{toyImages{train: 16}}
		if _, err := Run(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		weights, _, err := rundir.Weights(fsys.OS, o.Out, o.Space, func(path string, why error) { t.Errorf("%s: %v", path, why) })
		if err != nil {
			t.Fatal(err)
		}
		for name, w := range supernet.New(o.Space).Init(o.Seed) {
			if string(w.Data) != string(weights[name].Data) {
				t.Errorf("%s: %s was changed", sampler, name)
			}
		}
	}
}

// spoiled are images none of which is finite.
type spoiled struct{ toyImages }

func (s spoiled) Train(ctx context.Context, epoch, from, size int, share load.Share) iter.Seq2[evaluate.Batch, error] {
	return func(yield func(evaluate.Batch, error) bool) {
		for b, err := range s.toyImages.Train(ctx, epoch, from, size, share) {
			b.Images[3] = float32(math.NaN())
			if !yield(b, err) {
				return
			}
		}
	}
}
