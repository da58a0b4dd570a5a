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
// test images, and prints a table of means with their 95 % intervals. Runs that are in the
// folder already are taken as they are, so a stopped experiment goes on, and seeds can be
// trained by processes of their own (-first 2 -seeds 1), the last of which makes the table.
//
//	go run ./examples/claim -out claim
//	go run ./examples/claim -out claim-conv -space conv-quickstart -recipe quickstart-conv
package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"prenas/examples/internal/experiment"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/job"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

func main() {
	x := claim{experiment.Flags("claim")}
	experiment.Main(x.Name, x.run)
}

type claim struct{ *experiment.Setup }

func (x claim) run(ctx context.Context) error {
	if err := x.Open(ctx); err != nil {
		return err
	}
	defer x.Engine.Close()
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
		if err := fsys.WriteAtomic(fsys.OS, x.File(fmt.Sprint("alone-", i)), one.Write); err != nil {
			return err
		}
	}
	alone := []string{}
	for i := range archs {
		alone = append(alone, fmt.Sprint("alone-", i))
	}
	all, share := x.Recipe.Epochs, max(1, x.Recipe.Epochs/len(archs))
	rows := []row{
		{"preferred", "balanced", all, []string{"best"}},
		{"whole space", "space", all, []string{"best"}},
		{"preferred x3", "balanced", all, []string{"three"}},
		{"alone, a share", "balanced", share, alone},
		{"alone, all", "balanced", all, alone},
	}
	rows, err = experiment.Rows(x.Setup, rows, func(r row) string { return r.name })
	if err != nil {
		return err
	}
	table := make([]map[string][]float64, len(rows)) // top-1 by architecture, of each seed
	for seed := range x.Seeds {
		for r, row := range rows {
			if table[r] == nil {
				table[r] = map[string][]float64{}
			}
			for _, candidates := range row.candidates {
				results, err := x.train(ctx, candidates, row.sampler, row.epochs, uint64(x.First+seed))
				if err != nil {
					return err
				}
				for _, a := range results.Archs {
					table[r][a.Arch] = append(table[r][a.Arch], 100*a.Top1)
				}
			}
		}
	}
	fmt.Printf("| trained | mean | %s |\n", strings.Join(archs, " | "))
	fmt.Printf("| --- | --- |%s\n", strings.Repeat(" --- |", len(archs)))
	for r, row := range rows {
		fmt.Printf("| %s |", row.name)
		means := make([]float64, x.Seeds)
		var cells string
		for _, arch := range archs {
			values := table[r][arch]
			for seed, v := range values {
				means[seed] += v / float64(len(archs))
			}
			cells += " " + experiment.Within(values, "") + " |"
		}
		fmt.Printf(" %s |%s\n", experiment.Within(means, ""), cells)
	}
	return nil
}

// row of the table.
type row struct {
	name, sampler string
	epochs        int
	candidates    []string // each trained in a run of its own
}

// search is always from the same weights: all seeds train the same architectures.
func (x claim) search(ctx context.Context, name string, top int) (space.Candidates, error) {
	r, _, err := job.Search(ctx, job.SearchOptions{
		Engine: x.Engine, Space: x.Space, Search: search.Options{Interval: x.Space.Interval, Top: top}, Out: x.File(name), Log: experiment.Say,
	})
	return r.Candidates, err
}

// train makes a run, or finds it, and measures it.
func (x claim) train(ctx context.Context, candidates, sampler string, epochs int, seed uint64) (evaluate.Results, error) {
	run := filepath.Join(x.Out, fmt.Sprintf("%s-%s-%d-%d", candidates, sampler, epochs, seed))
	if results, err := evaluate.ReadResults(fsys.OS, filepath.Join(run, job.ResultsFile)); err == nil {
		return results, nil
	}
	experiment.Say(run)
	by := x.Recipe
	by.Sampler.Name, by.Epochs = sampler, epochs
	_, err := experiment.Train(ctx, x.Training(x.File(candidates), by, run, seed))
	if err != nil {
		return evaluate.Results{}, err
	}
	return job.Evaluate(ctx, job.EvaluateOptions{Engine: x.Engine, Run: run, Batch: 100, Log: experiment.Say})
}
