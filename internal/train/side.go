package train

import (
	"fmt"
	"time"

	"prenas/internal/rundir"
	"prenas/internal/tensorboard"
)

// Files beside the run proper, which nothing is made from: the speeds and TensorBoard's
// events. What fails of them is told, and the run goes on without.

// openTiming opens the file of speeds.
func (t *trainer) openTiming() {
	var err error
	if t.timing, err = rundir.AppendJournal(t.FS, t.Out, rundir.TimingFile); err != nil {
		t.without(err)
	}
}

// note writes the speeds of an interval.
func (t *trainer) note(line rundir.TimingLine) {
	if t.timing == nil {
		return
	}
	if err := t.timing.Write(line); err != nil {
		t.without(err)
		t.timing.Close()
		t.timing = nil
	}
}

// openBoard writes TensorBoard's events anew, from the metrics that there are.
func (t *trainer) openBoard() {
	t.closeBoard()
	board, notes, err := rundir.OpenBoard(t.FS, t.Out)
	for _, note := range notes {
		t.warn(note)
	}
	if err != nil {
		t.without(err)
	}
	t.board = board
}

// draw adds scalars to TensorBoard's events.
func (t *trainer) draw(at time.Time, step int, scalars []tensorboard.Scalar) {
	if t.board == nil {
		return
	}
	if err := t.board.Write(at, step, scalars); err != nil {
		t.without(err)
		t.closeBoard()
	}
}

func (t *trainer) closeBoard() {
	if t.board != nil {
		t.board.Close()
		t.board = nil
	}
}

func (t *trainer) without(err error) { t.warn(fmt.Sprintf("going on without it: %v", err)) }

// warn logs a line that is told even to who wants to hear little.
func (t *trainer) warn(text string) { t.Log("warning: " + text) }
