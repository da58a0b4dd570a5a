package train

import (
	"fmt"
	"prenas/internal/input"
	"prenas/internal/rundir"
	"prenas/internal/trainstep"
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

// notFinite notes an update that was not applied.
func (t *trainer) notFinite(o trainstep.Outcome) error {
	p := &t.progress
	p.BadSteps++
	p.Window.Skipped++
	t.Log(skipped(o, p.Step, t.metricNames))
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
	advice := fmt.Sprintf("a smaller optimizer.lr or a longer schedule.warmup in the recipe may help, or %v, with %v too", input.RollBack, input.Resume)
	if t.Recipe.RollBack {
		advice = fmt.Sprintf("it went back %d times, to %v of the learning rate; a smaller optimizer.lr or a longer schedule.warmup in the recipe may help", p.RolledBack, p.LRFactor())
	}
	err := fmt.Errorf("%w: %s, so training stops: %s", ErrNonFinite, why, advice)
	if noted := t.metrics.Write(rundir.NonFiniteLine{Kind: "not_finite", Step: p.Step, Why: why}); noted != nil {
		t.Log(noted.Error())
	}
	return err
}

// goBack takes the run to its newest checkpoint from before what was not finite, or to its
// start, with half the learning rate. Newer checkpoints are removed. A process that ends
// before the next checkpoint does the same again.
func (t *trainer) goBack(to *rollBack) error {
	before := t.progress
	t.progress = t.start
	t.progress.Window = rundir.NewWindow(len(t.metricNames))
	host, err := t.ofFirst(func() (rundir.HostState, error) { return t.restore(to.newest) })
	if err != nil {
		return err
	}
	p := &t.progress
	p.RolledBack = before.RolledBack + 1
	t.Log(fmt.Sprintf("%s: back to step %d with %v of the learning rate", to.why, p.Step, p.LRFactor()))
	if err := rundir.PruneCheckpoints(t.FS, t.Out, p.Step, t.Recipe.Keep, p.BestStep); err != nil {
		return err
	}
	if err := t.state.Free(); err != nil {
		return err
	}
	if t.state, err = trainstep.Upload(host, t.Engine, t.net, t.archs...); err != nil {
		return err
	}
	if err := t.metrics.Close(); err != nil {
		return err
	}
	if err := t.openMetrics(); err != nil {
		return err
	}
	t.saved, t.calibrated, t.lastEval = rundir.Progress{}, 0, nil
	if err := t.metrics.Write(rundir.RollBackLine{Kind: "roll_back", Step: p.Step, From: before.Step, Factor: p.LRFactor(), Why: to.why}); err != nil {
		return err
	}
	t.openBoard()
	return nil
}

// skipped says what an update that was not applied reported.
func skipped(o trainstep.Outcome, step int, names []string) string {
	text := fmt.Sprintf("step %d", step)
	for _, p := range o.Archs {
		text += fmt.Sprintf(", loss %v of %s", p.Loss, names[p.Index])
	}
	return fmt.Sprintf("%s, gradient norm %v: not applied", text, o.GradNorm)
}
