package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"prenas/internal/data"
	"prenas/internal/job"
	"prenas/internal/printable"
	"prenas/internal/proxy"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// searchFlags are the flags of search before they are checked.
type searchFlags struct {
	space, proxy, heads, mlp, method, splits, shortlistBy string

	top     int
	budgets budgetFlags
	bad     onBadImage
}

func searchCommand(g *global) *cobra.Command {
	o := job.SearchOptions{Scoring: job.Scoring{DropPathRate: job.DropPathRate}}
	var f searchFlags
	c := &cobra.Command{
		Use: "search --space NAME|FILE --out FILE", Short: "Choose the preferred architecture for each size, without training", Args: cobra.NoArgs,
		Long: "Scores every block of a supernet once, at initialisation, and picks for each interval of sizes the\n" +
			"architecture of the best score. Sums of scores stay beside the candidates file, so that a search of the\n" +
			"same weights and images goes on from them.\n\n" +
			"With --method evolution, or random, and a run directory as --weights, the score of an architecture is what it\n" +
			"reaches with its slice of the trained weights, on the images that the run held out: AutoFormer's search after\n" +
			"training. prenas eval and export take its candidates file with --candidates.",
		Example: "  prenas search --space tiny --out candidates.json\n" +
			"  prenas search --space tiny --method exact --max-macs 1300 --out candidates.json\n" +
			"  prenas search --space tiny --proxy token_entropy --shortlist 20 --out candidates.json\n" +
			"  prenas search --space vit.space.yaml --weights vit.safetensors --data folder:images --proxy cuts --out candidates.json\n" +
			"  prenas search --method evolution --weights run --out evolved.json\n" +
			"  prenas search --space small --latency 3,10 --out candidates.json\n" +
			"  prenas search --space small --params 15,20,30 --max-macs 6000 --out candidates.json\n" +
			"  prenas search --space space.yaml --weights w.safetensors --inputs x.safetensors --min-params 5 --max-params 12 --interval 1 --out c.json",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.options(c, &o); err != nil {
				return err
			}
			outputs := append(written("--out", job.CandidateFiles(o.Out)...), named{"--reduced", o.Reduced})
			if err := noOverwrite(outputs, named{"--space", f.space}, named{"--weights", o.Scoring.Weights}, named{"--inputs", o.Scoring.Inputs}, named{"--latency-profile", o.LatencyProfile}); err != nil {
				return err
			}
			if o.Run != "" {
				if err := noOverwriteOfRun(o.Out, o.Run); err != nil {
					return err
				}
			}
			out := newConsole(g)
			o.Scoring.Seed, o.Scoring.SkipBad, o.Scoring.Log = g.seed, f.bad.skip, out.line
			var err error
			if o.Engine, err = g.open(c.Context(), out); err != nil {
				return err
			}
			defer o.Engine.Close()
			o.Log = out.line
			o.Progress = func(done, total int) { out.progress("gradients", int64(done), int64(total), "") }
			o.Measuring = func(done, total int) { out.progress("latency", int64(done), int64(total), "") }
			o.Ranking = func(done, total int) { out.progress("shortlist", int64(done), int64(total), "") }
			if o.Run != "" {
				o.Ranking = func(done, total int) { out.progress("measured", int64(done), int64(total), "") }
			}
			r, timing, err := job.Search(c.Context(), o)
			switch {
			case errors.Is(err, data.ErrSource), errors.Is(err, search.ErrMethod), errors.Is(err, search.ErrInterval), errors.Is(err, search.ErrTooLarge), errors.Is(err, proxy.ErrName):
				return usageError{err}
			case err != nil:
				return err
			}
			out.searched(r, timing)
			return g.printResult(struct {
				Out    string     `json:"out"`
				Meta   job.Meta   `json:"meta"`
				Timing job.Timing `json:"timing_seconds"`
			}{o.Out, r.Meta, timing}, func(w io.Writer) error {
				if err := printCandidates(w, r); err != nil {
					return err
				}
				return printStability(w, search.KeysOf(r.Meta.Asked), r.Meta.Stability)
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.space, "space", "", "built-in space ("+strings.Join(space.Names(), ", ")+") or YAML file")
	flags.StringVar(&o.Scoring.Weights, "weights", "", "safetensors of the supernet's weights (default: drawn from --seed), or a run directory to measure with")
	flags.StringVar(&o.Scoring.Inputs, "inputs", "", "safetensors with the batch under input (default: noise drawn from --seed)")
	flags.StringVar(&o.Scoring.Data, "data", "", "score on real images, SRC (prenas data --help), instead of noise; with a run: where its images are now")
	flags.IntVar(&o.Scoring.Batches, "batches", 1, "batches of 64 images to score on, with --data")
	flags.IntVar(&o.Scoring.Workers, "workers", 0, "goroutines that prepare images (default: one per core)")
	f.bad.add(flags, "")
	flags.StringVar(&f.proxy, "proxy", job.DefaultProxy, "score of an architecture; one that does not add up over layers ("+strings.Join(rankingProxies(), ", ")+") orders a shortlist")
	flags.IntVar(&o.Shortlist, "shortlist", defaultShortlist, "architectures per interval that such a proxy orders")
	flags.StringVar(&f.shortlistBy, "shortlist-by", job.DefaultProxy, "score that makes the shortlist")
	flags.StringVar(&f.heads, "head-scores", "balance_taylor6_max_dim", "block score that ranks layers for heads")
	flags.StringVar(&f.mlp, "mlp-scores", "balance_taylor6_max_dim", "block score that ranks layers for MLP ratios")
	flags.StringVar(&f.method, "method", "preferred", "how to search: preferred, exact, evolution or random")
	flags.IntVar(&o.Search.Population, "population", 50, "evolution and random: architectures drawn at first in each interval")
	flags.IntVar(&o.Search.Generations, "generations", 20, "evolution: generations after the first population")
	flags.IntVar(&o.Search.Select, "select", 0, "evolution: how many of the best so far are the parents of a generation (default: a fifth of --population)")
	flags.IntVar(&o.Search.Mutation, "mutation", 0, "evolution: mutants of a generation (default: half of --population)")
	flags.IntVar(&o.Search.Crossover, "crossover", 0, "evolution: crossings of a generation (default: half of --population)")
	flags.Float64Var(&o.Search.GeneProb, "mutation-prob", 0.2, "evolution: probability that each choice of a layer of a mutant is drawn anew")
	flags.Float64Var(&o.Search.TrunkProb, "depth-prob", 0.4, "evolution: probability that its embedding dim, or resolution, is drawn anew, and its depth")
	flags.StringVar(&f.splits, "splits", "original", "which counts of choices to try: original or all")
	f.budgets.add(flags)
	flags.IntVar(&o.LatencyBatch, "latency-batch", 1, "images at once of which latency is measured")
	flags.StringVar(&o.LatencyProfile, "latency-profile", "", "file of prenas spaces latency --out, of another machine, that latency is taken from (default: measured on this one)")
	flags.IntVar(&f.top, "top", 1, "architectures per interval, best first")
	flags.IntVar(&o.Seeds, "seeds", 1, "search with so many seeds, from --seed on, and say how often each choice wins")
	flags.BoolVar(&o.Pareto, "pareto", false, "the best architecture for every cost, instead of one per interval (exact)")
	flags.StringVar(&o.Out, "out", "", "candidates file to write")
	flags.StringVar(&o.Reduced, "reduced", "", "space file to write that is reduced to what the candidates use")
	require(c, "out")
	return c
}

// breeding refuses settings of evolution for other methods.
func breeding(c *cobra.Command, o search.Options) error {
	evolution := []string{"generations", "select", "mutation", "crossover", "mutation-prob", "depth-prob"}
	for _, name := range append(evolution, "population") {
		if c.Flags().Changed(name) && o.Method != search.Evolution && (name != "population" || o.Method != search.Random) {
			return usagef("--%s says how evolution breeds, but --method is %s", name, o.Method)
		}
	}
	return nil
}

// measured makes the options of a search by the accuracy that architectures reach with a run's weights.
func (f searchFlags) measured(c *cobra.Command, o *job.SearchOptions) error {
	if o.Search.Method != search.Evolution && o.Search.Method != search.Random {
		return usagef("--weights %s is a folder: of a run --method evolution and random take the weights, to measure with; --method %s takes a safetensors file", o.Run, o.Search.Method)
	}
	for _, name := range []string{"proxy", "inputs", "batches", "shortlist", "shortlist-by", "head-scores", "mlp-scores", "splits", "pareto", "seeds"} {
		if c.Flags().Changed(name) {
			return usagef("--%s has no place where --weights is a run, with which architectures are measured; leave it out", name)
		}
	}
	o.Description = map[string]string{"method": f.method, "score": "top-1 on held-out images, with inherited weights"}
	return nil
}

// defaultShortlist is how many architectures of an interval a proxy orders.
const defaultShortlist = 10

// rankingProxies are the proxies that order shortlists. A name that is also that of a score which adds
// up over layers means the score.
func rankingProxies() []string {
	return slices.DeleteFunc(proxy.Names(), func(name string) bool {
		_, err := search.ParseScoreMethod(name)
		return err == nil
	})
}

// ranking sets the score of the search. Where --proxy names a proxy that orders shortlists, the score
// is that of --shortlist-by.
func (f *searchFlags) ranking(c *cobra.Command, o *job.SearchOptions) error {
	score := f.proxy
	if slices.Contains(rankingProxies(), f.proxy) {
		o.RankBy, score = f.proxy, f.shortlistBy
	}
	var err error
	if o.Search.Score, err = search.ParseScoreMethod(score); err != nil {
		if o.RankBy != "" {
			return usagef("--shortlist-by: %w", err)
		}
		return usagef("--proxy: %w; and, to order a shortlist, %s", err, strings.Join(rankingProxies(), ", "))
	}
	switch {
	case o.RankBy == "" && (c.Flags().Changed("shortlist") || c.Flags().Changed("shortlist-by")):
		return usagef("--shortlist: --proxy %s scores all architectures; shortlists are for %s", f.proxy, strings.Join(rankingProxies(), ", "))
	case o.RankBy != "" && o.Shortlist < max(2, f.top):
		return usagef("--shortlist is %d, it must be at least 2, and at least --top", o.Shortlist)
	case o.RankBy != "" && o.Pareto:
		return usagef("--pareto needs a score that adds up over layers, which %s does not; leave one of them out", o.RankBy)
	}
	return nil
}

// options checks the flags and makes options of them.
func (f searchFlags) options(c *cobra.Command, o *job.SearchOptions) (err error) {
	if job.IsRun(o.Scoring.Weights) {
		o.Run, o.Scoring.Weights = o.Scoring.Weights, ""
	}
	switch {
	case f.space != "":
		o.Space, err = loadSpace("--space", f.space)
	case o.Run != "":
		if o.Space, err = job.SpaceOfRun(o.Run); err != nil {
			err = fmt.Errorf("--weights: %w", err)
		}
	default:
		err = missing(c, "space")
	}
	if err != nil {
		return err
	}
	if err := f.methods(&o.Search); err != nil {
		return usageError{err}
	}
	if err := breeding(c, o.Search); err != nil {
		return err
	}
	o.Search.Top = f.top
	if o.Run != "" {
		if err := f.measured(c, o); err != nil {
			return err
		}
		return f.budgets.options(c, o)
	}
	if err := f.ranking(c, o); err != nil {
		return err
	}
	if o.Search.Score.Measured() && !c.Flags().Changed("method") {
		f.method, o.Search.Method = string(search.Exact), search.Exact
	}
	if err := f.budgets.options(c, o); err != nil {
		return err
	}
	varies := o.Scoring.Weights == "" || o.Scoring.Inputs == "" && o.Scoring.Data == "" || o.Search.Method == search.Evolution || o.Search.Method == search.Random
	switch {
	case o.Seeds > 1 && o.Pareto:
		return usagef("--seeds counts what wins each interval, which --pareto has none of")
	case o.Seeds > 1 && !varies:
		return usagef("--seeds: with --weights and --inputs given, no seed changes anything")
	case o.Search.Score.Linear() && o.RankBy == "" && (o.Scoring.Data != "" || o.Scoring.Inputs != ""):
		return usagef("--proxy %s looks at one image of ones: leave out --data and --inputs", f.proxy)
	case o.Scoring.Data != "" && o.Scoring.Inputs != "":
		return usagef("--data and --inputs both name images; give one")
	case o.Scoring.Data == "" && c.Flags().Changed("batches"):
		return usagef("--batches counts batches of real images; name them with --data")
	}
	o.Description = map[string]string{"proxy": f.proxy, "block_scores_for_heads": f.heads, "block_scores_for_mlp": f.mlp, "method": f.method, "splits": f.splits}
	if o.RankBy != "" {
		o.Description["shortlist_by"] = f.shortlistBy
	}
	return nil
}

func (f searchFlags) methods(o *search.Options) (err error) {
	if o.Heads, err = search.ParseBlockMethod(f.heads); err != nil {
		return fmt.Errorf("--head-scores: %w", err)
	}
	if o.MLP, err = search.ParseBlockMethod(f.mlp); err != nil {
		return fmt.Errorf("--mlp-scores: %w", err)
	}
	if o.Method, err = search.ParseMethod(f.method); err != nil {
		return fmt.Errorf("--method: %w", err)
	}
	if o.AllSplits, err = search.ParseSplits(f.splits); err != nil {
		return fmt.Errorf("--splits: %w", err)
	}
	return nil
}

// searched prints what is noteworthy about a search.
func (c *console) searched(r job.SearchResult, t job.Timing) {
	for _, empty := range r.Meta.EmptyIntervals {
		within := ""
		if len(r.Meta.Limits) > 0 {
			within = " and " + strings.Join(r.Meta.Limits, ", ")
		}
		c.line(fmt.Sprintf("no architecture with %s in %s%s; the space spans %.4g to %.4g", r.Meta.Cost, empty, within, r.Meta.Spans[0], r.Meta.Spans[1]))
	}
	if m := r.Meta.Measured; m != nil {
		calibration := ""
		if m.Calibration > 0 {
			calibration = fmt.Sprintf(", after %d to estimate the statistics of its batch norms", m.Calibration)
		}
		c.line(fmt.Sprintf("search %.1f s, %s measured on %s each%s: %s in all", t.Search, printable.Count(m.Architectures, "architecture"), printable.Count(m.Images, "held-out image"), calibration, printable.Count(m.AllImages, "image")))
		return
	}
	ranking := ""
	if r.Meta.Ranking != nil {
		ranking = fmt.Sprintf(", shortlists %.1f s", t.Ranking)
	}
	scored := fmt.Sprintf("%s scored", printable.Count(r.Meta.Enumerated, "architecture"))
	if r.Meta.Compared != "" {
		scored = fmt.Sprintf("the best of all %s architectures of the space", r.Meta.Compared)
	}
	c.line(fmt.Sprintf("weights and images %.2f s, gradients %.2f s, sums %.3f s, search %.3f s%s, %s",
		t.Weights, t.Gradients, t.Sums, t.Search, ranking, scored))
}

// printCandidates prints the architectures that were found and what they cost. A front may have
// hundreds: a few are printed, and the file has all.
func printCandidates(w io.Writer, r job.SearchResult) error {
	const most = 20
	model, front := r.Meta.Space.Model, r.Report == nil
	var t table
	if !front {
		t.head = append(t.head, search.KeysOf(r.Meta.Asked))
	}
	var asked []search.Asked // costs that have no column of their own yet
	for _, a := range r.Meta.Asked {
		if !a.Counted() {
			asked, t.head = append(asked, a), append(t.head, a.Title())
		}
	}
	t.head = append(t.head, "parameters M", "MACs M", "score", "architecture")
	for _, bin := range r.Candidates {
		every := (len(bin.Candidates) + most - 1) / most
		for i, c := range bin.Candidates {
			if i%every != 0 && i < len(bin.Candidates)-1 {
				continue
			}
			var row []string
			if !front {
				row = append(row, search.NumberText(bin.Key))
			}
			for _, a := range asked {
				row = append(row, fmt.Sprintf("%.4g", a.Archs[c.Arch.String()]))
			}
			t.add(append(row, fmt.Sprintf("%.3f", millions(c.Params)), fmt.Sprintf("%.1f", millions(model.MACs(c.Arch))), fmt.Sprintf("%.6g", c.Score), c.Arch.String())...)
		}
		if every > 1 {
			row := slices.Repeat([]string{""}, len(t.head)-1)
			t.add(append(row, fmt.Sprintf("(one in %d of %d)", every, len(bin.Candidates)))...)
		}
	}
	if err := t.print(w); err != nil {
		return err
	}
	for _, a := range asked {
		if a.On != "" {
			if _, err := fmt.Fprintf(w, "\n%s: %s\n", a.Cost, a.On); err != nil {
				return err
			}
		}
	}
	return nil
}

// printStability prints how often the most frequent choices won.
func printStability(w io.Writer, keys string, all []search.BinStability) error {
	if len(all) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if all[0].Resolution != nil {
		fmt.Fprintln(t, "\n"+keys+"\tseeds\tmost frequent winner\tresolution\tdepth of each unit\tkernel per layer\texpansion per layer")
	} else {
		fmt.Fprintln(t, "\n"+keys+"\tseeds\tmost frequent winner\tembedding dim\tdepth\theads per layer\tMLP ratio per layer")
	}
	for _, b := range all {
		if b.Resolution != nil {
			fmt.Fprintf(t, "%s\t%d\t%d× %s\t%s\t%s\t%s\t%s\n", search.NumberText(b.Key), b.Runs, b.Arch[0].Wins, b.Arch[0].Choice, wins(b.Resolution), agreement(b.UnitDepth), agreement(slices.Concat(b.Kernel...)), agreement(slices.Concat(b.Expand...)))
			continue
		}
		fmt.Fprintf(t, "%s\t%d\t%d× %s\t%s\t%s\t%s\t%s\n", search.NumberText(b.Key), b.Runs, b.Arch[0].Wins, b.Arch[0].Choice, wins(b.EmbedDim), wins(b.Depth), agreement(b.NumHeads), agreement(b.MLPRatio))
	}
	return t.Flush()
}

// wins lists choices with how often they won, like "216 (9) 240 (1)".
func wins[T any](list []search.Wins[T]) string {
	var parts []string
	for _, w := range list {
		parts = append(parts, fmt.Sprintf("%v (%d)", w.Choice, w.Wins))
	}
	return strings.Join(parts, " ")
}

// agreement is the mean over layers, in per cent, of the share of winners that made the layer's most
// frequent choice.
func agreement[T any](layers [][]search.Wins[T]) string {
	sum, chosen := 0.0, 0
	for _, list := range layers {
		if len(list) == 0 { // no winner has the layer
			continue
		}
		chosen++
		total := 0
		for _, w := range list {
			total += w.Wins
		}
		sum += float64(list[0].Wins) / float64(total)
	}
	return fmt.Sprintf("%.0f %% agree", 100*sum/float64(max(chosen, 1)))
}

// require marks flags without which a command cannot start.
func require(c *cobra.Command, flags ...string) {
	check := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		if err := missing(c, flags...); err != nil || check == nil {
			return err
		}
		return check(c, args)
	}
}

// missing is a usage error if one of the flags has no value.
func missing(c *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if c.Flags().Lookup(name).Value.String() == "" {
			return usagef("--%s is missing; see %s --help", name, c.CommandPath())
		}
	}
	return nil
}
