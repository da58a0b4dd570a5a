package rundir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"prenas/internal/fsys"
	"prenas/internal/printable"
	"prenas/internal/strictjson"
)

// Metrics are the lines of a run's metrics and timing files, in order.
type Metrics struct {
	Train   []TrainLine
	Eval    []EvalLine
	Back    []RollBackLine
	Stopped *NonFiniteLine     // nil where the run did not stop so
	Early   *StopLine          // nil where the run did not stop so
	Timings map[int]TimingLine // by step; of an interval that was done twice, the last
	Notes   []string           // what could not be read and is left out, and why the run stopped, if it diverged
}

// AddLine takes a line of a metrics file. An error says what is wrong with it.
func (m *Metrics) AddLine(line []byte) error {
	var kind struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(line, &kind); err != nil {
		return err
	}
	switch kind.Kind {
	case "train":
		m.Stopped, m.Early = nil, nil // it went on
		return appendLine(&m.Train, line)
	case "eval":
		return appendLine(&m.Eval, line)
	case "roll_back":
		return appendLine(&m.Back, line)
	case "not_finite":
		m.Stopped = &NonFiniteLine{}
		return strictjson.Unmarshal(line, m.Stopped)
	case "early_stop":
		m.Early = &StopLine{}
		return strictjson.Unmarshal(line, m.Early)
	}
	return fmt.Errorf("it is of kind %.40q", kind.Kind)
}

// AddTiming takes a line of a timing file.
func (m *Metrics) AddTiming(line []byte) error {
	var timing TimingLine
	err := strictjson.Unmarshal(line, &timing)
	if err == nil {
		if m.Timings == nil {
			m.Timings = map[int]TimingLine{}
		}
		m.Timings[timing.Step] = timing
	}
	return err
}

// ReadMetrics reads what a run has written until now. What stands after the last end of
// a line was being written when it was read, or cut, and is left out; so is a damaged line,
// which Notes counts, and a timing file that cannot be read.
func ReadMetrics(f fsys.FS, run string) (m Metrics, err error) {
	note, err := readLines(f, filepath.Join(run, MetricsFile), m.AddLine)
	if err != nil {
		return m, err
	}
	m.note(note)
	note, err = readLines(f, filepath.Join(run, TimingFile), m.AddTiming)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		note = err.Error()
	}
	m.note(note)
	if m.Stopped != nil {
		m.note(fmt.Sprintf("training stopped at update %d: %s", m.Stopped.Step, m.Stopped.Why))
	}
	if m.Early != nil {
		m.note(m.Early.String())
	}
	return m, nil
}

func (m *Metrics) note(text string) {
	if text != "" {
		m.Notes = append(m.Notes, text)
	}
}

func appendLine[T any](to *[]T, line []byte) error {
	var value T
	err := strictjson.Unmarshal(line, &value)
	if err == nil {
		*to = append(*to, value)
	}
	return err
}

// readLines reads the whole lines of a file. note says how many of them each refuses;
// empty: none.
func readLines(f fsys.FS, path string, each func(line []byte) error) (note string, err error) {
	text, err := fsys.ReadFile(f, path)
	if err != nil {
		return "", err
	}
	refused, first := 0, ""
	for number := 1; ; number++ {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if !whole {
			break
		}
		if err := each(line); err != nil {
			if refused++; refused == 1 {
				first = fmt.Sprintf("line %d: %v", number, err)
			}
		}
		text = rest
	}
	switch refused {
	case 0:
		return "", nil
	case 1:
		return fmt.Sprintf("%s: a line is damaged and left out: %s", path, first), nil
	}
	return fmt.Sprintf("%s: %s damaged and left out; the first is %s", path, printable.Are(refused, "line"), first), nil
}
