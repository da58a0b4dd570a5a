package job

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	"prenas/internal/crash"
	"prenas/internal/data"
	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/machine"
	"prenas/internal/proxy"
	"prenas/internal/sealed"
	"prenas/internal/supernet"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// DefaultProxy is the score of an architecture where none is named.
const DefaultProxy = "left_super_taylor6"

// DropPathRate is what masks in an inputs file are taken to be drawn at: the
// original's rate of stochastic depth.
const DropPathRate = 0.1

// SearchOptions of Search.
type SearchOptions struct {
	Engine  *engine.Engine
	Space   *space.Space
	Scoring Scoring
	Search  search.Options // Cost and Limits are made from By and Within
	// Run is a run directory. With it architectures are scored by what they reach on the images
	// that the run held out, with slices of its weights, and of Scoring only the seed, Data,
	// SkipBad and Workers count; Search.Method is Evolution or Random.
	Run string
	// RankBy is a proxy that does not add up (proxy.Names); empty: none. With it, the
	// search by Search.Score makes a shortlist of so many architectures for each
	// interval, and the proxy orders that.
	RankBy    string
	Shortlist int
	By        string           // cost that the intervals cut; empty: params
	Within    map[string]Range // what an architecture may cost, by cost
	Seeds     int              // searches with seeds from Scoring.Seed on, to see what depends on it; 0 or 1: one
	// LatencyBatch is the images at once of which latency is measured; 0 is 1.
	LatencyBatch int
	// LatencyProfile is a file of latencies that Latency wrote, maybe on another machine; empty:
	// they are measured on this one.
	LatencyProfile string
	Pareto         bool // the front of score and cost instead of the best of each interval

	Out         string // candidates.json
	Reduced     string // file for the space reduced to the candidates; empty: none
	Description map[string]string
	Log         func(string)
	Progress    func(done, total int) // of the gradients
	Measuring   func(done, total int) // of latency
	Ranking     func(done, total int) // of architectures of shortlists
}

// SearchResult is what a search found.
type SearchResult struct {
	Candidates space.Candidates
	Report     *search.Report // nil with Pareto
	Meta       Meta
}

// Timing of a search, in seconds; it is printed, not written, so that the same
// seed gives the same files.
type Timing struct {
	Weights   float64 `json:"weights"`   // drawing or reading weights and images, and their digest
	Gradients float64 `json:"gradients"` // compiling and running the gradient program
	Sums      float64 `json:"sums"`      // summing over slices
	Search    float64 `json:"search"`    // choosing
	Ranking   float64 `json:"ranking"`   // scoring the shortlists
}

