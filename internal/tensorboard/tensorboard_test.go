package tensorboard

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"prenas/internal/fsys"
	"prenas/internal/pytools"
)

const readProgram = `
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
a = EventAccumulator(sys.stdin.read())
a.Reload()
json.dump({tag: [[e.step, e.value, e.wall_time] for e in a.Scalars(tag)] for tag in a.Tags()["scalars"]}, sys.stdout)
`

// TensorBoard's own reader finds every scalar, and nothing of what a file held before.
func TestTensorBoardReadsIt(t *testing.T) {
	python := pytools.Python(t, pytools.TensorBoard)
	dir := t.TempDir()
	begin := time.Unix(1_700_000_000, 500_000_000)
	for range 2 {
		w, err := Create(fsys.OS, filepath.Join(dir, FileName), begin)
		if err != nil {
			t.Fatal(err)
		}
		for step := range 3 {
			err := w.Write(begin.Add(time.Duration(step)*time.Second), 100*step, []Scalar{{"train/loss", 2.5 - float64(step)}, {"speed", 1e6}})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var got map[string][][3]float64
	if err := json.Unmarshal(pytools.Run(t, python, readProgram, []byte(dir)), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || len(got["train/loss"]) != 3 || len(got["speed"]) != 3 {
		t.Fatalf("read %v", got)
	}
	if got["train/loss"][2] != [3]float64{200, 0.5, 1_700_000_002.5} || got["speed"][0] != [3]float64{0, 1e6, 1_700_000_000.5} {
		t.Errorf("read %v", got)
	}
}
