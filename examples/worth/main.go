// Command worth asks whether the search is worth it: does it give better models than the obvious
// choices, for the same compute? For each of some budgets of parameters it trains and measures on
// the test images
//
//	preferred        what prenas search chooses, in turn
//	random           an architecture of the same intervals drawn at random, several draws: the ablation of the search
//	random as large  one drawn among those that have at least 95 % of the preferred one's parameters: the ablation at equal size
//	most parameters  the largest architecture that fits each interval, in turn
//	hand-scaled      the largest that has the same choice in all layers, as DeiT scales, in turn
//	AutoFormer       any architecture of the space, then evolution by measured held-out accuracy with inherited weights
//	sandwich         the largest and smallest of the space and another in each update, taught in place by the largest; the other is
//	                 one of the preferred or one of some that are drawn from the whole space, in turn
//	alone for a share  each preferred architecture by itself, for the images that it has in "preferred"
//	alone for all     each preferred architecture by itself, for the images of all of them together
//
// All rows but the last train on the same number of images; an image that an update shows to three
// architectures counts three times. What a search takes beside that is counted in a column of its own.
// The rows preferred, random and random as large have more seeds than the others; differences are paired by seed.
//
// It writes table.md and fronts over parameters, MACs and the time of an image into its folder. The
// times are measured once, of all architectures in turns, and kept in latency.json.
// Trainings and searches that are there are taken as they are, and those that were cut go on, so a
// stopped experiment is gone on with by the same command. -dry-run says how long it would take.
//
//	go run ./examples/worth -out worth -space quickstart -recipe quickstart -params 0.015,0.1,0.7
//	go run ./examples/worth -out worth-small -data tar:cifar10 -space examples/worth/vit-small.yaml -recipe examples/worth/recipe-small.yaml -params 0.012,0.05,0.2
//	go run ./examples/worth -out worth-vit -data tar:cifar10 -space examples/worth/vit.yaml -recipe examples/worth/recipe.yaml -params 0.1,0.4,1.6
//	go run ./examples/worth -out worth-conv -data tar:cifar10 -space examples/worth/conv.yaml -recipe examples/worth/recipe.yaml -params 0.08,0.25,0.7
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"prenas/examples/internal/experiment"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/job"
	"prenas/internal/recipe"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

func main() {
	x := &worth{Setup: experiment.Flags("worth")}
	params := flag.String("params", "0.015,0.1,0.7", "budgets, millions of parameters")
	flag.StringVar(&x.proxy, "proxy", job.DefaultProxy, "score of the search, one that adds up")
	flag.IntVar(&x.more, "more-seeds", 2, "seeds more of the rows preferred, random and random as large")
	flag.IntVar(&x.draws, "draws", 3, "random draws of each seed")
	flag.IntVar(&x.others, "others", 5, "architectures drawn from the space that sandwich trains beside the preferred")
	flag.IntVar(&x.population, "population", 50, "of AutoFormer's evolution, in each interval")
	flag.IntVar(&x.generations, "generations", 20, "of AutoFormer's evolution")
	dry := flag.Bool("dry-run", false, "say what there is to train and how long it would take, and do nothing")
	experiment.Main(x.Name, func(ctx context.Context) error { return x.run(ctx, *params, *dry) })
}

type worth struct {
	*experiment.Setup
	proxy                   string
	budgets                 []float64
	more, draws, others     int
	population, generations int
}

func (x *worth) run(ctx context.Context, params string, dry bool) (err error) {
	for text := range strings.SplitSeq(params, ",") {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("-params %s: %w", params, err)
		}
		x.budgets = append(x.budgets, v)
	}
	if err := x.Open(ctx); err != nil {
		return err
	}
	defer x.Engine.Close()
	rows, err := experiment.Rows(x.Setup, x.rows(), func(r row) string { return r.name })
	if err != nil {
		return err
	}
	if dry {
		return x.plan(ctx, rows)
	}
	var all []measured
	for seed := range x.Seeds + x.more {
		for _, r := range rows {
			if seed >= r.seeds {
				continue
			}
			own, err := x.measure(ctx, r, uint64(x.First+seed))
			if err != nil {
				return fmt.Errorf("%s, seed %d: %w", r.name, x.First+seed, err)
			}
			all = append(all, own)
		}
	}
	times, err := x.latencies(ctx, all)
	if err != nil {
		return err
	}
	return x.write(rows, all, times)
}

