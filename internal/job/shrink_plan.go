package job

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"prenas/internal/data/source"
	"prenas/internal/latency"
	"prenas/internal/train"
	"prenas/pkg/space"
)

// ShrinkPlan is what Shrink would be, in seconds on this machine.
type ShrinkPlan struct {
	Original float64    `json:"original_seconds"` // taken to import and to order
	Search   float64    `json:"search_seconds"`   // taken
	Head     float64    `json:"head_seconds"`     // estimated, to fit a new head; 0: the classes are known
	Teacher  float64    `json:"teacher_seconds"`  // estimated, of all that the pretrained model says while it teaches
	Training train.Plan `json:"training"`
}

// Time of all of it, evaluation and checkpoints not counted.
func (p ShrinkPlan) Time() time.Duration {
	s := p.Original + p.Search + p.Head + p.Teacher
	return p.Training.Time() + time.Duration(s*float64(time.Second)).Round(time.Second)
}

// PlanShrink does what comes before the training in a folder that it removes, with a head that is
// not fitted, and measures the rest for about as long as within.
func PlanShrink(ctx context.Context, o ShrinkOptions, within time.Duration) (p ShrinkPlan, err error) {
	set, err := source.Open(ctx, o.Data, source.Options{Seed: o.Seed, Progress: o.Fetch})
	if err != nil {
		return p, err
	}
	model, err := o.read()
	if err != nil {
		return p, err
	}
	if o.Out, err = os.MkdirTemp("", "prenas-shrink-"); err != nil {
		return p, err
	}
	defer os.RemoveAll(o.Out)
	e, err := o.Open(ctx)
	if err != nil {
		return p, err
	}
	defer e.Close()

	began := time.Now()
	file, candidates := filepath.Join(o.Out, originalFolder, originalModel), searchedIn(o.Out)
	drawn, err := o.original(ctx, e, model, file, false)
	if err != nil {
		return p, err
	}
	p.Original, began = time.Since(began).Seconds(), time.Now()
	if err := o.search(ctx, e, file, candidates); err != nil {
		return p, err
	}
	p.Search = time.Since(began).Seconds()
	training, err := o.training(e, file, candidates)
	if err != nil {
		return p, err
	}
	if p.Training, err = PlanTraining(ctx, training, within); err != nil {
		return p, err
	}
	s, err := space.Load(SpacePath(file))
	if err != nil {
		return p, err
	}
	const batch = featureBatch
	ms, _, err := latency.Whole(ctx, e, s.Model, []space.Arch{s.Whole()}, batch)
	if err != nil {
		return p, err
	}
	each := ms[0] / 1e3 / batch // seconds of an image
	if drawn {
		p.Head = each * float64(set.Train.Len()+set.HeldOut.Len())
	}
	if training.Teacher != "" {
		p.Teacher = each * float64(p.Training.Updates) * float64(p.Training.Images)
	}
	return p, nil
}
