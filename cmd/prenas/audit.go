package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"prenas/internal/audit"
	"prenas/internal/data"
	"prenas/internal/data/source"
	"prenas/internal/job"
	"prenas/internal/recipe"
)

func auditCommand(g *global) *cobra.Command {
	var o job.AuditOptions
	var spaceName, recipeName string
	var epochs int
	c := &cobra.Command{
		Use: "audit --space SPACE --data SRC --out FILE", Short: "Measure how well proxies order architectures that are really trained", Args: cobra.NoArgs,
		Long: "Draw architectures of a space uniformly within its intervals of parameters, train each from scratch from\n" +
			"several seeds (or take the weights of supernets), keep what they reach in a benchmark file, and report how\n" +
			"well each proxy orders them, beside parameters and MACs. A run that was cut goes on.\n\nSRC is\n  " + strings.Join(source.Describe(), "\n  "),
		Example: "  prenas audit --space space.yaml --data fashion-mnist --archs 100 --seeds 3 --out benchmark.jsonl\n" +
			"  prenas audit --inherit run1 --inherit run2 --inherit run3 --out inherited.jsonl\n" +
			"  prenas audit --benchmark benchmark.jsonl",
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if err = auditUsage(c, o, spaceName); err != nil {
				return err
			}
			if o.Recipe, err = recipe.Load(recipeName); err != nil {
				return fmt.Errorf("--recipe: %w", err)
			}
			if c.Flags().Changed("epochs") {
				o.Recipe.Epochs = epochs
			}
			if spaceName != "" {
				if o.Space, err = loadSpace("--space", spaceName); err != nil {
					return err
				}
			}
			out := newConsole(g)
			if o.Engine, err = g.open(c.Context(), out); err != nil {
				return err
			}
			defer o.Engine.Close()
			o.Seed, o.Log, o.Fetch = g.seed, out.line, out.fetching
			o.Progress = func(done, total int) { out.progress("audit", int64(done), int64(total), "") }
			o.Scoring = func(done, total int) { out.progress("proxies", int64(done), int64(total), "") }
			r, err := job.Audit(c.Context(), o)
			if errors.Is(err, data.ErrSource) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			return g.printResult(r, func(w io.Writer) error { return printCorrelations(w, r) })
		},
	}
	f := c.Flags()
	f.StringVar(&spaceName, "space", "", "built-in space or YAML file, with an INTERVAL")
	f.StringVar(&o.Data, "data", "", "images to train and measure on, SRC (prenas data --help)")
	f.StringVar(&o.Out, "out", "", "benchmark file to write, or to go on with")
	f.IntVar(&o.Archs, "archs", 100, "architectures to draw")
	f.IntVar(&o.Seeds, "seeds", 3, "trainings of each, from seeds --seed on")
	f.IntVar(&epochs, "epochs", 0, "epochs of each training (default: the recipe's)")
	f.IntVar(&o.Images, "images", 0, "training images of an epoch (default: all)")
	f.StringVar(&recipeName, "recipe", "audit", "built-in recipe ("+strings.Join(recipe.Names(), ", ")+") or YAML file")
	f.StringArrayVar(&o.Inherit, "inherit", nil, "run directory of a supernet to take weights from instead of training; may be repeated")
	f.StringVar(&o.Benchmark, "benchmark", "", "benchmark file to report on, without training")
	f.IntVar(&o.Resamples, "resamples", 1000, "resamples behind a confidence interval")
	f.IntVar(&o.Workers, "workers", 0, "goroutines that prepare images, and that score (default: one per core)")
	return shared(c)
}

// auditUsage refuses flags that do not fit together.
func auditUsage(c *cobra.Command, o job.AuditOptions, spaceName string) error {
	switch {
	case o.Benchmark != "" && (spaceName != "" || o.Out != "" || o.Data != "" || len(o.Inherit) > 0):
		return usagef("--benchmark reports on a file as it is: leave out --space, --data, --inherit and --out")
	case o.Benchmark != "":
		return nil
	case o.Out == "":
		return usagef("--out is missing; see %s --help", c.CommandPath())
	case len(o.Inherit) > 0 && spaceName != "":
		return usagef("--inherit takes the supernets' space: leave out --space")
	case len(o.Inherit) > 0 && c.Flags().Changed("seeds"):
		return usagef("--inherit takes a seed from each run: leave out --seeds")
	case len(o.Inherit) == 0 && spaceName == "":
		return usagef("--space is missing; see %s --help", c.CommandPath())
	case len(o.Inherit) == 0 && o.Data == "":
		return usagef("--data is missing; see %s --help", c.CommandPath())
	}
	return nil
}

// printCorrelations prints what the architectures of each interval reached, and how well each proxy
// ordered them.
func printCorrelations(w io.Writer, r audit.Correlations) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "parameters M\tarchitectures\tmean top-1 %\tbetween architectures\tbetween seeds")
	for _, i := range r.Intervals {
		fmt.Fprintf(t, "%.4g to %.4g\t%d\t%.2f\t±%.2f\t±%.2f\n", i.Lower, i.Upper, i.Archs, 100*i.Top1, 100*i.Spread, 100*i.Noise)
	}
	fmt.Fprintln(t, "\nproxy\ttau over all\ttau within intervals\tless that of parameters\trho over all\trho within intervals")
	for _, row := range r.Rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", row.Proxy, row.Tau, row.TauWithin, row.OverSize, row.Rho, row.RhoWithin)
	}
	return t.Flush()
}