// Search scores the supernet and chooses the preferred architectures. The sums
// that scores are made of stay beside the candidates file: a search of the same
// weights and images goes on from them.
func Search(ctx context.Context, o SearchOptions) (SearchResult, Timing, error) {
	var result SearchResult
	var timing Timing
	for _, file := range []struct {
		by   input.Name
		path string
	}{{input.Out, o.Out}, {input.Reduced, o.Reduced}} {
		if file.path == "" {
			continue
		}
		release, err := holdFile(file.by, file.path)
		if err != nil {
			return result, timing, err
		}
		defer release()
	}
	if o.Reduced != "" && o.Space.Model.IsConv() {
		return result, timing, fmt.Errorf("%w: the file's form has heads and MLP ratios, which space %s has not; leave the flag out", input.Reduced, o.Space.Name)
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	if o.Run != "" {
		return o.searchMeasured(ctx)
	}
	if o.Scoring.Data != "" {
		var err error
		if o.Scoring.images, err = data.Open(ctx, o.Scoring.Data, data.Options{Log: o.Log}); err != nil {
			return result, timing, err
		}
		if o.Space, _, err = ofImages(o.Space, nil, o.Scoring.images.Classes, o.Scoring.Weights != "", o.Log); err != nil {
			return result, timing, fmt.Errorf("%w %s: %w", input.Data, o.Scoring.Data, err)
		}
	}
	if err := checkChannels(o.Space.Model, o.Scoring.Inputs); err != nil {
		return result, timing, err
	}
	s := o.Space
	need := 2*supernet.New(s).Bytes() + supernet.ImageBytes(s.Model, max(o.Scoring.Batches, 1)*proxy.NoiseBatch)
	if err := machine.Need(need, fmt.Sprintf("scoring space %s on %d batches", s.Name, max(o.Scoring.Batches, 1)), fmt.Sprintf("take a smaller space, or fewer %v", input.Batches)); err != nil {
		return result, timing, err
	}
	var runs []space.Candidates
	for i := range max(o.Seeds, 1) {
		scoring := o.Scoring
		scoring.Seed += uint64(i)
		options := o.Search
		options.Seed = scoring.Seed
		if o.RankBy != "" {
			options.Top = o.Shortlist
		}
		weights, err := scoring.weights(s) // may change what the space's model is
		if err != nil {
			return result, timing, err
		}
		var on map[string]string
		if options.Cost, options.Limits, on, err = o.costs(ctx); err != nil {
			return result, timing, err
		}
		check := options.Check
		if o.Pareto {
			check = options.CheckPareto
		}
		if err := check(s); err != nil {
			return result, timing, err
		}
		if o.RankBy != "" {
			if err := proxy.Check(o.RankBy); err != nil {
				return result, timing, fmt.Errorf("%w: %w", input.Proxy, err)
			}
		}
		sums, digest, err := scoring.sums(ctx, o, options, weights, &timing)
		if err != nil {
			return result, timing, err
		}
		began := time.Now()
		best, err := untilStopped(ctx, func() (chosen, error) { return choose(s, sums, options, o.Pareto) })
		timing.Search += time.Since(began).Seconds()
		if err != nil {
			return result, timing, err
		}
		candidates, report := best.candidates, best.report
		var ranking *Ranking
		if o.RankBy != "" {
			began := time.Now()
			if candidates, ranking, err = o.rank(ctx, scoring, weights, candidates, options.Score); err != nil {
				return result, timing, err
			}
			timing.Ranking += time.Since(began).Seconds()
		}
		runs = append(runs, candidates)
		if i == 0 {
			result.Candidates, result.Report = candidates, report
			result.Meta = o.meta(report, options)
			result.Meta.Sums = digest
			result.Meta.Asked = o.asked(options.Cost, options.Limits, on, candidates)
			if ranking != nil {
				result.Meta.Ranking, result.Meta.RunnersUp = ranking, ranking.runnersUp()
			}
		}
	}
	if len(runs) > 1 {
		result.Meta.Stability = search.Stability(runs)
	}
	return result, timing, result.write(o)
}

// write writes the files of a search; the meta file is the last, and names the candidates
// that it is of.
func (r *SearchResult) write(o SearchOptions) error {
	set := fsys.NewSet(fsys.OS)
	defer set.Discard()
	if err := r.Candidates.Write(set, o.Out); err != nil {
		return err
	}
	if o.Reduced != "" {
		if err := r.Candidates.Choices().WriteYAML(set, o.Reduced, o.Space); err != nil {
			return err
		}
	}
	r.Meta.Files = map[string]string{filepath.Base(o.Out): set.Sum(o.Out)}
	if err := sealed.Write(set, metaPath(o.Out), r.Meta); err != nil {
		return err
	}
	return set.Commit()
}

// untilStopped is what f returns, or ctx's error as soon as ctx is cancelled. What f does then goes
// on unseen until the process ends, so f must neither read nor write files.
func untilStopped[T any](ctx context.Context, f func() (T, error)) (result T, err error) {
	type outcome struct {
		result T
		err    error
	}
	done := make(chan outcome, 1)
	crash.Go(func() {
		result, err := f()
		done <- outcome{result, err}
	})
	select {
	case o := <-done:
		return o.result, o.err
	case <-ctx.Done():
		return result, ctx.Err()
	}
}

// chosen is what a search found.
type chosen struct {
	candidates space.Candidates
	report     *search.Report
}

// choose searches on sums. A front is one interval, best first.
func choose(s *space.Space, sums *search.Sums, o search.Options, pareto bool) (c chosen, err error) {
	if !pareto {
		c.candidates, c.report, err = search.RunSums(s, sums, o)
		return c, err
	}
	front, err := search.Pareto(s, sums, o)
	if err != nil {
		return c, err
	}
	most := o.Cost.Of(s, front[len(front)-1].Arch) // the cheapest come first
	slices.Reverse(front)
	c.candidates = space.Candidates{{Key: space.BinKey(math.Nextafter(most, math.Inf(1))), Candidates: front}}
	return c, nil
}

func (o SearchOptions) meta(report *search.Report, options search.Options) Meta {
	m := Meta{
		Space: o.Space, Seed: o.Scoring.Seed, Search: o.Description, Weights: o.Scoring.Weights, Inputs: o.Scoring.shown(),
		Cost: options.Cost.Name, Budgets: options.Budgets, Versions: engine.Versions(),
	}
	if report == nil || options.Method == search.Exact {
		m.Compared = o.Space.Size().String()
	}
	if report != nil {
		m.Enumerated, m.EmptyIntervals, m.Spans = report.Enumerated, report.Empty(), [2]float64{report.Least, report.Most}
		m.RunnersUp = map[string]string{}
		for _, b := range report.Bins {
			if b.RunnerUp.Depth() > 0 {
				m.RunnersUp[b.Key] = b.RunnerUp.String()
			}
		}
	}
	for _, l := range options.Limits {
		m.Limits = append(m.Limits, fmt.Sprint(l))
	}
	return m
}
