// Command claim tries the claim of the paper at a small scale: does training only the
// preferred architectures beat training any architecture of the space, for the same
// number of updates? On Fashion-MNIST and a space of small models it trains
//
//	preferred        the architectures of the search, in turn
//	whole space      an architecture drawn anew for each update, AutoFormer's way
//	preferred x3     the three best of each interval, in turn
//	alone, a share   each preferred architecture by itself, for the updates that it has in "preferred"
//	alone, all       each preferred architecture by itself, for the updates of all of them together
//
// with several seeds, measures the same preferred architectures in all of them on the
// test images, and prints a table of mean and standard deviation. Runs that are in the
// folder already are taken as they are, so a stopped experiment goes on, and seeds can be
// trained by processes of their own (-first 2 -seeds 1), the last of which makes the table.
//
//	go run ./examples/claim -out claim
//	go run ./examples/claim -out claim-conv -space conv-quickstart -recipe quickstart-conv
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/job"
	"prenas/internal/recipe"
	"prenas/internal/train"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

func main() {
	var x experiment
	flag.StringVar(&x.out, "out", "claim", "folder of the runs")
	flag.IntVar(&x.first, "first", 1, "first seed to train with")
	flag.IntVar(&x.seeds, "seeds", 3, "how many seeds to train with")
	flag.IntVar(&x.epochs, "epochs", 0, "epochs of each run; 0: the recipe's")
	flag.StringVar(&x.data, "data", "fashion-mnist", "images, SRC")
	flag.StringVar(&x.spaceName, "space", "quickstart", "space, built-in or a file")
	flag.StringVar(&x.recipeName, "recipe", "quickstart", "recipe, built-in or a file")
	flag.StringVar(&x.backend, "backend", "auto", "as in prenas --help")
	flag.StringVar(&x.rows, "rows", "", "names of the rows to train, between commas; empty: all")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := x.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "claim:", err)
		os.Exit(1)
	}
}

type experiment struct {
	out, data, backend    string
	spaceName, recipeName string
	rows                  string
	first, seeds, epochs  int

	engine *engine.Engine
	space  *space.Space
	recipe recipe.Recipe
}

func (x experiment) run(ctx context.Context) (err error) {
	if x.engine, err = engine.Open(ctx, engine.Options{Backend: x.backend, Devices: 1, Log: say}); err != nil {
		return err
	}
	defer x.engine.Close()
	if x.space, err = space.Load(x.spaceName); err != nil {
		return err
	}
	if x.recipe, err = recipe.Load(x.recipeName); err != nil {
		return err
	}
	x.recipe.Keep = 1
	x.recipe.Precision = string(engine.Float32) // not what is faster at the start of each run
	if x.epochs > 0 {
		x.recipe.Epochs = x.epochs
	}
	if err := os.MkdirAll(x.out, 0o755); err != nil {
		return err
	}
	best, err := x.search(ctx, "best", 1)
	if err != nil {
		return err
	}
	if _, err := x.search(ctx, "three", 3); err != nil {
		return err
	}
	var archs []string
	for i, bin := range best {
		archs = append(archs, bin.Candidates[0].Arch.String())
		one := space.Candidates{{Key: bin.Key, Candidates: bin.Candidates[:1]}}
		if err := fsys.WriteAtomic(fsys.OS, x.file(fmt.Sprint("alone-", i)), one.Write); err != nil {
			return err
		}
	}
	alone := []string{}
	for i := range archs {
		alone = append(alone, fmt.Sprint("alone-", i))
	}
	all, share := x.recipe.Epochs, max(1, x.recipe.Epochs/len(archs))
	rows := []row{
		{"preferred", "balanced", all, []string{"best"}},
		{"whole space", "space", all, []string{"best"}},
		{"preferred x3", "balanced", all, []string{"three"}},
		{"alone, a share", "balanced", share, alone},
		{"alone, all", "balanced", all, alone},
	}
	if x.rows != "" {
		wanted := strings.Split(x.rows, ",")
		rows = slices.DeleteFunc(rows, func(r row) bool { return !slices.Contains(wanted, r.name) })
		if len(rows) != len(wanted) {
			return fmt.Errorf("-rows %q: see the table in go doc ./examples/claim for their names", x.rows)
		}
	}
	table := make([]map[string][]float64, len(rows)) // top-1 by architecture, of each seed
	for seed := range x.seeds {
		for r, row := range rows {
			if table[r] == nil {
				table[r] = map[string][]float64{}
			}
			for _, candidates := range row.candidates {
				results, err := x.train(ctx, candidates, row.sampler, row.epochs, uint64(x.first+seed))
				if err != nil {
					return err
				}
				for _, a := range results.Archs {
					table[r][a.Arch] = append(table[r][a.Arch], 100*a.Top1)
				}
			}
		}
	}
	fmt.Printf("| trained | mean | %s |\n", join(archs, " | "))
	fmt.Printf("| --- | --- |%s\n", join(make([]string, len(archs)), " --- |"))
	for r, row := range rows {
		fmt.Printf("| %s |", row.name)
		means := make([]float64, x.seeds)
		var cells string
		for _, arch := range archs {
			values := table[r][arch]
			for seed, v := range values {
				means[seed] += v / float64(len(archs))
			}
			cells += " " + spread(values) + " |"
		}
		fmt.Printf(" %s |%s\n", spread(means), cells)
	}
	return nil
}