// preferred is the row that the others are compared with.
const preferred = "preferred"

// row of the table.
type row struct {
	name, sampler string
	epochs, seeds int
	// choose returns what is trained together, a list for each training; of each the architectures
	// that are measured are those of the intervals.
	choose func(ctx context.Context, seed uint64) ([]space.Candidates, error)
	evolve bool // measured is what evolution finds with the trained weights
	extra  bool // the largest and the smallest of the space are trained too, and some drawn ones
}

func (x *worth) rows() []row {
	all, few, many := x.Recipe.Epochs, x.Seeds, x.Seeds+x.more
	each := func(ctx context.Context, seed uint64) ([]space.Candidates, error) {
		best, err := x.preferred(ctx)
		var alone []space.Candidates
		for _, bin := range best {
			alone = append(alone, space.Candidates{bin})
		}
		return alone, err
	}
	one := func(choose func(ctx context.Context) (space.Candidates, error)) func(context.Context, uint64) ([]space.Candidates, error) {
		return func(ctx context.Context, _ uint64) ([]space.Candidates, error) {
			c, err := choose(ctx)
			return []space.Candidates{c}, err
		}
	}
	return []row{
		{name: preferred, sampler: recipe.Balanced, epochs: all, seeds: many, choose: one(x.preferred)},
		{name: "random", sampler: recipe.Balanced, epochs: all, seeds: many, choose: x.random},
		{name: "random as large", sampler: recipe.Balanced, epochs: all, seeds: many, choose: x.randomAsLarge},
		{name: "most parameters", sampler: recipe.Balanced, epochs: all, seeds: few, choose: one(x.largest)},
		{name: "hand-scaled", sampler: recipe.Balanced, epochs: all, seeds: few, choose: one(x.handScaled)},
		{name: "AutoFormer", sampler: recipe.WholeSpace, epochs: all, seeds: few, choose: one(x.preferred), evolve: true},
		{name: "sandwich", sampler: recipe.Sandwich, epochs: max(1, all/3), seeds: few, choose: one(x.preferred), extra: true},
		{name: "alone for a share", sampler: recipe.Balanced, epochs: max(1, all/len(x.budgets)), seeds: few, choose: each},
		{name: "alone for all", sampler: recipe.Balanced, epochs: all, seeds: few, choose: each},
	}
}

// options of searches for the budgets.
func (x *worth) options() search.Options { return search.Options{Budgets: x.budgets} }

// preferred is always from the same weights: all seeds train the same architectures.
func (x *worth) preferred(ctx context.Context) (space.Candidates, error) {
	o := x.options()
	var err error
	if o.Score, err = search.ParseScoreMethod(x.proxy); err != nil {
		return nil, err
	}
	r, _, err := job.Search(ctx, job.SearchOptions{Engine: x.Engine, Space: x.Space, Search: o, Out: x.File("preferred-" + x.proxy)})
	if err == nil && len(r.Candidates) < len(x.budgets) {
		err = fmt.Errorf("-params: the search finds nothing in %s", strings.Join(r.Report.Empty(), ", "))
	}
	return r.Candidates, err
}

// random are draws of one architecture an interval, others for each seed.
func (x *worth) random(_ context.Context, seed uint64) (draws []space.Candidates, err error) {
	return x.drawn(seed, func(int) float64 { return 0 })
}

// near is the least size of what is drawn "as large", in parts of the preferred architecture's.
const near = 0.95

// randomAsLarge are draws like random's, of the preferred ones' sizes.
func (x *worth) randomAsLarge(ctx context.Context, seed uint64) ([]space.Candidates, error) {
	best, err := x.preferred(ctx)
	if err != nil {
		return nil, err
	}
	return x.drawn(seed, func(i int) float64 { return near * float64(best[i].Candidates[0].Params) / 1e6 })
}

