package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

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
			if !job.IsModel(args[0]) { // a model opens what it needs
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
			return g.printResult(r, func(w io.Writer) error { return printResults(w, r) })
		},
	}
	f := c.Flags()
	f.StringVar(&o.Data, "data", "", "images to measure on, SRC as in prenas data --help (default: what the run was trained on)")
	f.StringVar(&o.Split, "split", job.Splits[0], "test, or held-out: the training images that a run held out to choose by, for whoever has no others")
	f.IntVar(&o.Batch, "batch", 100, "images of one program run")
	f.IntVar(&o.Crops, "crops", 1, "crops of each image: 1 the middle, 5 the corners too, 10 these mirrored too; their logits are averaged")
	addPrecision(f, &o.Precision, "; results say which")
	f.IntVar(&o.Recalibrate, "recalibrate", 0, "batches of training images to estimate the statistics of batch norms on anew; they are kept in the run (default: those in use)")
	bad.add(f, " (default: as the run was trained)")
	f.IntVar(&o.Workers, "workers", 0, "goroutines that prepare images (default: one per core)")
	return c
}

// evaluating shows an evaluation's progress.
func (c *console) evaluating(done, total int) { c.progress("evaluate", int64(done), int64(total), "") }

func printResults(w io.Writer, r evaluate.Results) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "parameters M\tMACs M\ttop-1 %\t95 % interval\ttop-5 %\timages/s\t  architecture")
	for _, a := range r.Archs {
		fmt.Fprintf(t, "%.3f\t%.1f\t%.2f\t%s\t%.2f\t%.0f\t  %s\n", millions(a.Params), millions(a.MACs), 100*a.Top1, evaluate.Range(a.Top1, r.Images), 100*a.Top5, a.Rate, a.Arch)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\non %s\n", printable.Name(r.Of()))
	return err
}
