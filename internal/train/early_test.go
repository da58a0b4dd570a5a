package train

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prenas/internal/data/load"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
)

// misleading holds out images with wrong labels: what is learnt makes the model worse on them.
type misleading struct{ toyImages }

func (s misleading) HeldOut(ctx context.Context, size int, share load.Share) iter.Seq2[evaluate.Batch, error] {
	return func(yield func(evaluate.Batch, error) bool) {
		for b, err := range s.toyImages.HeldOut(ctx, size, share) {
			for i := range b.Labels {
				b.Labels[i] = (b.Labels[i] + 1) % 3
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

func overFitting(t *testing.T, out string) Options {
	o := toyOptions(t, out)
	o.Source = misleading{toyImages{train: 32, heldOut: 21}}
	o.Recipe.Epochs, o.Recipe.Mix, o.Recipe.Patience, o.Recipe.LogEvery = 12, recipe.Mix{Mode: "batch"}, 3, 3
	o.Recipe.Optimizer.LR = 1e-2
	o.Recipe.Keep = 50
	return o
}

// A run whose held-out images get worse stops, says so, and is ended for whoever asks; one that was
// cut, anywhere, leaves the same bytes.
func TestStopsEarly(t *testing.T) {
	programs := &programs{}
	defer programs.close()
	var said []string
	o := overFitting(t, filepath.Join(t.TempDir(), "whole"))
	o.Log = func(line string) { said = append(said, line) }
	result, err := run(context.Background(), o, programs)
	if err != nil {
		t.Fatal(err)
	}
	all := 4 * o.Recipe.Epochs
	if result.Early == nil || result.Step >= all || result.Early.Step != result.Step {
		t.Fatalf("%+v, stop %+v", result, result.Early)
	}
	if waited := result.Step - result.Early.Improved; waited != 4*o.Recipe.Patience {
		t.Errorf("waited for %d updates, not %d epochs of 4", waited, o.Recipe.Patience)
	}
	if result.OverFit == nil || result.OverFit.Held[1] <= result.OverFit.Held[0] {
		t.Errorf("over-fitting: %+v", result.OverFit)
	}
	for _, want := range []string{"stopped early, after update ", "over-fitted after update "} {
		if !slices.ContainsFunc(said, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("%q was not said: %q", want, said)
		}
	}
	manifest, err := rundir.ReadManifest(fsys.OS, o.Out)
	if err != nil {
		t.Fatal(err)
	}
	if done, ended, err := manifest.Done(fsys.OS, o.Out); done != result.Step || !ended || err != nil {
		t.Errorf("done %d, ended %v, %v", done, ended, err)
	}
	files := func(a, b string) {
		t.Helper()
		sameFile(t, a, b, rundir.MetricsFile)
		sameFile(t, a, b, filepath.Join(rundir.CheckpointsDir, fmt.Sprintf("step-%d.safetensors", result.Step)))
	}
	for _, cut := range []int{1, result.BestStep + 1, result.Step - 1, result.Step} {
		cutting := overFitting(t, filepath.Join(t.TempDir(), fmt.Sprint(cut)))
		ctx, cancel := context.WithCancel(context.Background())
		cutting.Progress = func(s Status) {
			if s.Step == cut {
				cancel()
			}
		}
		if _, err := run(ctx, cutting, programs); err != nil && !errors.Is(err, ErrInterrupted) {
			t.Fatal(err)
		}
		cutting.Resume, cutting.Progress = true, nil
		for range 2 { // the second time there is nothing left to do, and the same is said
			again, err := run(context.Background(), cutting, programs)
			if err != nil || again.Early == nil || *again.Early != *result.Early {
				t.Fatalf("cut at %d: %+v, %v", cut, again, err)
			}
			files(o.Out, cutting.Out)
		}
	}

	// More patience: as one that had it from the start.
	patient := overFitting(t, filepath.Join(t.TempDir(), "patient"))
	patient.Recipe.Patience = 5
	want, err := run(context.Background(), patient, programs)
	if err != nil || want.Step <= result.Step {
		t.Fatalf("%+v, %v", want, err)
	}
	o.Resume, o.Recipe.Patience = true, 5
	got, err := run(context.Background(), o, programs)
	if err != nil || got.Step != want.Step {
		t.Fatalf("%+v, want %+v, %v", got, want, err)
	}
	sameFile(t, patient.Out, o.Out, rundir.MetricsFile)
	weights := func(run string) string {
		m, err := rundir.ReadManifest(fsys.OS, run)
		if err != nil {
			t.Fatal(err)
		}
		host, _, err := rundir.ReadCheckpoint(fsys.OS, rundir.CheckpointFile(run, want.Step), supernet.New(m.Space))
		if err != nil {
			t.Fatal(err)
		}
		return host.Digest(supernet.New(m.Space), nil)
	}
	if weights(patient.Out) != weights(o.Out) {
		t.Error("a run that was given more patience ends otherwise than one that had it")
	}

	// Less patience is another run; none at all goes on to the end.
	o.Recipe.Patience = 2
	if _, err := run(context.Background(), o, programs); !errors.Is(err, rundir.ErrOtherRun) {
		t.Errorf("less patience: %v", err)
	}
	o.Recipe.Patience = 0
	if r, err := run(context.Background(), o, programs); err != nil || r.Step != all || r.Early != nil {
		t.Errorf("no patience: %+v, %v", r, err)
	}
	text, err := os.ReadFile(filepath.Join(o.Out, rundir.MetricsFile))
	if err != nil || strings.Contains(string(text), "early_stop") {
		t.Errorf("the metrics of a run that went on say that it stopped: %v", err)
	}
}

// More epochs for a run that stopped begin the waiting anew.
func TestMoreEpochsAfterAnEarlyStop(t *testing.T) {
	programs := &programs{}
	defer programs.close()
	o := overFitting(t, filepath.Join(t.TempDir(), "run"))
	first, err := run(context.Background(), o, programs)
	if err != nil || first.Early == nil {
		t.Fatalf("%+v, %v", first, err)
	}
	o.Resume, o.Recipe.Epochs = true, 20
	again, err := run(context.Background(), o, programs)
	if err != nil || again.Early == nil || again.Step != first.Step+4*o.Recipe.Patience {
		t.Errorf("%+v after %+v, %v", again.Early, first.Early, err)
	}
}

// Without held-out images nothing can be seen to improve: the run has all its epochs, and says so.
func TestNothingToStopBy(t *testing.T) {
	o := overFitting(t, filepath.Join(t.TempDir(), "run"))
	o.Source = toyImages{train: 32}
	o.Recipe.Epochs, o.Recipe.Patience = 2, 1
	var said []string
	o.Log = func(line string) { said = append(said, line) }
	r, err := Run(context.Background(), o)
	if err != nil || r.Early != nil || r.Step != 8 {
		t.Errorf("%+v, %v", r, err)
	}
	if !slices.ContainsFunc(said, func(line string) bool { return strings.Contains(line, "will not stop early") }) {
		t.Errorf("it says %q", said)
	}
}

// Of ten images one standard error is up to 16 %: the last evaluation within it of the highest is
// taken, by all who read the run.
func TestTheLastWithinTheErrorIsTaken(t *testing.T) {
	o := toyOptions(t, filepath.Join(t.TempDir(), "run"))
	o.Source = toyImages{train: 32, heldOut: 10}
	o.Recipe.Epochs, o.Recipe.Mix, o.Recipe.Optimizer.LR, o.Recipe.Keep = 6, recipe.Mix{Mode: "batch"}, 1e-2, 1
	result, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	m, err := rundir.ReadMetrics(fsys.OS, o.Out)
	if err != nil {
		t.Fatal(err)
	}
	highest, want := 0.0, 0
	for _, e := range m.Eval {
		highest = max(highest, e.Top1)
		within := e.Top1 >= highest-math.Sqrt(highest*(1-highest)/10)
		if within {
			want = e.Step
		}
		if e.Best != within {
			t.Errorf("update %d: taken %v, want %v", e.Step, e.Best, within)
		}
	}
	if result.BestStep != want || m.Best().Step != want {
		t.Errorf("taken is that of update %d, the metrics say %d, want %d", result.BestStep, m.Best().Step, want)
	}
	if _, step, err := rundir.Weights(fsys.OS, o.Out, o.Space, func(path string, why error) { t.Error(path, why) }); err != nil || step != want {
		t.Errorf("weights of update %d, %v", step, err)
	}
}
