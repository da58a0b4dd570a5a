package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"prenas/internal/engine"
	"prenas/internal/job"
	"prenas/internal/rundir"
	"prenas/internal/train"
)

func quickstartCommand(g *global) *cobra.Command {
	var o job.QuickstartOptions
	c := &cobra.Command{
		Use: "quickstart", Short: "Do the whole job on Fashion-MNIST, in minutes", Args: cobra.NoArgs,
		Long: "Search, train, evaluate and report on Fashion-MNIST, which fetches itself.\n" +
			"A run that was stopped goes on where it stood when the command is given again.",
		Example: "  prenas quickstart\n  prenas quickstart --family conv\n  prenas quickstart --small --out /tmp/first",
		RunE: func(c *cobra.Command, _ []string) error {
			folder, err := job.QuickstartFolder(o.Family)
			if err != nil {
				return usagef("--%v", err)
			}
			if o.Out == "" {
				o.Out = folder
			}
			if err := noOverwriteOfData(o.Out, o.Data); err != nil {
				return err
			}
			out := newConsole(g)
			o.Ranks, o.Seed, o.Command, o.Log = g.ranks, g.seed, strings.Join(os.Args, " "), out.line
			o.Open = func(ctx context.Context) (*engine.Engine, error) { return g.open(ctx, out) }
			o.Fetch, o.Training, o.Evaluating = out.fetching, out.training, out.evaluating
			o.Gradients = func(done, total int) { out.progress("gradients", int64(done), int64(total), "") }
			results, page, err := job.Quickstart(c.Context(), o)
			switch {
			case errors.Is(err, job.ErrNotQuickstart):
				return fmt.Errorf("%w; name another folder with --out", err)
			case errors.Is(err, rundir.ErrOtherRun):
				return fmt.Errorf("%w; name another folder with --out, or remove %s", err, o.Out)
			case errors.Is(err, train.ErrInterrupted):
				return fmt.Errorf("%w, or with the same quickstart command, which does the rest too", err)
			case err != nil:
				return err
			}
			return g.printResult(results, func(w io.Writer) error {
				if err := printResults(w, results); err != nil {
					return err
				}
				_, err := fmt.Fprintf(w, "\nreport: %s\n", page)
				return err
			})
		},
	}
	c.Flags().StringVar(&o.Out, "out", "", "run directory to write (default: runs/quickstart, or runs/quickstart-conv)")
	c.Flags().StringVar(&o.Family, "family", "vit", "vit, vision transformers, or conv, convolutional networks")
	c.Flags().StringVar(&o.Data, "data", "fashion-mnist", "other images of up to ten classes, SRC (prenas data --help)")
	c.Flags().BoolVar(&o.Small, "small", false, "fewer updates, for a first look")
	return shared(c)
}