func say(line string) { fmt.Fprintln(os.Stderr, line) }

// row of the table.
type row struct {
	name, sampler string
	epochs        int
	candidates    []string // each trained in a run of its own
}

// join puts the separator between, or behind each where the words are empty.
func join(words []string, separator string) string {
	text := ""
	for i, word := range words {
		if word != "" && i > 0 || word == "" {
			text += separator
		}
		text += word
	}
	return text
}

// spread is mean ± sample standard deviation.
func spread(values []float64) string {
	mean, square := 0.0, 0.0
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		square += (v - mean) * (v - mean)
	}
	return fmt.Sprintf("%.2f ± %.2f", mean, math.Sqrt(square/float64(max(1, len(values)-1))))
}

func (x experiment) file(name string) string { return filepath.Join(x.out, name+".json") }

// search is always from the same weights: all seeds train the same architectures.
func (x experiment) search(ctx context.Context, name string, top int) (space.Candidates, error) {
	r, _, err := job.Search(ctx, job.SearchOptions{
		Engine: x.engine, Space: x.space, Search: search.Options{Interval: x.space.Interval, Top: top}, Out: x.file(name), Log: say,
	})
	return r.Candidates, err
}

// train makes a run, or finds it, and measures it.
func (x experiment) train(ctx context.Context, candidates, sampler string, epochs int, seed uint64) (evaluate.Results, error) {
	run := filepath.Join(x.out, fmt.Sprintf("%s-%s-%d-%d", candidates, sampler, epochs, seed))
	if results, err := evaluate.ReadResults(fsys.OS, filepath.Join(run, job.ResultsFile)); err == nil {
		return results, nil
	}
	say(run)
	recipe := x.recipe
	recipe.Sampler.Name, recipe.Epochs = sampler, epochs
	_, missing := os.Stat(filepath.Join(run, "manifest.json"))
	last := 0
	_, err := job.Train(ctx, job.TrainOptions{
		Engine: x.engine, Space: x.space, Candidates: x.file(candidates), Data: x.data, Recipe: recipe, Seed: seed, Out: run,
		Resume: missing == nil, Log: say,
		Progress: func(s train.Status) {
			if part := 10 * s.Step / s.Steps; part > last {
				last = part
				say(fmt.Sprintf("%s: %d of %d updates, loss %.3f", run, s.Step, s.Steps, s.Loss))
			}
		},
	})
	if err != nil {
		return evaluate.Results{}, err
	}
	return job.Evaluate(ctx, job.EvaluateOptions{Engine: x.engine, Run: run, Batch: 100, Log: say})
}
