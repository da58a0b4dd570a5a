package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"prenas/internal/data"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/job"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/train"
)

func shrinkCommand(g *global) *cobra.Command {
	var o job.ShrinkOptions
	var recipeName string
	var budgets shrinkBudgets
	var bad onBadImage
	var dryRun bool
	var within time.Duration
	c := &cobra.Command{
		Use: "shrink FILE --data SRC --out RUN", Short: "Make a family of smaller models out of a pretrained one", Args: cobra.ExactArgs(1),
		Long: "The whole job in one command: brings the weights in as prenas import does, fits them a head where they do\n" +
			"not know the images' classes, sorts what slices cut by importance on the images, chooses an architecture\n" +
			"for each budget, trains these with the pretrained model as their teacher, measures them beside it, and\n" +
			"exports each as safetensors and ONNX. The folder is a run like that of prenas train.\n\n" +
			"Stopped at any stage it goes on with the same command, and ends with the same models.",
		Example: "  prenas shrink vit.safetensors --data folder:flowers --out family\n" +
			"  prenas shrink vit.safetensors --data folder:flowers --latency 5,10,20 --out family\n" +
			"  prenas shrink dinov2.pth --data folder:flowers --image-size 224 --budgets 75%,50%,25% --out family\n" +
			"  prenas shrink vit.safetensors --data folder:flowers --params 5,10 --latency 8 --out family",
		RunE: func(c *cobra.Command, args []string) (err error) {
			o.File, o.Seed, o.Command = args[0], g.seed, strings.Join(os.Args, " ")
			if err := checkHints(o.Hints); err != nil {
				return err
			}
			if err := noOverwriteOfData(o.Out, o.Data); err != nil {
				return err
			}
			if o.Recipe, err = recipe.Load(recipeName); err != nil {
				return fmt.Errorf("--recipe: %w", err)
			}
			if c.Flags().Changed("on-bad-image") {
				o.Recipe.SkipBadImages = bad.skip
			}
			if err := budgets.options(c, &o.Budgets); err != nil {
				return err
			}
			out := newConsole(g)
			o.Log, o.Fetch, o.Training, o.Evaluating = out.line, out.fetching, out.training, out.evaluating
			o.Open = func(ctx context.Context) (*engine.Engine, error) { return g.open(ctx, out) }
			o.Features = func(done, total int) { out.progress("features", int64(done), int64(total), "") }
			o.Gradients = func(done, total int) { out.progress("gradients", int64(done), int64(total), "") }
			o.Measuring = func(done, total int) { out.progress("latency", int64(done), int64(total), "") }
			if dryRun {
				p, err := job.PlanShrink(c.Context(), o, within)
				if err != nil {
					return shrinkError(o, err)
				}
				return g.printResult(p, func(w io.Writer) error { return printShrinkPlan(w, p) })
			}
			r, err := job.Shrink(c.Context(), o)
			if err != nil {
				return shrinkError(o, err)
			}
			return g.printResult(r, func(w io.Writer) error { return printShrunk(w, o.Out, r) })
		},
	}
	f := c.Flags()
	f.StringVar(&o.Data, "data", "", "images to shrink for, SRC (prenas data --help)")
	budgets.add(f)
	f.IntVar(&o.ImageSize, "image-size", 0, "pixels of an image's side (default: as the model was trained)")
	addHints(f, &o.Hints, "trained-size")
	f.StringVar(&o.Licence, "licence", "", "licence of the weights, for the cards")
	f.StringVar(&o.Teacher, "teacher", "", "file of another model that teaches, or none (default: the pretrained model)")
	f.StringVar(&recipeName, "recipe", "shrink", "built-in recipe ("+strings.Join(recipe.Names(), ", ")+") or YAML file")
	addOverride(f, &o.Override)
	bad.add(f, " (default: the recipe's)")
	f.StringVar(&o.Out, "out", "", "run directory to write")
	f.BoolVar(&dryRun, "dry-run", false, "do what comes before the training, measure the rest, say what it would take, and write nothing")
	f.DurationVar(&within, "within", time.Minute, "how long --dry-run measures, about; what does not fit is estimated; 0: all is measured")
	f.IntVar(&o.Workers, "workers", 0, "goroutines that prepare images (default: one per core)")
	c.PreRunE = func(c *cobra.Command, _ []string) error {
		if dryRun {
			return missing(c, "data")
		}
		return missing(c, "data", "out")
	}
	return c
}

// printShrinkPlan prints what each stage would take.
func printShrinkPlan(w io.Writer, p job.ShrinkPlan) error {
	fmt.Fprintf(w, "%s, peak learning rate %.3g\n", updatesOf(p.Training), p.Training.PeakLR)
	var t table
	t.head = []string{"seconds", "stage"}
	for _, s := range []struct {
		seconds float64
		stage   string
	}{
		{p.Original, "the original: import and order"}, {p.Head, "the original's head on frozen features"}, {p.Search, "search"},
		{p.Training.Time().Seconds(), "training"}, {p.Teacher, "what the original teaches"},
	} {
		t.add(fmt.Sprintf("%.3g", s.seconds), s.stage)
	}
	if err := t.print(w); err != nil {
		return err
	}
	for _, a := range p.Training.Archs {
		fmt.Fprintf(w, "%.3f M parameters: %s\n", millions(a.Params), a.Arch)
	}
	_, err := fmt.Fprintf(w, "about %s on this machine, evaluation and checkpoints not counted%s\n", p.Time(), memoryOf(p.Training))
	return err
}

