package train

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"prenas/internal/data/load"
	"prenas/internal/engine"
	"prenas/internal/engine/enginetest"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
)

// onceSpoiled are images of which one, in the third batch, is not finite: it comes to one
// of the devices, and all must leave the update out.
type onceSpoiled struct{ toyImages }

func (s onceSpoiled) Train(ctx context.Context, epoch, from, size int, share load.Share) iter.Seq2[evaluate.Batch, error] {
	return func(yield func(evaluate.Batch, error) bool) {
		k := from
		for b, err := range s.toyImages.Train(ctx, epoch, from, size, share) {
			if k == 2 {
				b.Images[0] = float32(math.NaN())
			}
			k++
			if !yield(b, err) {
				return
			}
		}
	}
}

// Devices that share a batch report the losses that one device does, step by step.
func TestDevicesShareABatch(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	for _, c := range []struct {
		name    string
		devices []int
		change  func(*recipe.Recipe)
	}{
		{"mixed, dropped", []int{2, 4}, func(r *recipe.Recipe) { r.Regularize.Drop, r.Optimizer.Clip = 0.1, 1 }},
		{"summed, taught", []int{2}, func(r *recipe.Recipe) {
			r.Sampler.Name, r.Accumulate = recipe.Sandwich, 2
			r.Distill = recipe.Distill{Teacher: recipe.LargestTeacher, Kind: recipe.SoftTarget, Alpha: 1, Temperature: 2}
		}},
		{"masked", []int{4}, func(r *recipe.Recipe) { r.Sampler.Name = recipe.WholeSpace }},
	} {
		losses := func(e *engine.Engine) (losses []float64) {
			o := littleOptions(t)
			o.Engine, o.Source, o.Recipe.Epochs = e, onceSpoiled{toyImages{train: 50}}, 1
			c.change(&o.Recipe)
			if o.Recipe.Sampler.Name == recipe.Balanced { // its architectures have nothing in common but the state
				o.Candidates = o.Candidates[:1]
			}
			o.Progress = func(s Status) { losses = append(losses, s.Loss) }
			if _, err := Run(context.Background(), o); err != nil {
				t.Fatal(err)
			}
			return losses
		}
		want := losses(enginetest.Test(t))
		for _, devices := range c.devices {
			t.Run(fmt.Sprintf("%s, %d devices", c.name, devices), func(t *testing.T) {
				got := losses(enginetest.Devices(t, devices))
				if len(got) != len(want) {
					t.Fatalf("%d losses, on one device %d", len(got), len(want))
				}
				spoiled := 0
				for i := range want {
					if math.IsNaN(want[i]) && math.IsNaN(got[i]) {
						spoiled++
					} else if !(math.Abs(got[i]-want[i]) <= 1e-5*want[i]) {
						t.Errorf("step %d: loss %v, on one device %v", i+1, got[i], want[i])
					}
				}
				if spoiled != 1 {
					t.Errorf("%d updates were not finite, want one", spoiled)
				}
			})
		}
	}
}

// The manifest says on how many devices a run began, and it goes on on others.
func TestRunsGoOnOnOtherDevices(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	o := littleOptions(t)
	o.Engine, o.Recipe.Epochs, o.Candidates = enginetest.Devices(t, 2), 1, o.Candidates[:1]
	ctx, cancel := context.WithCancel(context.Background())
	o.Progress = func(s Status) {
		if s.Step == 3 {
			cancel()
		}
	}
	if _, err := Run(ctx, o); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	m, err := rundir.ReadManifest(fsys.OS, o.Out)
	if err != nil || m.Devices != 2 {
		t.Errorf("the manifest has %d devices (%v), want 2", m.Devices, err)
	}
	told := false
	o.Engine, o.Resume, o.Progress = enginetest.Test(t), true, nil
	o.Log = func(line string) { told = told || strings.Contains(line, "the run was on 2 devices of xla") }
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if !told {
		t.Error("nothing was said of the other number of devices")
	}
}

// A run that goes on on another engine says so once and keeps it.
func TestRunsGoOnOnAnotherEngine(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	o := littleOptions(t)
	o.Engine, o.Recipe.Epochs, o.Candidates = enginetest.Test(t), 1, o.Candidates[:1]
	if o.Engine.Plugin() == "" {
		t.Skip("there is no other engine")
	}
	var told []string
	o.Log = func(line string) {
		if strings.HasPrefix(line, "warning: ") {
			told = append(told, line)
		}
	}
	for _, e := range []*engine.Engine{o.Engine, enginetest.PureGo(t), enginetest.PureGo(t)} {
		o.Engine = e
		o = stoppedAfter(t, o, 3, &programs{})
	}
	m, err := rundir.ReadManifest(fsys.OS, o.Out)
	if err != nil || m.Engine.Engine != "xla" || m.Engine.Plugin == "" || m.Engine.Instructions == "" || len(m.Moved) != 1 || m.Moved[0].Step != 3 || m.Moved[0].Engine.Engine != "go" {
		t.Errorf("%+v, %v", m, err)
	}
	if len(told) != 1 || !strings.Contains(told[0], "the run was on xla (plug-in ") || !strings.Contains(told[0], "goes on on go (") {
		t.Errorf("told %q", told)
	}
	// The manifest of an older version has the engine's name alone.
	m.Engine, m.Moved = nil, nil
	if err := m.Write(fsys.OS, o.Out); err != nil {
		t.Fatal(err)
	}
	stoppedAfter(t, o, 1, &programs{})
	if len(told) != 2 || !strings.Contains(told[1], "the run was on xla and goes on on go (") {
		t.Errorf("told %q", told)
	}
}

func TestDevicesMustDivideTheBatch(t *testing.T) {
	o := littleOptions(t)
	o.Engine, o.Out, o.Recipe.Batch = enginetest.Devices(t, 4), filepath.Join(t.TempDir(), "run"), 6
	_, err := Run(context.Background(), o)
	if !errors.Is(err, recipe.ErrInvalid) || !strings.Contains(err.Error(), "batch is 6") || !strings.Contains(err.Error(), "devices 4") {
		t.Error(err)
	}
}
