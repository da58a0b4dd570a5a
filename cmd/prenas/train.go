package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"prenas/internal/data"
	"prenas/internal/data/source"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/job"
	"prenas/internal/machine"
	"prenas/internal/printable"
	"prenas/internal/recipe"
	"prenas/internal/train"
)

func trainCommand(g *global) *cobra.Command {
	var given job.TrainOptions
	var spaceName, recipeName, sampler string
	var precision engine.Precision
	var bad onBadImage
	var dryRun, rollBack bool
	var change recipe.Override
	var within time.Duration
	c := &cobra.Command{
		Use: "train --candidates FILE --data SRC --out RUN", Short: "Train one supernet on the preferred architectures", Args: cobra.NoArgs,
		Long: "Train one weight-sharing supernet on the architectures of a candidates file.\n\n" +
			"Without --recipe a built-in space has its own: tiny, small and base the published training of the same\n" +
			"name (500 epochs of ImageNet), quickstart and conv-quickstart the quickstart's. Any other space has\n" +
			"images, a training from scratch on images of one's own.\n\nSRC is\n  " + strings.Join(source.Describe(), "\n  "),
		Example: "  prenas train --candidates candidates.json --data fashion-mnist --out run\n" +
			"  prenas train --candidates candidates.json --weights vit.safetensors --data folder:images --out run\n" +
			"  prenas train --candidates candidates.json --data folder:images --recipe tiny --dry-run\n" +
			"  prenas train --resume --out run\n" +
			"  prenas train --resume --epochs 120 --out run",
		RunE: func(c *cobra.Command, _ []string) (err error) {
			o := given
			if given.Resume {
				if o, err = job.Resumed(given.Out); err != nil {
					return err
				}
				o.Workers = given.Workers
			}
			changed := c.Flags().Changed
			if changed("candidates") {
				o.Candidates = given.Candidates
			}
			o.Weights = given.Weights
			if changed("data") {
				o.Data = given.Data
			}
			if changed("seed") || !given.Resume {
				o.Seed = g.seed
			}
			if spaceName != "" {
				if o.Space, err = loadSpace("--space", spaceName); err != nil {
					return err
				}
			}
			if !given.Resume {
				if err := noOverwriteOfData(o.Out, o.Data); err != nil {
					return err
				}
			}
			out := newConsole(g)
			o.Log = out.line
			switch {
			case changed("recipe"):
				if o.Recipe, err = recipe.Load(recipeName); err != nil {
					return fmt.Errorf("--recipe: %w", err)
				}
			case !given.Resume:
				if o.Recipe, err = o.DefaultRecipe(); err != nil {
					return err
				}
			}
			if precision != "" {
				o.Recipe.Precision = string(precision)
			}
			if sampler != "" {
				if o.Recipe, err = o.Recipe.WithSampler(sampler); err != nil {
					return usageError{fmt.Errorf("--sampler: %w", err)}
				}
			}
			o.Override = change
			if given.Resume {
				if changed("epochs") { // the run goes on for longer; its warm-up is over
					o.Recipe.Epochs, o.Override.Epochs = change.Epochs, 0
				}
				if o.Recipe, err = o.Recipe.With(o.Override); err != nil {
					return usageError{err}
				}
			}
			if changed("on-bad-image") {
				o.Recipe.SkipBadImages = bad.skip
			}
			if changed("roll-back") {
				o.Recipe.RollBack = rollBack
			}
			if o.Engine, err = g.open(c.Context(), out); err != nil {
				return err
			}
			defer o.Engine.Close()
			o.Command = strings.Join(os.Args, " ")
			o.Fetch, o.Progress = out.fetching, out.training
			if dryRun {
				return g.printPlan(c.Context(), o, within)
			}
			r, err := job.Train(c.Context(), o)
			if errors.Is(err, data.ErrSource) || errors.Is(err, recipe.ErrInvalid) && change != (recipe.Override{}) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			return g.printResult(r, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s; %s\n%s\n", course(r), best("mean top-1", r), o.Out)
				return err
			})
		},
	}
	f := c.Flags()
	f.StringVar(&given.Candidates, "candidates", "", "candidates file of prenas search or of the original")
	f.StringVar(&spaceName, "space", "", "space of the candidates (default: the one in their meta file)")
	f.StringVar(&given.Weights, "weights", "", "safetensors of the supernet's weights to begin with (default: drawn from --seed)")
	f.StringVar(&given.Data, "data", "", "images to train on, SRC (prenas data --help)")
	f.StringVar(&recipeName, "recipe", "", "built-in recipe ("+strings.Join(recipe.Names(), ", ")+") or YAML file (default: by the space, see above)")
	addPrecision(f, &precision, " (default: the recipe's)")
	f.StringVar(&sampler, "sampler", "", "what each update trains: "+strings.Join(recipe.SamplerNames(), ", ")+" (default: the recipe's)")
	addOverride(f, &change)
	bad.add(f, " (default: the recipe's)")
	f.BoolVar(&rollBack, "roll-back", false, "where training diverges, go back to a checkpoint with half the learning rate (default: the recipe's)")
	f.StringVar(&given.Out, "out", "", "run directory to write")
	f.BoolVar(&dryRun, "dry-run", false, "measure a few steps of each architecture, say what the run would take, and write nothing")
	f.DurationVar(&within, "within", time.Minute, "how long --dry-run measures, about; what does not fit is estimated; 0: all is measured")
	f.BoolVar(&given.Resume, "resume", false, "go on with the run in --out; what is not given is as it was")
	f.IntVar(&given.Workers, "workers", 0, "goroutines that prepare images (default: one per core)")
	c.PreRunE = func(c *cobra.Command, _ []string) error {
		if given.Resume {
			return missing(c, "out")
		}
		if dryRun {
			return missing(c, "candidates", "data")
		}
		return missing(c, "candidates", "data", "out")
	}
	return shared(c)
}