// shrinkError adds to an error of shrinking what the user can do, and makes errors of the flags usage
// errors.
func shrinkError(o job.ShrinkOptions, err error) error {
	switch {
	case errors.Is(err, rundir.ErrOtherRun):
		return fmt.Errorf("%w; name another folder with --out, or remove %s", err, o.Out)
	case errors.Is(err, train.ErrInterrupted):
		return fmt.Errorf("%w, or with the same shrink command, which does the rest too", err)
	case errors.Is(err, data.ErrSource), errors.Is(err, job.ErrBudget), errors.Is(err, job.ErrAsk), errors.Is(err, recipe.ErrInvalid) && o.Override != (recipe.Override{}):
		return usageError{err}
	}
	return err
}

// shrinkBudgets are the flags of what shrunk models may cost.
type shrinkBudgets struct {
	budgetFlags
	shares  []string
	batch   int
	profile string
}

// defaultShares are the default budgets, as shares of the original's MACs.
var defaultShares = []string{"75%", "50%", "25%"}

func (b *shrinkBudgets) add(f *pflag.FlagSet) {
	b.lists(f)
	f.StringSliceVar(&b.shares, "budgets", nil, "shares of the original's multiply-accumulates, like `75%,50%,25%`, one architecture for each (default: these, if there is no other budget)")
	f.IntVar(&b.batch, "latency-batch", 1, "images at once of which latency is measured")
	f.StringVar(&b.profile, "latency-profile", "", "file of prenas spaces latency --out, of another machine, that --latency is taken from (default: measured on this one)")
}

func (b *shrinkBudgets) options(c *cobra.Command, to *job.Budgets) error {
	values, err := b.cut(c, false)
	if err != nil {
		return err
	}
	to.Within, to.LatencyBatch, to.Profile = map[string]job.Range{}, b.batch, b.profile
	several := len(values) > 1
	shares := b.shares
	switch {
	case shares == nil && values == nil:
		shares, to.Raised = defaultShares, true
	case shares != nil && several:
		return usagef("--budgets and --%s both have several budgets; give several of one cost, and of others one each, a limit", b.by)
	case shares != nil && values != nil:
		b.ranges[b.by].Max = values[0]
	}
	for _, text := range shares {
		share, err := parseShare(text)
		if err != nil {
			return err
		}
		to.Shares = append(to.Shares, share)
	}
	if shares == nil {
		to.By, to.Values = b.by, values
	}
	for name, r := range b.ranges {
		if !math.IsNaN(r.Max) {
			to.Within[name] = *r
		}
	}
	_, limited := to.Within["latency"]
	if to.Profile != "" && to.By != "latency" && !limited {
		return usagef("--latency-profile is for budgets of latency: give --latency")
	}
	if to.Profile != "" && c.Flags().Changed("latency-batch") {
		return usagef("--latency-batch: the file of --latency-profile says of how many images it is")
	}
	return nil
}

// parseShare reads a share of the whole, written as 50% or 0.5; it must be above 0 and below 1.
func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := strconv.ParseFloat(number, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v > 0 && v < 1) {
		return 0, usagef("--budgets is %q, a share must be above 0 and below 100%%, like 50%% or 0.5", text)
	}
	return v, nil
}

// printShrunk prints the original and the family, one line each, the original first.
func printShrunk(w io.Writer, out string, r job.Shrunk) error {
	var t table
	t.head = []string{"MACs M", "share", "parameters M", "latency ms", "top-1 %", "95 % interval", "top-5 %", "architecture"}
	whole := r.Original.Result()
	row := func(a evaluate.Result, images int, share string) {
		t.add(fmt.Sprintf("%.4g", millions(a.MACs)), share, fmt.Sprintf("%.3f", millions(a.Params)), fmt.Sprintf("%.3g", r.Original.Latency[a.Arch]),
			fmt.Sprintf("%.2f", 100*a.Top1), evaluate.Range(a.Top1, images), fmt.Sprintf("%.2f", 100*a.Top5), a.Arch)
	}
	row(whole, r.Original.Results.Images, "original")
	for _, a := range r.Family.Archs {
		row(a, r.Family.Images, fmt.Sprintf("%.1f %%", 100*float64(a.MACs)/float64(whole.MACs)))
	}
	if err := t.print(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\non %s\nlatency: %s\n\nmodels: %s\nreport: %s\n", r.Family.Of(), r.Original.LatencyOf, filepath.Join(out, "models"), r.Report)
	return err
}
