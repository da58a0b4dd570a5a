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
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
)

// blinding are images of which the held-out ones are not finite in so many evaluations.
type blinding struct {
	toyImages
	left *int
}

func (s blinding) HeldOut(ctx context.Context, size int, share load.Share) iter.Seq2[evaluate.Batch, error] {
	*s.left--
	blind := *s.left >= 0
	return func(yield func(evaluate.Batch, error) bool) {
		for b, err := range s.toyImages.HeldOut(ctx, size, share) {
			if blind {
				b.Images[5] = float32(math.Inf(1))
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

// An evaluation that is not finite takes the run back, or ends it, as an update does. The
// run can be resumed all the same, and then go back.
func TestEvaluationsThatAreNotFinite(t *testing.T) {
	o := littleOptions(t)
	o.Recipe.EvalEvery, o.Recipe.SaveEvery = 1, 5
	left := 100
	o.Source = blinding{toyImages{train: 90, heldOut: 21}, &left}
	programs := &programs{}
	defer programs.close()
	for range 3 {
		_, err := run(context.Background(), o, programs)
		if !errors.Is(err, ErrNonFinite) || !strings.Contains(err.Error(), "on 3 of 21 images") {
			t.Fatalf("error %v, want ErrNonFinite", err)
		}
		m, err := rundir.ReadMetrics(fsys.OS, o.Out)
		if err != nil || len(m.Eval) != 0 || m.Stopped == nil || m.Stopped.Step != 11 {
			t.Fatalf("%+v, %v", m, err)
		}
		o.Resume = true
	}
	left, o.Recipe.RollBack = 2, true
	if _, err := run(context.Background(), o, programs); err != nil {
		t.Fatal(err)
	}
	m, err := rundir.ReadMetrics(fsys.OS, o.Out)
	if err != nil || m.Stopped != nil || len(m.Eval) != 3 || len(m.Back) != 1 || m.Back[0].Factor != 0.25 || m.Back[0].From != 11 || m.Back[0].Step != 10 || !strings.Contains(m.Back[0].Why, "logits are not finite") {
		t.Errorf("%+v, %v", m, err)
	}
}

// Whatever the learning rate makes of the weights, each checkpoint is of finite ones, and a
// run that has diverged is resumed to the same end.
func TestWeightsThatDiverge(t *testing.T) {
	for _, c := range []struct {
		name string
		lr   float64
		back bool
	}{{"once", 100, false}, {"and go back", 100, true}} {
		o := littleOptions(t)
		plainToy(&o)
		o.Source = toyImages{train: 90, heldOut: 21}
		o.Recipe.EvalEvery, o.Recipe.SaveEvery, o.Recipe.LogEvery, o.Recipe.RollBack = 1, 2, 2, c.back
		o.Recipe.Optimizer = recipe.Optimizer{Name: recipe.SGD, LR: c.lr, Momentum: 0.99, Eps: 1e-8}
		o.Recipe.Schedule.Warmup, o.Recipe.Schedule.MinLR = 0, 0
		programs := &programs{}
		defer programs.close()
		for range 2 {
			if _, err := run(context.Background(), o, programs); !errors.Is(err, ErrNonFinite) {
				t.Fatalf("%s: error %v, want ErrNonFinite", c.name, err)
			}
			o.Resume = true
			if _, err := rundir.ReadMetrics(fsys.OS, o.Out); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			steps, err := rundir.CheckpointSteps(fsys.OS, o.Out)
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range steps {
				if _, _, err := rundir.ReadCheckpoint(fsys.OS, rundir.CheckpointFile(o.Out, step), supernet.New(o.Space)); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
			}
		}
	}
}

// A checkpoint of weights that are not finite is not gone on from, nor measured.
func TestACheckpointThatIsNotFiniteIsPassedOver(t *testing.T) {
	o, whole, shared := cutRun(t)
	net := supernet.New(o.Space)
	h, p, err := rundir.ReadCheckpoint(fsys.OS, rundir.CheckpointFile(o.Out, 6), net)
	if err != nil {
		t.Fatal(err)
	}
	w := h[net.Params()[3].Name]
	copy(w.Data[len(w.Data)-4:], []byte{0, 0, 0x80, 0xff}) // -Inf
	p.Step = 9
	if err := rundir.WriteCheckpoint(fsys.OS, o.Out, h, p); err != nil {
		t.Fatal(err)
	}
	passed := 0
	if _, step, err := rundir.Weights(fsys.OS, o.Out, o.Space, func(_ string, why error) {
		if errors.Is(why, rundir.ErrWeights) {
			passed++
		}
	}); err != nil || step != 6 || passed != 1 {
		t.Errorf("weights of step %d, %d passed over, %v", step, passed, err)
	}
	if _, err := run(context.Background(), o, shared); err != nil {
		t.Fatal(err)
	}
	sameFile(t, whole.Out, o.Out, filepath.Join(rundir.CheckpointsDir, "step-22.safetensors"))
}
