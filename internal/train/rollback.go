package train

import (
	"errors"
	"fmt"
	"math"
)

// maxBadSteps updates in a row that are not finite end a run, or take it back.
const maxBadSteps = 3

// maxRollBacks is how often a run goes back before it stops.
const maxRollBacks = 5

// errRollBack asks for going back to the newest checkpoint.
var errRollBack = errors.New("roll back")

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
	if t.Recipe.RollBack && p.RolledBack < maxRollBacks {
		return errRollBack
	}
	return fmt.Errorf("%w: steps %d to %d, so training stops; a smaller optimizer.lr or a longer schedule.warmup in the recipe may help, or roll_back",
		ErrNonFinite, p.Step-maxBadSteps+1, p.Step)
}

// RollBackLine is the metrics line of going back. What the updates in between had
// written is gone: they are done again.
type RollBackLine struct {
	Kind   string  `json:"kind"` // "roll_back"
	Step   int     `json:"step"` // updates done after it
	From   int     `json:"from"` // updates done before it
	Factor float64 `json:"lr_factor"`
}

// rollBack takes the run to its newest checkpoint, or to its start, with half the
// learning rate. A process that ends before the next checkpoint does the same again.
func (t *trainer) rollBack() error {
	before := t.progress
	t.progress = t.start
	t.progress.Window = newWindow(len(t.parts))
	host, err := t.restore(true)
	if err != nil {
		return err
	}
	p := &t.progress
	p.RolledBack = before.RolledBack + 1
	t.Log(fmt.Sprintf("steps %d to %d were not finite: back to step %d with %v of the learning rate",
		before.Step-maxBadSteps+1, before.Step, p.Step, p.rateFactor()))
	if err := t.state.free(); err != nil {
		return err
	}
	if t.state, err = host.upload(t.Engine, t.net, t.archs...); err != nil {
		return err
	}
	if err := t.metrics.close(); err != nil {
		return err
	}
	if t.metrics, err = openJournal(t.FS, t.Out, metricsFile, p.MetricsBytes); err != nil {
		return err
	}
	t.saved, t.calibrated = Progress{}, 0
	if err := t.metrics.write(RollBackLine{Kind: "roll_back", Step: p.Step, From: before.Step, Factor: p.rateFactor()}); err != nil {
		return err
	}
	if err := t.board.Close(); err != nil {
		return err
	}
	t.board, err = openBoard(t.FS, t.Out)
	return err
}
