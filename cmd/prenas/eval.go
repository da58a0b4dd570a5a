package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"prenas/internal/augment"
	"prenas/internal/data"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/job"
	"prenas/internal/printable"
)

func evalCommand(g *global) *cobra.Command {
	o := job.EvaluateOptions{Precision: engine.Float32}
	var bad onBadImage
	c := &cobra.Command{
		Use: "eval RUN|MODEL", Short: "Measure each preferred architecture of a run, or a model, on the test images", Args: cobra.ExactArgs(1),
		Example: "  prenas eval run --data fashion-mnist\n  prenas eval run --data folder:imagenet --crops 10\n  prenas eval run --recalibrate 50\n  prenas eval model.onnx",
		RunE: func(c *cobra.Command, args []string) (err error) {
			if !slices.Contains(augment.CropCounts, o.Crops) {
				return usagef("--crops is %d, it must be one of %v", o.Crops, augment.CropCounts)
			}
			if !slices.Contains(job.Splits, o.Split) {
				return usagef("--split is %q, it must be one of %s", o.Split, strings.Join(job.Splits, ", "))
			}
			out := newConsole(g)
			if job.IsModel(args[0]) && g.ranks.Size() > 1 {
				return usagef("%s is a model by itself, which one process measures: start it without mpirun or srun; several share the batches of a run", args[0])
			}
			if !job.IsModel(args[0]) { // a model opens an engine itself, if it needs one
				if o.Engine, err = g.open(c.Context(), out); err != nil {
					return err
				}
				defer o.Engine.Close()
			}
			o.SkipBad = bad.skip
			o.Run, o.Backend, o.Log = args[0], g.backend, out.line
			o.Progress = out.evaluating
			r, err := job.Evaluate(c.Context(), o)
			if errors.Is(err, data.ErrSource) || errors.Is(err, engine.ErrBackend) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			return g.printResult(r, func(w io.Writer) error {
				if err := printResults(w, r); err != nil {
					return err
				}
				return printClasses(w, r)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&o.Data, "data", "", "images to measure on, SRC as in prenas data --help (default: what the run was trained on)")
	f.StringVar(&o.Candidates, "candidates", "", "candidates file of other architectures of the run's space to measure, like those of prenas search --weights RUN (default: those that were trained)")
	f.StringVar(&o.Split, "split", job.Splits[0], "test, or held-out: the training images that a run held out to choose by, for runs without test images")
	f.StringVar(&o.Predictions, "predictions", "", "file for the most probable classes of each image (docs/formats.md); as RUN/predictions.jsonl it gives report and board the calibration")
	f.IntVar(&o.Batch, "batch", 100, "images that are computed at once")
	f.IntVar(&o.Crops, "crops", 1, "crops of each image: 1 the middle, 5 the corners too, 10 these mirrored too; their logits are averaged")
	addPrecision(f, &o.Precision, "; results say which")
	f.IntVar(&o.Recalibrate, "recalibrate", 0, "batches of training images to estimate the statistics of batch norms on anew; they are kept in the run (default: those in use)")
	bad.add(f, " (default: as the run was trained)")
	f.IntVar(&o.Workers, "workers", 0, "goroutines that prepare images (default: one per core)")
	return shared(c)
}

// evaluating shows an evaluation's progress.
func (c *console) evaluating(done, total int) { c.progress("evaluate", int64(done), int64(total), "") }

func printResults(w io.Writer, r evaluate.Results) error {
	var t table
	var on []string
	for _, a := range r.Asked {
		if !a.Counted() {
			t.head, on = append(t.head, a.Title()), append(on, a.Cost+": "+a.On)
		}
	}
	t.head = append(t.head, "parameters M", "MACs M", "top-1 %", "95 % interval", "top-5 %", "images/s", "architecture")
	for _, a := range r.Archs {
		var row []string
		for _, asked := range r.Asked {
			if !asked.Counted() {
				row = append(row, fmt.Sprintf("%.4g", asked.Archs[a.Arch]))
			}
		}
		t.add(append(row, fmt.Sprintf("%.3f", millions(a.Params)), fmt.Sprintf("%.1f", millions(a.MACs)), fmt.Sprintf("%.2f", 100*a.Top1),
			evaluate.Range(a.Top1, r.Images), fmt.Sprintf("%.2f", 100*a.Top5), fmt.Sprintf("%.0f", a.Rate), a.Arch)...)
	}
	if err := t.print(w); err != nil {
		return err
	}
	for _, text := range on {
		if _, err := fmt.Fprintf(w, "\n%s\n", printable.Name(text)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\non %s\n", printable.Name(r.Of()))
	return err
}

// printClasses prints how the best architecture does on classes: the weakest of them, the most
// frequent confusions and the most confident mistakes. All of them are in results.json and the report.
func printClasses(w io.Writer, r evaluate.Results) error {
	const classes, pairs, images = 12, 5, 5
	best := r.Best()
	if len(best.PerClass) == 0 {
		return nil
	}
	var text strings.Builder
	if len(r.Archs) > 1 {
		fmt.Fprintf(&text, "\nof the best, %s:\n", best.Arch)
	}
	fmt.Fprintf(&text, "\nbalanced accuracy %.2f %%, the mean over classes; loss %.4f\n\n", 100*best.Balanced, best.Loss)
	t := table{head: []string{"images", "recognised %", "95 % interval", "right of those taken for it %", "class"}}
	worst := best.Worst(classes)
	for _, c := range worst {
		precision := "-"
		if c.Predicted > 0 {
			precision = fmt.Sprintf("%.2f", 100*c.Precision())
		}
		t.add(fmt.Sprint(c.Images), fmt.Sprintf("%.2f", 100*c.Recall()), evaluate.Range(c.Recall(), c.Images), precision, printable.Name(r.ClassName(c.Class)))
	}
	if err := t.print(&text); err != nil {
		return err
	}
	if more := len(best.Worst(len(best.PerClass))) - len(worst); more > 0 {
		fmt.Fprintf(&text, "the weakest of %s\n", printable.Count(more+len(worst), "class"))
	}
	for i, c := range best.MostConfused(pairs) {
		if i == 0 {
			text.WriteString("\nmost often taken for another:\n")
		}
		fmt.Fprintf(&text, "  %s for %s: %s of %d\n", printable.Name(r.ClassName(c[0])), printable.Name(r.ClassName(c[1])), printable.Count(c[2], "image"), best.Images(c[0]))
	}
	for i, m := range best.Mistakes[:min(len(best.Mistakes), images)] {
		switch {
		case i == 0 && m.Sure():
			text.WriteString("\nwrong and sure of it; look whether the label is right:\n")
		case i == 0:
			text.WriteString("\nwrong, though sure of none; with the highest probabilities:\n")
		case !m.Sure() && best.Mistakes[i-1].Sure():
			text.WriteString("\nwrong and less sure of it:\n")
		}
		fmt.Fprintf(&text, "  %s: %s, taken for %s with %.1f %%\n", printable.Name(m.Name), printable.Name(r.ClassName(m.Label)), printable.Name(r.ClassName(m.Predicted)), 100*m.Probability)
	}
	_, err := io.WriteString(w, text.String())
	return err
}
