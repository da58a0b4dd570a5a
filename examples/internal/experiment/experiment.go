// Package experiment is what the examples that train models and compare them have in common: how
// they start and stop, their flags, and how they go on with a training.
package experiment

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/job"
	"prenas/internal/program"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/train"
	"prenas/pkg/space"
)

// Main parses the flags and runs a command until it ends or is interrupted. An error is printed
// after the command's name, and the exit code is 1.
func Main(name string, run func(context.Context) error) {
	flag.Parse()
	program.Main(name, run)
}

// Say writes a line to standard error; standard output has the table alone.
func Say(line string) { fmt.Fprintln(os.Stderr, line) }

// Setup is what the rows of a table are trained with.
type Setup struct {
	Name         string // of the command
	Out          string // folder of the runs
	Data         string // SRC
	First, Seeds int    // the first seed to train with, and how many

	Engine *engine.Engine
	Space  *space.Space
	Recipe recipe.Recipe

	space, recipe, backend, rows string
	epochs                       int
}

// Flags declares the flags of a command: its runs are in the folder of its name.
func Flags(name string) *Setup {
	s := &Setup{Name: name}
	flag.StringVar(&s.Out, "out", name, "folder of the runs")
	flag.StringVar(&s.Data, "data", "fashion-mnist", "images, SRC")
	flag.StringVar(&s.space, "space", "quickstart", "space, built-in or a file")
	flag.StringVar(&s.recipe, "recipe", "quickstart", "recipe, built-in or a file")
	flag.IntVar(&s.First, "first", 1, "first seed to train with")
	flag.IntVar(&s.Seeds, "seeds", 3, "how many seeds to train with")
	flag.IntVar(&s.epochs, "epochs", 0, "epochs of a row; 0: the recipe's")
	flag.StringVar(&s.backend, "backend", "auto", "as in prenas --help")
	flag.StringVar(&s.rows, "rows", "", "names of the rows, between commas; empty: all")
	return s
}

// Open reads the space and the recipe, opens the engine, which the caller closes, and makes the
// folder.
func (s *Setup) Open(ctx context.Context) (err error) {
	if s.Space, err = space.Load(s.space); err != nil {
		return err
	}
	if s.Recipe, err = recipe.Load(s.recipe); err != nil {
		return err
	}
	s.Recipe.Keep = 1
	s.Recipe.Precision = string(engine.Float32) // not what is faster at the start of each run
	if s.epochs > 0 {
		s.Recipe.Epochs = s.epochs
	}
	if err := fsys.OS.MkdirAll(s.Out); err != nil {
		return err
	}
	s.Engine, err = engine.Open(ctx, engine.Options{Backend: s.backend, Devices: 1, Log: Say})
	return err
}

// File is a JSON file of that name in the folder.
func (s *Setup) File(name string) string { return filepath.Join(s.Out, name+".json") }

// Rows are those that the flag names, of all.
func Rows[Row any](s *Setup, all []Row, name func(Row) string) ([]Row, error) {
	if s.rows == "" {
		return all, nil
	}
	wanted := strings.Split(s.rows, ",")
	rows := slices.DeleteFunc(all, func(r Row) bool { return !slices.Contains(wanted, name(r)) })
	if len(rows) != len(wanted) {
		return nil, fmt.Errorf("-rows %q: go doc ./examples/%s has their names", s.rows, s.Name)
	}
	return rows, nil
}

// Training are the options of a training by the setup into the run directory run.
func (s *Setup) Training(candidates string, by recipe.Recipe, run string, seed uint64) job.TrainOptions {
	return job.TrainOptions{
		Engine: s.Engine, Space: s.Space, Candidates: candidates, Data: s.Data, Recipe: by, Seed: seed, Out: run, Log: Say,
	}
}

// Train makes a run, or goes on with it; one that has ended is left as it is.
func Train(ctx context.Context, o job.TrainOptions) (train.Result, error) {
	_, err := os.Stat(filepath.Join(o.Out, rundir.ManifestFile))
	o.Resume = err == nil
	o.Progress = Progress(o.Out)
	return job.Train(ctx, o)
}

// Progress says each tenth of a training.
func Progress(run string) func(train.Status) {
	last := 0
	return func(s train.Status) {
		if part := 10 * s.Step / max(s.Steps, 1); part > last {
			last = part
			Say(fmt.Sprintf("%s: %d of %d updates, loss %.3f", run, s.Step, s.Steps, s.Loss))
		}
	}
}
