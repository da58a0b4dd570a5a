package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prenas/internal/fsys"
	"prenas/internal/job"
	"prenas/internal/recipe"
	"prenas/internal/report"
	"prenas/internal/rundir"
	"prenas/internal/train"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// quickstarts is, by family, what a quickstart searches and trains by; the recipe has a
// twin with fewer updates, whose name ends in -small.
var quickstarts = map[string]struct{ space, recipe string }{
	"vit":  {"quickstart", "quickstart"},
	"conv": {"conv-quickstart", "quickstart-conv"},
}

func quickstartCommand(g *global) *cobra.Command {
	var dir, family, src string
	var small bool
	c := &cobra.Command{
		Use: "quickstart", Short: "Do the whole job on Fashion-MNIST, in minutes", Args: cobra.NoArgs,
		Long: "Search, train, evaluate and report on Fashion-MNIST, which fetches itself.\n" +
			"A run that was stopped goes on where it stood when the command is given again.",
		Example: "  prenas quickstart\n  prenas quickstart --family conv\n  prenas quickstart --small --out /tmp/first",
		RunE: func(c *cobra.Command, _ []string) error {
			first, known := quickstarts[family]
			if !known {
				return usagef("--family is %q, it must be one of %s", family, strings.Join(slices.Sorted(maps.Keys(quickstarts)), ", "))
			}
			if dir == "" {
				dir = filepath.Join("runs", first.recipe)
			}
			if err := noOverwriteOfData(dir, src); err != nil {
				return err
			}
			release, err := rundir.Hold(dir)
			if err != nil {
				return err
			}
			defer release()
			began := time.Now()
			out := newConsole(g)
			stage := func(name string) { out.line(fmt.Sprintf("[%3.0f s] %s", time.Since(began).Seconds(), name)) }

			stage("engine")
			e, err := g.open(c.Context(), out)
			if err != nil {
				return err
			}
			defer e.Close()
			recipeName := first.recipe
			if small {
				recipeName += "-small"
			}
			recipe, err := recipe.Load(recipeName)
			if err != nil {
				return err
			}
			candidates := filepath.Join(dir, "search", "candidates.json")
			begun := exists(filepath.Join(dir, "manifest.json"))
			switch {
			case !begun:
				stage("search: one forward and backward pass of the supernet on noise")
				err := searchFirst(c.Context(), first.space, job.SearchOptions{
					Engine: e, Scoring: job.Scoring{Seed: g.seed}, Out: candidates,
				}, out)
				if err != nil {
					return err
				}
			case !exists(candidates):
				return fmt.Errorf("%s holds a run that prenas quickstart did not begin; name another folder with --out", dir)
			default:
				stage("search: done before; see " + candidates)
			}

			stage("train: one supernet on the preferred architectures")
			_, err = job.Train(c.Context(), job.TrainOptions{
				Engine: e, Candidates: candidates, Data: src, Recipe: recipe, Seed: g.seed, Out: dir, Resume: begun,
				Command: strings.Join(os.Args, " "), Log: out.line, Fetch: out.fetching, Progress: out.training,
			})
			if errors.Is(err, rundir.ErrOtherRun) {
				return fmt.Errorf("%w; name another folder with --out, or remove %s", err, dir)
			}
			if errors.Is(err, train.ErrInterrupted) {
				return fmt.Errorf("%w, or with the same quickstart command, which does the rest too", err)
			}
			if err != nil {
				return err
			}

			stage("evaluate: each architecture's slice of the weights, on the test images")
			measuring := job.EvaluateOptions{Engine: e, Run: dir, Batch: 100, Log: out.line, Progress: out.evaluating}
			results, err := job.Evaluate(c.Context(), measuring)
			if errors.Is(err, job.ErrNoTest) {
				stage("evaluate: there are no test images, so on the training images that were held out")
				measuring.Split = job.HeldOut
				results, err = job.Evaluate(c.Context(), measuring)
			}
			if err != nil {
				return err
			}
			stage("report")
			path, err := report.Write(fsys.OS, dir)
			if err != nil {
				return err
			}
			stage("done")
			return g.printResult(results, func(w io.Writer) error {
				if err := printResults(w, results); err != nil {
					return err
				}
				_, err := fmt.Fprintf(w, "\nreport: %s\n", path)
				return err
			})
		},
	}
	c.Flags().StringVar(&dir, "out", "", "run directory to write (default: runs/quickstart, or runs/quickstart-conv)")
	c.Flags().StringVar(&family, "family", "vit", "vit, vision transformers, or conv, convolutional networks")
	c.Flags().StringVar(&src, "data", "fashion-mnist", "other images of up to ten classes, SRC (prenas data --help)")
	c.Flags().BoolVar(&small, "small", false, "fewer updates, for a first look")
	return c
}

// searchFirst searches a built-in space, in its own intervals, into a folder that need
// not exist.
func searchFirst(ctx context.Context, name string, o job.SearchOptions, out *console) error {
	s, err := space.Load(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.Out), 0o755); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	o.Space, o.Search = s, search.Options{Interval: s.Interval}
	o.Progress = func(done, total int) { out.progress("gradients", int64(done), int64(total), "") }
	found, _, err := job.Search(ctx, o)
	if err != nil {
		return err
	}
	out.line(fmt.Sprintf("%d architectures scored, %d preferred", found.Report.Enumerated, len(found.Candidates)))
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
