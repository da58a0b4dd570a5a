package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"prenas/internal/job"
	"prenas/internal/search"
	"prenas/internal/space"
)

func searchCommand(g *global) *cobra.Command {
	o := job.SearchOptions{DropPathRate: job.DropPathRate}
	var spaceName, proxyName, heads, mlp, method, splits string
	var interval space.Interval
	var top int
	c := &cobra.Command{
		Use: "search --space NAME|FILE --out FILE", Short: "Choose the preferred architecture for each size, without training", Args: cobra.NoArgs,
		Example: "  prenas search --space tiny --out candidates.json\n" +
			"  prenas search --space space.yaml --weights w.safetensors --inputs x.safetensors --min-params 5 --max-params 12 --interval 1 --out c.json",
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := loadSpace(spaceName)
			if err != nil {
				return err
			}
			if o.Search, err = searchOptions(proxyName, heads, mlp, method, splits); err != nil {
				return usageError{err}
			}
			if o.Search.Interval, err = chooseInterval(c, s, interval); err != nil {
				return err
			}
			if o.Search.Top = top; top < 1 {
				return usagef("--top is %d, it must be at least 1", top)
			}
			out := newConsole(g)
			o.Space, o.Seed, o.Search.Seed = s, g.seed, g.seed
			o.Description = map[string]string{"proxy": proxyName, "block_scores_for_heads": heads, "block_scores_for_mlp": mlp, "method": method, "splits": splits}
			if o.Engine, err = g.open(c.Context(), out); err != nil {
				return err
			}
			defer o.Engine.Close()
			o.Progress = func(done, total int) { out.progress("gradients", int64(done), int64(total), "") }
			r, timing, err := job.Search(c.Context(), o)
			if err != nil {
				return err
			}
			for _, empty := range r.Report.Empty() {
				out.line(fmt.Sprintf("no architecture with %s M parameters; the space spans %.4g to %.4g M", empty, r.Report.Least, r.Report.Most))
			}
			out.line(fmt.Sprintf("gradients %.2f s, search %.3f s, %d architectures scored", timing.Gradients, timing.Search, r.Report.Enumerated))
			return g.printResult(struct {
				Out        string           `json:"out"`
				Candidates space.Candidates `json:"-"`
				Meta       job.Meta         `json:"meta"`
				Timing     job.Timing       `json:"timing_seconds"`
			}{o.Out, r.Candidates, r.Meta, timing}, func(w io.Writer) error { return printCandidates(w, r.Candidates) })
		},
	}
	f := c.Flags()
	f.StringVar(&spaceName, "space", "", "built-in space ("+strings.Join(space.Names(), ", ")+") or YAML file")
	f.StringVar(&o.Weights, "weights", "", "safetensors of the supernet's weights (default: drawn from --seed)")
	f.StringVar(&o.Inputs, "inputs", "", "safetensors with the batch under input (default: noise drawn from --seed)")
	f.StringVar(&proxyName, "proxy", "left_super_taylor6", "score of an architecture")
	f.StringVar(&heads, "head-scores", "balance_taylor6_max_dim", "block score that ranks layers for heads")
	f.StringVar(&mlp, "mlp-scores", "balance_taylor6_max_dim", "block score that ranks layers for MLP ratios")
	f.StringVar(&method, "method", "preferred", "how to search: preferred, exact, evolution or random")
	f.StringVar(&splits, "splits", "original", "which counts of choices to try: original or all")
	f.Float64Var(&interval.Min, "min-params", math.NaN(), "lower end of the sizes, millions (default: the space's)")
	f.Float64Var(&interval.Max, "max-params", math.NaN(), "upper end of the sizes, millions (default: the space's)")
	f.Float64Var(&interval.Step, "interval", math.NaN(), "width of one interval, millions (default: the space's)")
	f.IntVar(&top, "top", 1, "architectures per interval, best first")
	f.StringVar(&o.Out, "out", "", "candidates file to write")
	require(c, "space", "out")
	return c
}

func searchOptions(proxyName, heads, mlp, method, splits string) (o search.Options, err error) {
	if o.Score, err = search.ParseScoreMethod(proxyName); err != nil {
		return o, fmt.Errorf("--proxy: %w", err)
	}
	if o.Heads, err = search.ParseBlockMethod(heads); err != nil {
		return o, fmt.Errorf("--head-scores: %w", err)
	}
	if o.MLP, err = search.ParseBlockMethod(mlp); err != nil {
		return o, fmt.Errorf("--mlp-scores: %w", err)
	}
	if o.Method, err = search.ParseMethod(method); err != nil {
		return o, fmt.Errorf("--method: %w", err)
	}
	if o.AllSplits, err = search.ParseSplits(splits); err != nil {
		return o, fmt.Errorf("--splits: %w", err)
	}
	return o, nil
}

// chooseInterval takes each end from its flag, else from the space.
func chooseInterval(c *cobra.Command, s *space.Space, given space.Interval) (space.Interval, error) {
	i := s.Interval
	for _, v := range []struct {
		flag string
		from float64
		to   *float64
	}{{"min-params", given.Min, &i.Min}, {"max-params", given.Max, &i.Max}, {"interval", given.Step, &i.Step}} {
		switch {
		case c.Flags().Changed(v.flag):
			if *v.to = v.from; !(v.from >= 0) || math.IsInf(v.from, 0) {
				return i, usagef("--%s is %v, it must be a number of millions, at least 0", v.flag, v.from)
			}
		case s.Interval == space.Interval{}:
			return i, usagef("space %s has no intervals of its own: give --min-params, --max-params and --interval", s.Name)
		}
	}
	if i.Step <= 0 || i.Max <= i.Min {
		return i, usagef("--min-params %v, --max-params %v and --interval %v leave no interval", i.Min, i.Max, i.Step)
	}
	return i, nil
}

func printCandidates(w io.Writer, candidates space.Candidates) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "below M\tparameters M\tscore\tarchitecture")
	for _, bin := range candidates {
		for _, c := range bin.Candidates {
			fmt.Fprintf(t, "%s\t%.3f\t%.6g\t%s\n", bin.Key, millions(c.Params), c.Score, c.Arch)
		}
	}
	return t.Flush()
}

// require marks flags without which a command cannot start.
func require(c *cobra.Command, flags ...string) {
	check := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		for _, name := range flags {
			if c.Flags().Lookup(name).Value.String() == "" {
				return usagef("--%s is missing; see %s --help", name, c.CommandPath())
			}
		}
		if check != nil {
			return check(c, args)
		}
		return nil
	}
}
