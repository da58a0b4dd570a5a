// Package watch shows in a terminal where a run stands: its progress, its speed and the
// curves of its loss and accuracy. It reads the run's files and changes nothing.
package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/guptarohit/asciigraph"

	"prenas/internal/fsys"
	"prenas/internal/train"
)

// Options of Follow.
type Options struct {
	Run   string
	Every time.Duration // between two pictures
	Once  bool          // one picture only
	Width int           // columns of the terminal
	Clear bool          // the terminal before each picture
}

// Follow draws the run until it has ended or ctx is cancelled.
func Follow(ctx context.Context, o Options, w io.Writer) error {
	for {
		picture, ended, err := Picture(o.Run, o.Width)
		if err != nil {
			return err
		}
		if o.Clear {
			picture = "\x1b[H\x1b[2J" + picture
		}
		if _, err := io.WriteString(w, picture); err != nil {
			return err
		}
		if o.Once || ended {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil // looking away is no failure
		case <-time.After(o.Every):
		}
	}
}

// Picture is what the run's files say now, and whether it has ended.
func Picture(run string, width int) (picture string, ended bool, err error) {
	manifest, err := train.ReadManifest(fsys.OS, run)
	if err != nil {
		return "", false, err
	}
	m, err := train.ReadMetrics(fsys.OS, run)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", false, err
	}
	r := manifest.Recipe
	steps := manifest.Data.Train / (r.Batch * r.Accumulate) * r.Epochs
	var b strings.Builder
	if len(m.Train) == 0 {
		fmt.Fprintf(&b, "%s: no interval of %d updates has ended yet\n", run, r.LogEvery)
		return b.String(), false, nil
	}
	last := m.Train[len(m.Train)-1]
	rate := m.Timings[last.Step].Rate
	fmt.Fprintf(&b, "%s: update %d of %d, epoch %.2f of %d, learning rate %.3g, %.0f images/s", run, last.Step, steps, last.Epoch, r.Epochs, last.LR, rate)
	if ended = last.Step >= steps; ended {
		b.WriteString(", ended\n")
	} else {
		left := time.Duration(float64((steps-last.Step)*r.Batch*r.Accumulate) / max(rate, 1e-9) * float64(time.Second))
		fmt.Fprintf(&b, ", %s to go\n", left.Round(time.Second))
	}
	for _, back := range m.Back {
		fmt.Fprintf(&b, "went back from update %d to %d, with %v of the learning rate\n", back.From, back.Step, back.Factor)
	}
	var loss, top1 []float64
	for _, line := range m.Train {
		loss = append(loss, line.Loss)
	}
	for _, line := range m.Eval {
		top1 = append(top1, 100*line.Top1)
	}
	curve(&b, "training loss", loss, width)
	curve(&b, "mean held-out top-1, %", top1, width)
	table(&b, m)
	return b.String(), ended, nil
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
func table(b *strings.Builder, m train.Metrics) {
	type row struct {
		loss, top1, rate string
	}
	rows := map[string]row{}
	last := m.Train[len(m.Train)-1]
	for _, a := range last.Archs {
		rows[a.Arch] = row{loss: fmt.Sprintf("%.3f", a.Loss)}
	}
	for _, a := range m.Timings[last.Step].Archs {
		r := rows[a.Arch]
		r.rate = fmt.Sprintf("%.0f", a.Rate)
		rows[a.Arch] = r
	}
	if len(m.Eval) > 0 {
		for _, a := range m.Eval[len(m.Eval)-1].Archs {
			r := rows[a.Arch]
			r.top1 = fmt.Sprintf("%.2f", 100*a.Top1)
			rows[a.Arch] = r
		}
	}
	fmt.Fprintf(b, "%8s  %8s  %8s  architecture\n", "loss", "top-1 %", "images/s")
	for _, name := range slices.SortedFunc(maps.Keys(rows), cmp.Compare[string]) {
		r := rows[name]
		fmt.Fprintf(b, "%8s  %8s  %8s  %s\n", r.loss, r.top1, r.rate, name)
	}
}
