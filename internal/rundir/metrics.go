package rundir

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path/filepath"

	"prenas/internal/fsys"
	"prenas/internal/printable"
	"prenas/internal/strictjson"
	"prenas/internal/tensorfile"
)

// metricsFile holds a line of JSON per interval and per evaluation. Every field of it is
// a function of recipe, seed and images, so a resumed run writes the same bytes as
// an uncut one; speeds, which are not, go to TimingFile.
const (
	MetricsFile = "metrics.jsonl"
	TimingFile  = "timing.jsonl"
)

// TrainLine is the metrics of the updates since the line before.
type TrainLine struct {
	Kind     string         `json:"kind"` // "train"
	Step     int            `json:"step"` // updates done
	Epoch    float64        `json:"epoch"`
	LR       float64        `json:"lr"` // of the last update
	Loss     float64        `json:"loss"`
	GradNorm float64        `json:"grad_norm"`
	Skipped  int            `json:"skipped,omitempty"` // updates that were not finite, so not applied
	Archs    []ArchInterval `json:"archs"`
}

// ArchInterval is one architecture's part of a TrainLine.
type ArchInterval struct {
	Arch  string  `json:"arch"`
	Steps int     `json:"steps"`
	Loss  float64 `json:"loss"`
}

// EvalLine is an evaluation on the held-out part.
type EvalLine struct {
	Kind  string  `json:"kind"` // "eval"
	Step  int     `json:"step"`
	Epoch float64 `json:"epoch"`
	// Images is how many were measured; 0 in lines of earlier versions: all that are held out.
	Images int        `json:"images,omitempty"`
	Top1   float64    `json:"top1"`           // mean over the architectures, a fraction
	Best   bool       `json:"best,omitempty"` // its checkpoint is taken, unless that of a later one is; false in all lines of earlier versions
	Archs  []ArchEval `json:"archs"`
}

// Loss is the mean over the architectures.
func (e EvalLine) Loss() (mean float64) {
	for _, a := range e.Archs {
		mean += a.Loss / float64(len(e.Archs))
	}
	return mean
}

// ArchEval is one architecture's part of an EvalLine.
type ArchEval struct {
	Arch string  `json:"arch"`
	Top1 float64 `json:"top1"`
	Top5 float64 `json:"top5"`
	Loss float64 `json:"loss"`
}

// TimingLine is the speed of the same interval as the TrainLine of the same step.
type TimingLine struct {
	Step  int          `json:"step"`
	Time  float64      `json:"time"` // seconds of Unix time
	Rate  float64      `json:"images_per_second"`
	Archs []ArchTiming `json:"archs"`
}

// ArchTiming is one architecture's part of a TimingLine.
type ArchTiming struct {
	Arch string  `json:"arch"`
	Rate float64 `json:"images_per_second"`
}

// Window sums losses since the last TrainLine; it is part of a checkpoint, so that a run
// cut within an interval writes the same line. Slices go by architecture.
type Window struct {
	Loss    []float64 `json:"loss"`
	Steps   []int     `json:"steps"`
	Norm    float64   `json:"norm"`
	Skipped int       `json:"skipped"`
}

func NewWindow(archs int) Window {
	return Window{Loss: make([]float64, archs), Steps: make([]int, archs)}
}

// Add counts what an update that was applied reported of one of its architectures. Its norm
// counts once for each of them, so that the mean over them is that over the updates.
func (w *Window) Add(arch int, loss, gradNorm float32) {
	w.Loss[arch] += float64(loss)
	w.Steps[arch]++
	w.Norm += float64(gradNorm)
}

// Line sums the window up.
func (w *Window) Line(names []string) TrainLine {
	line := TrainLine{Kind: "train", Skipped: w.Skipped}
	steps := 0
	for i, name := range names {
		if w.Steps[i] == 0 {
			continue
		}
		line.Archs = append(line.Archs, ArchInterval{Arch: name, Steps: w.Steps[i], Loss: w.Loss[i] / float64(w.Steps[i])})
		line.Loss += w.Loss[i]
		steps += w.Steps[i]
	}
	if steps > 0 {
		line.Loss /= float64(steps)
		line.GradNorm = w.Norm / float64(steps)
	}
	return line
}

// NonFiniteLine ends the metrics of a run that stopped because of numbers that are not
// finite. It stands after what the newest checkpoint counts on, so a run that goes on has
// it no more.
type NonFiniteLine struct {
	Kind string `json:"kind"` // "not_finite"
	Step int    `json:"step"` // updates done
	Why  string `json:"why"`
}

// StopLine ends the metrics of a run that stopped before its last epoch, since nothing improved
// on the held-out images. It stands after what the newest checkpoint counts on, so a run that goes
// on has it no more.
type StopLine struct {
	Kind     string `json:"kind"`     // "early_stop"
	Step     int    `json:"step"`     // updates done
	Improved int    `json:"improved"` // updates behind the newest evaluation that was better than all before
	Patience int    `json:"patience"` // of the recipe, in epochs
}