// addOverride adds the flags for the keys of a recipe that are changed most often.
func addOverride(f *pflag.FlagSet, o *recipe.Override) {
	f.IntVar(&o.Epochs, "epochs", 0, "times that all images are seen (default: the recipe's)")
	f.IntVar(&o.Batch, "batch", 0, "images that are computed at once (default: the recipe's)")
	f.Float64Var(&o.LR, "lr", 0, "peak learning rate (default: the recipe's)")
	f.Var((*patience)(o), "patience", "epochs without any gain on the held-out images, after which training stops; 0: never (default: the recipe's)")
}

// patience is the value of --patience, which may be 0.
type patience recipe.Override

func (p *patience) String() string {
	if p == nil || p.Patience == nil {
		return ""
	}
	return strconv.Itoa(*p.Patience)
}

func (p *patience) Set(text string) error {
	n, err := strconv.Atoi(text)
	p.Patience = &n
	return err
}

func (p *patience) Type() string { return "int" }

// course says how many updates a run had, and what happened on the way.
func course(r train.Result) string {
	text := fmt.Sprintf("trained %s", printable.Count(r.Step, "update"))
	if r.Early != nil {
		text += ", and stopped early"
	}
	if r.BestStep > 0 && r.BestStep < r.Step {
		text += fmt.Sprintf("; the weights of update %d are taken", r.BestStep)
	}
	return text
}

// best says what the chosen weights of a run reached on its held-out images.
func best(what string, r train.Result) string {
	if r.BestTop1 == nil {
		return "no image was held out, so nothing was measured"
	}
	return fmt.Sprintf("%s on the %s %.2f %%, 95 %% interval %s", what, printable.Count(r.HeldOut, "held-out image"), 100**r.BestTop1, evaluate.Range(*r.BestTop1, r.HeldOut))
}

// printPlan prints how long a run would take.
func (g *global) printPlan(ctx context.Context, o job.TrainOptions, within time.Duration) error {
	p, err := job.PlanTraining(ctx, o, within)
	if errors.Is(err, data.ErrSource) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	return g.printResult(p, func(w io.Writer) error {
		fmt.Fprintf(w, "%s, sampler %s, %s, peak learning rate %.3g\n", updatesOf(p), p.Sampler, p.Precision, p.PeakLR)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "parameters M\timages/s\tturns an update\t  architecture")
		for _, a := range p.Archs {
			rate := fmt.Sprintf("%.3g", a.Rate)
			if a.Estimated {
				rate = "about " + rate
			}
			fmt.Fprintf(t, "%.3f\t%s\t%.2f\t  %s\n", millions(a.Params), rate, a.Turns, a.Arch)
		}
		if err := t.Flush(); err != nil {
			return err
		}
		if n := p.Estimated(); n > 0 {
			fmt.Fprintf(w, "measured %d of %s in %v, the others are estimated by their multiply-accumulates; --within 0 measures all\n", len(p.Archs)-n, printable.Count(len(p.Archs), "architecture"), within)
		}
		where := "this machine"
		if p.Ranks > 1 {
			fmt.Fprintf(w, "%s: the sums of their gradients are %.2g %% of the time\n", printable.Count(p.Ranks, "rank"), 100*p.Sums/p.Seconds)
			if p.Hosts > 1 {
				most := slices.MaxFunc(p.Archs, func(a, b train.PlannedArch) int { return cmp.Compare(a.HostBytes, b.HostBytes) })
				fmt.Fprintf(w, "%s: each adds the gradients of its own ranks first, and sends %s to the others for an update at most\n", printable.Count(p.Hosts, "host"), machine.Bytes(float64(most.HostBytes)))
			}
			where = "these ranks"
		}
		_, err := fmt.Fprintf(w, "about %s on %s, evaluation and checkpoints not counted%s\n", p.Time(), where, memoryOf(p))
		return err
	})
}

// updatesOf says how many epochs and updates a plan has, and of how many images.
func updatesOf(p train.Plan) string {
	return fmt.Sprintf("%s of %s, %d held out: %s of %s", printable.Count(p.Epochs, "epoch"), printable.Count(p.Train, "image"), p.HeldOut, printable.Count(p.Updates, "update"), printable.Count(p.Images, "image"))
}

// memoryOf is the memory that a plan's measurements took, as the end of a line.
func memoryOf(p train.Plan) string {
	if p.PeakBytes == 0 {
		return ""
	}
	return fmt.Sprintf("; %.1f GB of memory", float64(p.PeakBytes)/1e9)
}

// training shows a run's progress.
func (c *console) training(s train.Status) {
	c.progress("train", int64(s.Step), int64(s.Steps), fmt.Sprintf("epoch %d/%d  loss %.3f  %.0f images/s", s.Epoch, s.Epochs, s.Loss, s.Rate))
}

// fetching shows a download's progress.
func (c *console) fetching(done, total int64) { c.progress("download", done, total, "bytes") }