// drawn are draws of one architecture an interval that has more million parameters than least says.
func (x *worth) drawn(seed uint64, least func(interval int) float64) (draws []space.Candidates, err error) {
	for i := range x.draws {
		o := x.options()
		o.Method, o.Population, o.Seed = search.Random, 1, seed*1000+uint64(i)
		var c space.Candidates
		for k, most := range x.budgets {
			o.Budgets = []float64{most}
			if o.Interval.Min = least(k); k > 0 {
				o.Interval.Min = max(o.Interval.Min, x.budgets[k-1])
			}
			one, _, err := search.RunMeasured(x.Space, func(archs []space.Arch) ([]float64, error) { return make([]float64, len(archs)), nil }, o)
			if err != nil {
				return nil, err
			}
			c = append(c, one...)
		}
		draws = append(draws, c)
	}
	return draws, nil
}

// largest are the architectures of most parameters that evolution by their number finds.
func (x *worth) largest(context.Context) (space.Candidates, error) {
	o := x.options()
	o.Method = search.Evolution
	c, _, err := search.RunMeasured(x.Space, func(archs []space.Arch) (scores []float64, err error) {
		for _, a := range archs {
			scores = append(scores, float64(x.Space.Model.Params(a)))
		}
		return scores, nil
	}, o)
	return c, err
}

// handScaled are the architectures of most parameters that have one choice in all layers.
func (x *worth) handScaled(context.Context) (best space.Candidates, err error) {
	var all []space.Arch
	s := x.Space
	for _, depth := range s.Depth {
		if s.Model.IsConv() {
			for _, k := range s.Kernel {
				for _, e := range s.Expand {
					a := space.Arch{Resolution: slices.Max(s.Resolution)}
					for range s.Model.Conv.Units {
						a.Units = append(a.Units, slices.Repeat([]space.ConvLayer{{Kernel: k, Expand: e}}, depth))
					}
					all = append(all, a)
				}
			}
			continue
		}
		for _, dim := range s.EmbedDim {
			for _, heads := range s.NumHeads {
				for _, ratio := range s.MLPRatio {
					all = append(all, space.Arch{EmbedDim: dim, NumHeads: slices.Repeat([]int{heads}, depth), MLPRatio: slices.Repeat([]float64{ratio}, depth)})
				}
			}
		}
	}
	least := 0.0
	for _, most := range x.budgets {
		var found space.Candidate
		for _, a := range all {
			n := s.Model.Params(a)
			if in := float64(n) / 1e6; in > least && in <= most && n > found.Params {
				found = space.Candidate{Arch: a, Params: n, Score: float64(n)}
			}
		}
		if found.Params == 0 {
			return nil, fmt.Errorf("-params: no architecture with one choice in all layers has above %v and at most %v million parameters", least, most)
		}
		best, least = append(best, space.Bin{Key: space.BinKey(most), Candidates: []space.Candidate{found}}), most
	}
	return best, nil
}

// measured is what a row reached with a seed.
type measured struct {
	row     string
	seed    uint64
	results []evaluate.Results // of each training
	images  int64              // trained on, an image once for each architecture that an update shows it to
	search  int64              // images of its search, which go forward only
}

