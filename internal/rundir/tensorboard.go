package rundir

import (
	"errors"
	"math"
	"path/filepath"
	"time"

	"prenas/internal/fsys"
	"prenas/internal/tensorboard"
)

// BoardDir of a run holds the metrics as TensorBoard's events.
const BoardDir = "tb"

// OpenBoard writes the events of all metrics that a run has, and stays open for more. It
// returns the notes of these metrics too.
func OpenBoard(f fsys.FS, run string) (*tensorboard.Writer, []string, error) {
	m, err := ReadMetrics(f, run)
	if err != nil {
		return nil, m.Notes, err
	}
	dir := filepath.Join(run, BoardDir)
	if err := f.MkdirAll(dir); err != nil {
		return nil, m.Notes, err
	}
	w, err := tensorboard.Create(f, filepath.Join(dir, tensorboard.FileName), time.Now())
	if err != nil {
		return nil, m.Notes, err
	}
	evals, at := m.Eval, time.Unix(0, 0)
	evalUntil := func(step int) {
		for ; len(evals) > 0 && evals[0].Step <= step && err == nil; evals = evals[1:] {
			err = w.Write(at, evals[0].Step, evals[0].Scalars())
		}
	}
	for _, line := range m.Train {
		evalUntil(line.Step - 1)
		if err == nil {
			timing := m.Timings[line.Step]
			at = timing.At()
			err = w.Write(at, line.Step, append(line.Scalars(), timing.Scalars()...))
		}
	}
	if evalUntil(math.MaxInt); err != nil {
		return nil, m.Notes, errors.Join(err, w.Close())
	}
	return w, m.Notes, nil
}

// At is when the line was written; runs of older versions did not note it.
func (l TimingLine) At() time.Time { return time.Unix(0, int64(l.Time*1e9)) }

// Scalars of an interval; none where no update of it was applied, for it has no loss.
func (l TrainLine) Scalars() []tensorboard.Scalar {
	if len(l.Archs) == 0 {
		return []tensorboard.Scalar{{Tag: "train/lr", Value: l.LR}}
	}
	list := []tensorboard.Scalar{{Tag: "train/loss", Value: l.Loss}, {Tag: "train/lr", Value: l.LR}, {Tag: "train/grad_norm", Value: l.GradNorm}}
	for _, a := range l.Archs {
		list = append(list, tensorboard.Scalar{Tag: "train_loss/" + a.Arch, Value: a.Loss})
	}
	return list
}

func (l EvalLine) Scalars() []tensorboard.Scalar {
	list := []tensorboard.Scalar{{Tag: "held_out/top1", Value: l.Top1}}
	for _, a := range l.Archs {
		list = append(list, tensorboard.Scalar{Tag: "held_out_top1/" + a.Arch, Value: a.Top1})
	}
	return list
}

func (l TimingLine) Scalars() []tensorboard.Scalar {
	return []tensorboard.Scalar{{Tag: "speed/images_per_second", Value: l.Rate}}
}
