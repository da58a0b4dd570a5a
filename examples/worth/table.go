package main

import (
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"prenas/internal/chart"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/rundir"
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

// interval is a mean with the half width of its 95 % interval, by Student's t; NaN of one value.
func interval(values []float64) (middle, half float64) {
	n := float64(len(values))
	if n < 2 {
		return mean(values), math.NaN()
	}
	middle, deviation := stat.MeanStdDev(values, nil)
	return middle, distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(0.975) * deviation / math.Sqrt(n)
}

func within(values []float64, sign string) string {
	middle, half := interval(values)
	if math.IsNaN(half) {
		return fmt.Sprintf("%"+sign+".2f", middle)
	}
	return fmt.Sprintf("%"+sign+".2f ± %.2f", middle, half)
}

// write writes the table and the fronts, and prints the table.
func (x *worth) write(rows []row, all []measured) error {
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
	fmt.Fprintf(&text, "| trained | mean | less preferred | %s M | images trained | images of the search |\n", strings.Join(budgets, " M | "))
	fmt.Fprintf(&text, "| --- | --- | --- |%s --- | --- |\n", strings.Repeat(" --- |", len(budgets)))
	var base []float64 // means of the row preferred, by seed
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
		if r.name == "preferred" {
			base = means
		} else if len(base) == len(means) {
			pairs := make([]float64, len(means))
			for i := range pairs {
				pairs[i] = means[i] - base[i]
			}
			less = within(pairs, "+")
		}
		fmt.Fprintf(&text, "| %s: %s | %s | %s |", chart.Label(k), r.name, within(means, ""), less)
		for _, values := range cells {
			fmt.Fprintf(&text, " %s |", within(values, ""))
		}
		fmt.Fprintf(&text, " %.0f | %.0f |\n", images, searched)
	}
	first := all[0].results[0]
	fmt.Fprintf(&text, "\nTop-1 in per cent of %s; %d seeds from %d on; ± is half of the 95 %% interval over seeds (Student's t).\n", first.Of(), x.Seeds, x.First)
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
		"latency": {"milliseconds of an image, in batches of 100", func(a evaluate.Result) float64 { return 1000 / a.Rate }},
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
				if _, half := interval(ys); !math.IsNaN(half) {
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