func (x *worth) measure(ctx context.Context, r row, seed uint64) (own measured, err error) {
	own = measured{row: r.name, seed: seed}
	lists, err := r.choose(ctx, seed)
	if err != nil {
		return own, err
	}
	for i, c := range lists {
		run := filepath.Join(x.Out, fmt.Sprintf("%s-%d-%d", strings.ReplaceAll(r.name, " ", "-"), seed, i))
		wanted := c
		if r.extra {
			c = x.withExtra(c, seed)
		}
		if err := x.train(ctx, r, c, run, seed); err != nil {
			return own, err
		}
		images, err := imagesOf(run)
		if err != nil {
			return own, err
		}
		own.images += images
		evaluation := job.EvaluateOptions{Engine: x.Engine, Run: run, Batch: 100, Log: experiment.Say}
		if r.evolve {
			evaluation.Candidates = run + ".json"
			o := x.options()
			o.Method, o.Population, o.Generations = search.Evolution, x.population, x.generations
			found, _, err := job.Search(ctx, job.SearchOptions{Engine: x.Engine, Run: run, Space: x.Space, Search: o, Out: evaluation.Candidates, Log: experiment.Say, Scoring: job.Scoring{Seed: seed}})
			if err != nil {
				return own, err
			}
			wanted, own.search = found.Candidates, own.search+found.Meta.Measured.AllImages
		}
		results, err := evaluate.ReadResults(fsys.OS, filepath.Join(run, job.ResultsFile))
		if err != nil || r.evolve {
			if results, err = job.Evaluate(ctx, evaluation); err != nil {
				return own, err
			}
		}
		results.Archs = slices.DeleteFunc(results.Archs, func(a evaluate.Result) bool {
			return !slices.ContainsFunc(wanted, func(b space.Bin) bool { return b.Key == a.Bin })
		})
		own.results = append(own.results, results)
	}
	return own, nil
}

// withExtra are candidates with the largest and the smallest of the space, and some drawn from it, in intervals that no budget has.
func (x *worth) withExtra(c space.Candidates, seed uint64) space.Candidates {
	c = slices.Clone(c)
	extra := []space.Arch{x.Space.Smallest(), x.Space.Largest()}
	for i := range x.others {
		extra = append(extra, recipe.DrawArch(x.Space, seed, i))
	}
	for i, a := range extra {
		there := func(b space.Bin) bool { return b.Candidates[0].Arch.String() == a.String() }
		if !slices.ContainsFunc(c, there) {
			c = append(c, space.Bin{Key: space.BinKey(float64(1e6 + i)), Candidates: []space.Candidate{{Arch: a, Params: x.Space.Model.Params(a)}}})
		}
	}
	return c
}

// options of a row's training of a run.
func (x *worth) training(r row, candidates, run string, seed uint64) job.TrainOptions {
	by := x.Recipe
	by.Sampler.Name, by.Epochs = r.sampler, r.epochs
	if r.extra {
		by.Distill = recipe.Distill{Teacher: recipe.LargestTeacher, Kind: recipe.SoftTarget, Alpha: 1, Temperature: 1}
	}
	o := x.Training(candidates, by, run, seed)
	o.Log = func(string) {}
	return o
}

// train makes a run, or goes on with it; one that is there is left as it is.
func (x *worth) train(ctx context.Context, r row, c space.Candidates, run string, seed uint64) error {
	file := run + ".trained.json"
	if err := fsys.WriteAtomic(fsys.OS, file, c.Write); err != nil {
		return err
	}
	_, err := experiment.Train(ctx, x.training(r, file, run, seed))
	return err
}

// plan says how long the trainings would take, if none were there.
func (x *worth) plan(ctx context.Context, rows []row) error {
	total := 0.0
	for _, r := range rows {
		lists, err := r.choose(ctx, uint64(x.First))
		if err != nil {
			return err
		}
		file, c := x.File("planned"), lists[0]
		if r.extra {
			c = x.withExtra(c, uint64(x.First))
		}
		if err := fsys.WriteAtomic(fsys.OS, file, c.Write); err != nil {
			return err
		}
		p, err := job.PlanTraining(ctx, x.training(r, file, filepath.Join(x.Out, "planned"), uint64(x.First)), 20*time.Second)
		if err != nil {
			return err
		}
		seconds := (p.Compile + p.Seconds) * float64(len(lists)*r.seeds)
		total += seconds
		fmt.Printf("%-16s %3d trainings, about %s\n", r.name, len(lists)*r.seeds, (time.Duration(math.Ceil(seconds)) * time.Second).String())
	}
	fmt.Printf("all trainings take about %s on this machine as busy as it is now, evolution and evaluation not included\n", (time.Duration(math.Ceil(total)) * time.Second).String())
	return fsys.OS.Remove(x.File("planned"))
}
