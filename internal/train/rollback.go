package train

import (
	"fmt"
	"math"
)

// maxBadSteps updates in a row that are not finite end a run, or take it back.
const maxBadSteps = 3

// maxRollBacks is how often a run goes back before it stops.
const maxRollBacks = 5

// rollBack asks for going back to a checkpoint.
type rollBack struct {
	newest int // updates behind the newest checkpoint that may be gone back to
	why    string
}

func (r *rollBack) Error() string { return "roll back: " + r.why }

// rateFactor is what going back has left of the learning rate: half, each time.
func (p Progress) rateFactor() float64 { return math.Pow(0.5, float64(p.RolledBack)) }

// notFinite notes an update that was not applied.
func (t *trainer) notFinite(o outcome) error {
	p := &t.progress
	p.BadSteps++
	p.Window.Skipped++
	t.Log(o.skipped(p.Step, t.parts))
	if p.BadSteps < maxBadSteps {
		return nil
	}
	first := p.Step - maxBadSteps + 1
	return t.diverged(first-1, fmt.Sprintf("the updates %d to %d were not finite", first, p.Step))
}

// diverged goes back to a checkpoint of at most so many updates, or ends the run.
func (t *trainer) diverged(newest int, why string) error {
	p := &t.progress
	if t.Recipe.RollBack && p.RolledBack < maxRollBacks {
		return &rollBack{newest, why}
	}
	advice := "a smaller optimizer.lr or a longer schedule.warmup in the recipe may help, or --roll-back, with --resume too"
	if t.Recipe.RollBack {
		advice = fmt.Sprintf("it went back %d times, to %v of the learning rate; a smaller optimizer.lr or a longer schedule.warmup in the recipe may help", p.RolledBack, p.rateFactor())
	}
	err := fmt.Errorf("%w: %s, so training stops: %s", ErrNonFinite, why, advice)
	if noted := t.metrics.write(NonFiniteLine{Kind: "not_finite", Step: p.Step, Why: why}); noted != nil {
		t.Log(noted.Error())
	}
	return err
}

// RollBackLine is the metrics line of going back. What the updates in between had
// written is gone: they are done again.
type RollBackLine struct {
	Kind   string  `json:"kind"` // "roll_back"
	Step   int     `json:"step"` // updates done after it
	From   int     `json:"from"` // updates done before it
	Factor float64 `json:"lr_factor"`
	Why    string  `json:"why,omitempty"` // files of older versions do not say
}

// goBack takes the run to its newest checkpoint from before what was not finite, or to its
// start, with half the learning rate. Newer checkpoints are removed. A process that ends
// before the next checkpoint does the same again.
func (t *trainer) goBack(to *rollBack) error {
	before := t.progress
	t.progress = t.start
	t.progress.Window = newWindow(len(t.parts))
	host, err := t.restore(to.newest)
	if err != nil {
		return err
	}
	p := &t.progress
	p.RolledBack = before.RolledBack + 1
	t.Log(fmt.Sprintf("%s: back to step %d with %v of the learning rate", to.why, p.Step, p.rateFactor()))
	if err := pruneCheckpoints(t.FS, t.Out, p.Step, t.Recipe.Keep, p.BestStep); err != nil {
		return err
	}
	if err := t.state.free(); err != nil {
		return err
	}
	if t.state, err = host.upload(t.Engine, t.net, t.archs...); err != nil {
		return err
	}
	if err := t.metrics.close(); err != nil {
		return err
	}
	if err := t.openMetrics(); err != nil {
		return err
	}
	t.saved, t.calibrated, t.lastEval = Progress{}, 0, nil
	if err := t.metrics.write(RollBackLine{Kind: "roll_back", Step: p.Step, From: before.Step, Factor: p.rateFactor(), Why: to.why}); err != nil {
		return err
	}
	t.openBoard()
	return nil
}
