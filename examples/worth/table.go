package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"

	"prenas/examples/internal/experiment"
	"prenas/internal/chart"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/latency"
	"prenas/internal/rundir"
	"prenas/internal/sealed"
	"prenas/pkg/space"
)

// imagesOf a run: what its updates trained on, an image once for each architecture.
func imagesOf(run string) (images int64, err error) {
	m, err := rundir.ReadManifest(fsys.OS, run)
	if err != nil {
		return 0, err
	}
	each := 1
	if m.Recipe.Sampler.Name == "sandwich" {
		each = 3
	}
	return int64(m.Steps()) * int64(m.Recipe.Batch) * int64(m.Recipe.Accumulate) * int64(each), nil
}

// top1 of a row's seed in per cent by budget, the mean over its trainings of each.
func (m measured) top1(budgets []string) []float64 {
	sums, count := make([]float64, len(budgets)), make([]int, len(budgets))
	for _, r := range m.results {
		for _, a := range r.Archs {
			if i := slices.Index(budgets, a.Bin); i >= 0 {
				sums[i] += 100 * a.Top1
				count[i]++
			}
		}
	}
	for i := range sums {
		sums[i] /= float64(count[i])
	}
	return sums
}

func mean(values []float64) float64 { return stat.Mean(values, nil) }

// lessPreferred are the differences of a row's means from those of the row preferred, of the seeds that both have.
func lessPreferred(list, base []measured, budgets []string) (pairs []float64) {
	for _, m := range list {
		for _, b := range base {
			if b.seed == m.seed {
				pairs = append(pairs, mean(m.top1(budgets))-mean(b.top1(budgets)))
			}
		}
	}
	return pairs
}

// times are milliseconds of one image by architecture, and on what they were measured.
type times struct {
	On string             `json:"on"`
	Ms map[string]float64 `json:"ms"`
}

// latencies of all architectures that were measured, of latency.json if it has all of them.
func (x *worth) latencies(ctx context.Context, all []measured) (t times, err error) {
	var names []string
	for _, m := range all {
		for _, r := range m.results {
			for _, a := range r.Archs {
				names = append(names, a.Arch)
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	path := x.File("latency")
	err = sealed.Read(fsys.OS, path, &t)
	if err == nil && !slices.ContainsFunc(names, func(name string) bool { return t.Ms[name] == 0 }) {
		return t, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return t, err
	}
	var archs []space.Arch
	for _, name := range names {
		a, err := space.ParseArch(name)
		if err != nil {
			return t, err
		}
		archs = append(archs, a)
	}
	ms, on, err := latency.Whole(ctx, x.Engine, x.Space.Model, archs, 1)
	if err != nil {
		return t, err
	}
	t = times{On: on, Ms: map[string]float64{}}
	for i, name := range names {
		t.Ms[name] = ms[i]
	}
	return t, sealed.Write(fsys.OS, path, t)
}

// write writes the table and the fronts, and prints the table.
func (x *worth) write(rows []row, all []measured, took times) error {
	var budgets []string
	of := func(name string) (list []measured) {
		for _, m := range all {
			if m.row == name {
				list = append(list, m)
			}
		}
		return list
	}
	for _, a := range all[0].results[0].Archs {
		budgets = append(budgets, a.Bin)
	}
	for _, m := range all { // rows of one architecture a training name one each
		for _, r := range m.results {
			for _, a := range r.Archs {
				if !slices.Contains(budgets, a.Bin) {
					budgets = append(budgets, a.Bin)
				}
			}
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "| trained | seeds | mean | less preferred | %s M | images trained | images of the search |\n", strings.Join(budgets, " M | "))
	fmt.Fprintf(&text, "| --- | --- | --- | --- |%s --- | --- |\n", strings.Repeat(" --- |", len(budgets)))
	for k, r := range rows {
		var means []float64
		cells := make([][]float64, len(budgets))
		var images, searched float64
		list := of(r.name)
		for _, m := range list {
			values := m.top1(budgets)
			means = append(means, mean(values))
			for i, v := range values {
				cells[i] = append(cells[i], v)
			}
			images += float64(m.images) / float64(len(list)*len(m.results))
			searched += float64(m.search) / float64(len(list))
		}
		if strings.HasPrefix(r.name, "alone") {
			images *= float64(len(budgets)) // of all of them together
		}
		less := "-"
		if pairs := lessPreferred(list, of(preferred), budgets); r.name != preferred && len(pairs) > 0 {
			less = experiment.Within(pairs, "+")
		}
		fmt.Fprintf(&text, "| %s: %s | %d | %s | %s |", chart.Label(k), r.name, len(list), experiment.Within(means, ""), less)
		for _, values := range cells {
			fmt.Fprintf(&text, " %s |", experiment.Within(values, ""))
		}
		fmt.Fprintf(&text, " %.0f | %.0f |\n", images, searched)
	}
	first := all[0].results[0]
	fmt.Fprintf(&text, "\nTop-1 in per cent of %s; seeds from %d on; ± is half of the 95 %% interval over seeds (Student's t), differences are of the seeds that both rows have. Latency: %s.\n", first.Of(), x.First, took.On)
	fmt.Print(text.String())
	if err := keep(filepath.Join(x.Out, "table.md"), []byte(text.String())); err != nil {
		return err
	}
	for name, axis := range map[string]struct {
		label string
		of    func(evaluate.Result) float64
	}{
		"params":  {"parameters, million", func(a evaluate.Result) float64 { return float64(a.Params) / 1e6 }},
		"macs":    {"MACs, million", func(a evaluate.Result) float64 { return float64(a.MACs) / 1e6 }},
		"latency": {"milliseconds of one image", func(a evaluate.Result) float64 { return took.Ms[a.Arch] }},
	} {
		c := chart.Chart{Title: "Accuracy over " + axis.label, XLabel: axis.label, YLabel: "test top-1, %"}
		for i, r := range rows {
			s := chart.Series{Name: r.name, Label: chart.Label(i), Class: chart.Class(i)}
			for at := range budgets {
				var xs, ys []float64
				for _, m := range of(r.name) {
					ys = append(ys, m.top1(budgets)[at])
					for _, results := range m.results {
						for _, a := range results.Archs {
							if a.Bin == budgets[at] {
								xs = append(xs, axis.of(a))
							}
						}
					}
				}
				p := chart.Point{X: mean(xs), Y: mean(ys)}
				s.Thick = append(s.Thick, p)
				if _, half := experiment.Interval(ys); !math.IsNaN(half) {
					s.Marks = append(s.Marks, chart.Mark{Point: p, Low: p.Y - half, High: p.Y + half, Text: r.name})
				} else {
					s.Marks = append(s.Marks, chart.Mark{Point: p, Text: r.name})
				}
			}
			c.Series = append(c.Series, s)
		}
		picture, err := c.SVG()
		if err != nil {
			return err
		}
		if err := keep(filepath.Join(x.Out, "front-"+name+".svg"), picture); err != nil {
			return err
		}
	}
	return nil
}

func keep(path string, text []byte) error {
	return fsys.WriteAtomic(fsys.OS, path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}
