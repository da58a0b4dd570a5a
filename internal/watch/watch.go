// Package watch shows in a terminal how far a run is: its progress, its speed, and the curves of its
// loss and accuracy. It reads the run's files and changes nothing.
package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/guptarohit/asciigraph"

	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/printable"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
)

// Status says how far a run is, by the newest line of each kind in its journals.
type Status struct {
	Run    string             `json:"run"`
	Step   int                `json:"step"` // updates of the intervals that have ended; in the first one 1, when it is done
	Steps  int                `json:"steps"`
	Epochs int                `json:"epochs"`
	Ended  bool               `json:"ended"`
	Train  *rundir.TrainLine  `json:"train,omitempty"`
	Timing *rundir.TimingLine `json:"timing,omitempty"`
	Eval   *rundir.EvalLine   `json:"eval,omitempty"`
	Notes  []string           `json:"notes,omitempty"` // what is left out of the above, and why the run stopped, if it diverged

	recipe  recipe.Recipe
	heldOut int // images
	metrics rundir.Metrics
}

// Read what the run's files say now.
func Read(run string) (Status, error) {
	manifest, err := rundir.ReadManifest(fsys.OS, run)
	if err != nil {
		return Status{}, err
	}
	m, err := rundir.ReadMetrics(fsys.OS, run)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Status{}, err
	}
	r := manifest.Recipe
	s := Status{Run: run, Steps: manifest.Steps(), Epochs: r.Epochs, Notes: m.Notes, recipe: r, heldOut: manifest.Data.HeldOut, metrics: m}
	if len(m.Train) > 0 {
		s.Train = &m.Train[len(m.Train)-1]
		s.Step, s.Ended = s.Train.Step, s.Train.Step >= s.Steps || m.Early != nil
		if timing, ok := m.Timings[s.Step]; ok {
			s.Timing = &timing
		}
	} else if timing, ok := m.Timings[1]; ok {
		s.Step, s.Timing = 1, &timing
	}
	if len(m.Eval) > 0 {
		s.Eval = &m.Eval[len(m.Eval)-1]
	}
	return s, nil
}

// Follow reads and shows where the run stands, again and again, until it has ended, ctx
// is cancelled or, with once, after the first time.
func Follow(ctx context.Context, run string, every time.Duration, once bool, show func(Status) error) error {
	for {
		s, err := Read(run)
		if err != nil {
			return err
		}
		if err := show(s); err != nil {
			return err
		}
		if once || s.Ended {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil // a watcher that stops is no error
		case <-time.After(every):
		}
	}
}

// Picture draws where the run stands for a terminal of so many columns.
func (s Status) Picture(width int) string {
	var b strings.Builder
	if s.Train == nil {
		if s.Timing == nil {
			fmt.Fprintf(&b, "%s: no update of %d has ended yet; programs are compiled first\n", s.Run, s.Steps)
		} else {
			fmt.Fprintf(&b, "%s: training, of %s; the first had %.0f images/s, and the first %d are not done yet\n", s.Run, printable.Count(s.Steps, "update"), s.Timing.Rate, min(s.recipe.LogEvery, s.Steps))
		}
		s.notes(&b)
		return b.String()
	}
	rate := 0.0
	if s.Timing != nil {
		rate = s.Timing.Rate
	}
	fmt.Fprintf(&b, "%s: update %d of %d, epoch %.2f of %d, learning rate %.3g, %.0f images/s", s.Run, s.Step, s.Steps, s.Train.Epoch, s.Epochs, s.Train.LR, rate)
	if s.Ended {
		b.WriteString(", ended\n")
	} else {
		images := (s.Steps - s.Step) * s.recipe.Batch * s.recipe.Accumulate
		left := time.Duration(float64(images) / max(rate, 1e-9) * float64(time.Second))
		fmt.Fprintf(&b, ", %s to go\n", left.Round(time.Second))
	}
	for _, back := range s.metrics.Back {
		fmt.Fprintln(&b, back)
	}
	s.notes(&b)
	if o := s.metrics.OverFit(); o != nil {
		fmt.Fprintln(&b, o)
	}
	var loss, top1 []float64
	for _, line := range s.metrics.Train {
		if len(line.Archs) > 0 { // else no update of it was applied, and there is no loss
			loss = append(loss, line.Loss)
		}
	}
	for _, line := range s.metrics.Eval {
		top1 = append(top1, 100*line.Top1)
	}
	curve(&b, "training loss", loss, width)
	held := "mean held-out top-1, %"
	if e := s.Eval; e != nil {
		held += fmt.Sprintf("; the last is %.2f, 95 %% interval %s", 100*e.Top1, evaluate.Range(e.Top1, cmp.Or(e.Images, s.heldOut)))
	}
	curve(&b, held, top1, width)
	s.table(&b)
	return b.String()
}

func (s Status) notes(b *strings.Builder) {
	for _, note := range s.Notes {
		fmt.Fprintln(b, note)
	}
}

// curve draws the values, if there are enough to see one.
func curve(b *strings.Builder, title string, values []float64, width int) {
	if len(values) < 2 {
		return
	}
	const labels = 10 // columns that the axis takes
	fmt.Fprintf(b, "\n%s\n\n", asciigraph.Plot(values, asciigraph.Height(8), asciigraph.Width(max(20, min(width-labels, 100))), asciigraph.Precision(2), asciigraph.Caption(title)))
}

// table has the last loss, accuracy and speed of each architecture.
func (s Status) table(b *strings.Builder) {
	type row struct {
		loss, top1, within, rate string
	}
	rows := map[string]row{}
	for _, a := range s.Train.Archs {
		rows[a.Arch] = row{loss: fmt.Sprintf("%.3f", a.Loss)}
	}
	if s.Timing != nil {
		for _, a := range s.Timing.Archs {
			r := rows[a.Arch]
			r.rate = fmt.Sprintf("%.0f", a.Rate)
			rows[a.Arch] = r
		}
	}
	if s.Eval != nil {
		for _, a := range s.Eval.Archs {
			r := rows[a.Arch]
			r.top1, r.within = fmt.Sprintf("%.2f", 100*a.Top1), evaluate.Range(a.Top1, cmp.Or(s.Eval.Images, s.heldOut))
			rows[a.Arch] = r
		}
	}
	fmt.Fprintf(b, "%8s  %8s  %16s  %8s  architecture\n", "loss", "top-1 %", "95 % interval", "images/s")
	for _, name := range slices.SortedFunc(maps.Keys(rows), cmp.Compare[string]) {
		r := rows[name]
		fmt.Fprintf(b, "%8s  %8s  %16s  %8s  %s\n", r.loss, r.top1, r.within, r.rate, name)
	}
}
