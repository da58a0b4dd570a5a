package rundir

import (
	"fmt"
	"prenas/internal/printable"
)

// OverFit says that a model learnt its training images by heart: the held-out loss rose again
// while the training loss went on falling.
type OverFit struct {
	After  int        `json:"after"`    // updates behind the lowest held-out loss
	Held   [2]float64 `json:"held_out"` // loss there, and at the last evaluation
	Train  [2]float64 `json:"train"`    // of the intervals before them
	Images int        `json:"images"`   // held out
}

// overFitRise is how much the held-out loss must rise above its lowest: smaller rises come and go.
const overFitRise = 1.1

// OverFit is nil where the model did not over-fit, or it cannot be told. Losses are means over the
// architectures.
func (m Metrics) OverFit() *OverFit {
	if len(m.Eval) < 2 {
		return nil
	}
	lowest, last := 0, len(m.Eval)-1
	for i := range m.Eval {
		if m.Eval[i].Loss() < m.Eval[lowest].Loss() {
			lowest = i
		}
	}
	o := OverFit{After: m.Eval[lowest].Step, Held: [2]float64{m.Eval[lowest].Loss(), m.Eval[last].Loss()}, Images: m.Eval[last].Images}
	then, ok := m.trainLoss(lowest)
	now, known := m.trainLoss(last)
	o.Train = [2]float64{then, now}
	if !ok || !known || o.Held[1] < overFitRise*o.Held[0] || now >= then {
		return nil
	}
	return &o
}

// trainLoss is the training loss between an evaluation and the one before it; of longer intervals
// than that, the one that it lies in.
func (m Metrics) trainLoss(eval int) (mean float64, ok bool) {
	from := 0
	if eval > 0 {
		from = m.Eval[eval-1].Step
	}
	n := 0
	for _, line := range m.Train {
		if len(line.Archs) == 0 || line.Step <= from { // of no update that was applied
			continue
		}
		if line.Step > m.Eval[eval].Step && n > 0 {
			break
		}
		mean, n = mean+line.Loss, n+1
		if line.Step > m.Eval[eval].Step {
			break
		}
	}
	return mean / float64(max(n, 1)), n > 0
}

// String is what a person is told.
func (o OverFit) String() string {
	return fmt.Sprintf("over-fitted after update %d: the loss of %s rose from %.3g to %.3g while the training loss fell from %.3g to %.3g; more images, stronger augmentation or smaller models help",
		o.After, printable.Count(o.Images, "held-out image"), o.Held[0], o.Held[1], o.Train[0], o.Train[1])
}

// Best is the evaluation whose checkpoint is taken; nil where there is none. Runs of earlier versions
// took the first of the highest accuracy.
func (m Metrics) Best() *EvalLine {
	var best *EvalLine
	for i := range m.Eval {
		if e := &m.Eval[i]; best == nil || e.Best || !best.Best && e.Top1 > best.Top1 {
			best = e
		}
	}
	return best
}