// String is the line for a person.
func (s StopLine) String() string {
	return fmt.Sprintf("stopped early, after update %d: on the held-out images neither accuracy nor loss got better after update %d, for %s",
		s.Step, s.Improved, printable.Count(s.Patience, "epoch"))
}

// Journal appends lines of JSON to a file of the run.
type Journal struct {
	Path string
	fs   fsys.FS
	file fsys.File
	Size int64     // of whole lines
	sum  hash.Hash // of these
}

// Sum is the SHA-256 of the file's whole lines.
func (j *Journal) Sum() string { return hex.EncodeToString(j.sum.Sum(nil)) }

// OpenJournal opens a run's file to go on after its first size bytes, or after the last
// whole line of fewer: what an interrupted process wrote after it is cut off. It returns how
// many bytes of size there were not, or were of no whole line.
func OpenJournal(f fsys.FS, run, name string, size int64) (j *Journal, missing int64, err error) {
	path := filepath.Join(run, name)
	file, err := f.OpenAppend(path)
	if err != nil {
		return nil, 0, fmt.Errorf("open %s: %w", path, err)
	}
	sum := sha256.New()
	whole, err := wholeLines(f, path, size)
	if err == nil {
		err = f.Truncate(path, whole)
	}
	if err == nil {
		err = hashBegin(f, path, whole, sum)
	}
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("open %s: %w", path, err), file.Close())
	}
	return &Journal{Path: path, fs: f, file: file, Size: whole, sum: sum}, size - whole, nil
}

// AppendJournal opens a run's file to go on after its last whole line.
func AppendJournal(f fsys.FS, run, name string) (*Journal, error) {
	path := filepath.Join(run, name)
	info, err := f.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		j, _, err := OpenJournal(f, run, name, 0)
		return j, err
	}
	if err != nil {
		return nil, err
	}
	j, _, err := OpenJournal(f, run, name, info.Size())
	return j, err
}

// wholeLines is the length of the whole lines within the first most bytes of a file.
func wholeLines(f fsys.FS, path string, most int64) (int64, error) {
	file, err := f.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	var at, whole int64
	for part, limited := make([]byte, 1<<16), io.LimitReader(file, most); ; {
		n, err := limited.Read(part)
		if last := bytes.LastIndexByte(part[:n], '\n'); last >= 0 {
			whole = at + int64(last) + 1
		}
		at += int64(n)
		if err == io.EOF {
			return whole, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// hashBegin hashes the first n bytes of a file.
func hashBegin(f fsys.FS, path string, n int64, into hash.Hash) error {
	file, err := f.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.CopyN(into, file, n)
	return err
}

// CheckMetrics compares the metrics with the digest that the newest checkpoint has of them, of the
// lines until it. has tells whether there is one: there is none in runs of earlier versions, before
// the first checkpoint, and for the lines after the newest.
func CheckMetrics(f fsys.FS, run string) (has bool, err error) {
	steps, err := CheckpointSteps(f, run)
	if err != nil || len(steps) == 0 {
		return false, err
	}
	file, err := tensorfile.ReadVerified(f, CheckpointFile(run, steps[0]))
	if err != nil {
		return false, err
	}
	var p Progress
	if err := strictjson.Unmarshal([]byte(file.Metadata[progressKey]), &p); err != nil || p.MetricsSum == "" {
		return false, err
	}
	sum := sha256.New()
	if err := hashBegin(f, filepath.Join(run, MetricsFile), p.MetricsBytes, sum); err != nil {
		return true, fmt.Errorf("its first %d bytes, that the checkpoint of step %d counts on: %w", p.MetricsBytes, p.Step, err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != p.MetricsSum {
		return true, fmt.Errorf("the lines until step %d are not those that the checkpoint of that step has the digest of: they were damaged or edited", p.Step)
	}
	return true, nil
}

// Write appends a line. Where that fails no part of it stays, unless the next to open the
// file has to cut it off.
func (j *Journal) Write(line any) error {
	text, err := json.Marshal(line)
	if err == nil {
		text = append(text, '\n')
		if _, err = j.file.Write(text); err != nil {
			err = errors.Join(err, j.fs.Truncate(j.Path, j.Size))
		}
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", j.Path, err)
	}
	j.Size += int64(len(text))
	j.sum.Write(text) // a hash's Write never fails
	return nil
}

func (j *Journal) Sync() error {
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", j.Path, err)
	}
	return nil
}

func (j *Journal) Close() error { return j.file.Close() }

// RollBackLine is the metrics line of going back. What the updates in between had
// written is gone: they are done again.
type RollBackLine struct {
	Kind   string  `json:"kind"` // "roll_back"
	Step   int     `json:"step"` // updates done after it
	From   int     `json:"from"` // updates done before it
	Factor float64 `json:"lr_factor"`
	Why    string  `json:"why,omitempty"` // files of older versions do not say
}

// String is the line for a person.
func (b RollBackLine) String() string {
	text := fmt.Sprintf("went back from update %d to %d, with %v of the learning rate", b.From, b.Step, b.Factor)
	if b.Why != "" {
		text += ": " + b.Why
	}
	return text
}
