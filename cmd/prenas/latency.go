package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"prenas/internal/job"
	"prenas/internal/printable"
)

func latencyCommand(g *global) *cobra.Command {
	var o job.LatencyOptions
	c := &cobra.Command{
		Use: "latency SPACE", Short: "Measure what the parts of a space take on this machine", Args: cobra.ExactArgs(1),
		Long: "Measures, once per machine, engine, model and batch, what each choice of a space takes, and keeps it in your\n" +
			"cache folder for the latency budgets of search. --check holds the sums against whole architectures.\n" +
			"--out writes a file for --latency-profile of search and shrink on another machine.",
		Example: "  prenas spaces latency tiny --check 8\n  prenas spaces latency my-space.yaml --batch 16 --again\n" +
			"  prenas spaces latency vit.space.yaml --out board.latency.json",
		RunE: func(c *cobra.Command, args []string) (err error) {
			if o.Check != 0 && o.Check < 3 {
				return usagef("--check is %d, it must be 0 or at least 3", o.Check)
			}
			if o.Space, err = loadSpace("SPACE", args[0]); err != nil {
				return err
			}
			if err := noOverwrite(written("--out", o.Out), named{"SPACE", args[0]}); err != nil {
				return err
			}
			out := newConsole(g)
			if o.Engine, err = g.open(c.Context(), out); err != nil {
				return err
			}
			defer o.Engine.Close()
			o.Seed, o.Log = g.seed, out.line
			o.Progress = func(done, total int) { out.progress("latency", int64(done), int64(total), "") }
			r, err := job.Latency(c.Context(), o)
			if err != nil {
				return err
			}
			return g.printResult(r, func(w io.Writer) error { return printLatency(w, r) })
		},
	}
	f := c.Flags()
	f.IntVar(&o.Batch, "batch", 1, "images at once")
	f.IntVar(&o.Check, "check", 0, "whole architectures to measure beside: the smallest, the largest and others drawn from --seed")
	f.StringVar(&o.Out, "out", "", "file for the measurement, to be taken to another machine")
	f.BoolVar(&o.Again, "again", false, "measure anew what was measured before")
	return c
}

func printLatency(w io.Writer, r job.LatencyResult) error {
	p := r.Profile
	fmt.Fprintf(w, "%s\nkept in %s\n\n", p, r.File)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "embed_dim\toutside blocks\tblock of %s, ratio %v\t", printable.Count(p.NumHeads[0], "head"), p.MLPRatio[0])
	for _, h := range p.NumHeads[1:] {
		fmt.Fprintf(t, "%s\t", printable.Count(h, "head"))
	}
	for _, ratio := range p.MLPRatio[1:] {
		fmt.Fprintf(t, "ratio %v\t", ratio)
	}
	fmt.Fprintln(t)
	for _, d := range p.Dims {
		fmt.Fprintf(t, "%d\t%.3f\t%.3f\t", d.EmbedDim, d.Trunk, d.Block)
		for _, more := range append(d.Heads[1:len(d.Heads):len(d.Heads)], d.MLP[1:]...) {
			fmt.Fprintf(t, "%+.3f\t", more)
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil || r.Checked == nil {
		return err
	}
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\npredicted ms\tmeasured ms\tdifference\tarchitecture")
	for _, row := range r.Checked.Rows {
		fmt.Fprintf(t, "%.3f\t%.3f\t%+.1f %%\t%s\n", row.Predicted, row.Measured, 100*(row.Predicted/row.Measured-1), row.Arch)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nmean error %.1f %%, worst %.1f %%, correlation %.3f, Kendall's tau %.3f\n",
		100*r.Checked.MeanError, 100*r.Checked.WorstError, r.Checked.Correlation, r.Checked.Kendall)
	return err
}
