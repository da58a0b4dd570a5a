package job

import (
	"context"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"time"

	"prenas/internal/crash"
	"prenas/internal/data/source"
	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/machine"
	"prenas/internal/printable"
	"prenas/internal/proxy"
	"prenas/internal/sealed"
	"prenas/internal/supernet"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// DefaultProxy is the score of an architecture where none is named.
const DefaultProxy = "left_super_taylor6"

// TrainedProxy is the score of slices of trained weights, where none is named.
const TrainedProxy = "cuts"

// DropPathRate is what masks in an inputs file are taken to be drawn at: the
// original's rate of stochastic depth.
const DropPathRate = 0.1

// SearchOptions of Search.
type SearchOptions struct {
	Engine  *engine.Engine
	Space   *space.Space
	Scoring Scoring
	Search  search.Options // Cost and Limits are made from By and Within
	// Run is a run directory; empty: none. With it architectures are scored by what they reach,
	// with slices of its weights, on the images that the run held out. Search.Method is then
	// Evolution or Random, and of Scoring only Seed, Data, SkipBad and Workers are used.
	Run string
	// RankBy is a proxy whose score is no sum of parts (proxy.Names); empty: none. With it the
	// search by Search.Score makes a shortlist of Shortlist architectures for each interval, and
	// the proxy orders the shortlist.
	RankBy    string
	Shortlist int
	By        string           // cost that the intervals divide; empty: params
	Within    map[string]Range // what an architecture may cost, by the name of the cost
	Seeds     int              // number of searches, with seeds from Scoring.Seed on, to see what depends on the seed; 0: one
	// LatencyBatch is the number of images at once that latency is measured with; 0: one.
	LatencyBatch int
	// LatencyProfile is a file that Latency wrote, maybe on another machine; empty: latency is
	// measured on this one.
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

// Timing of a search, in seconds. It is printed and not written to files, so that the same seed
// gives the same files.
type Timing struct {
	Weights   float64 `json:"weights"`   // drawing or reading weights and images, and their digest
	Gradients float64 `json:"gradients"` // compiling and running the gradient program
	Sums      float64 `json:"sums"`      // summing over slices
	Search    float64 `json:"search"`    // choosing
	Ranking   float64 `json:"ranking"`   // scoring the shortlists
}

// Search scores the supernet and chooses the preferred architectures. The sums that scores are made
// of are kept beside the candidates file: a later search of the same weights and images takes them
// from there.
func Search(ctx context.Context, o SearchOptions) (result SearchResult, timing Timing, err error) {
	if o.Log == nil {
		o.Log = func(string) {}
	}
	release, err := o.hold()
	if err != nil {
		return result, timing, err
	}
	defer release()
	if o.Run != "" {
		return o.searchMeasured(ctx)
	}
	from, err := o.open(ctx)
	if err != nil {
		return result, timing, err
	}
	if err := o.affords(from.space); err != nil {
		return result, timing, err
	}
	var runs []space.Candidates
	for i := range max(o.Seeds, 1) {
		found, err := o.seeded(ctx, from, o.Scoring.Seed+uint64(i), &timing)
		if err != nil {
			return result, timing, err
		}
		runs = append(runs, found.Candidates)
		if i == 0 {
			result = found
		}
	}
	if len(runs) > 1 {
		result.Meta.Stability = search.Stability(runs)
	}
	return result, timing, result.write(o)
}

// hold locks the files of a search against other processes, and finds out before the long work
// whether they can be written.
func (o SearchOptions) hold() (release func(), err error) {
	if o.Reduced != "" && o.Space.Model.IsConv() {
		return nil, fmt.Errorf("%w: the file's form has heads and MLP ratios, which space %s has not; leave the flag out", input.Reduced, o.Space.Name)
	}
	out, err := holdFile(input.Out, o.Out)
	if err != nil || o.Reduced == "" {
		return out, err
	}
	reduced, err := holdFile(input.Reduced, o.Reduced)
	if err != nil {
		out()
		return nil, err
	}
	return func() { reduced(); out() }, nil
}

// open opens what scores are computed from. The images say how many classes the space has.
func (o SearchOptions) open(ctx context.Context) (from material, err error) {
	own := *o.Space // a copy, since a file of weights may describe its model
	from = material{Scoring: o.Scoring, space: &own}
	if o.Scoring.Data != "" {
		if from.images, err = source.Open(ctx, o.Scoring.Data, source.Options{Log: o.Log}); err != nil {
			return from, err
		}
		if from.space, _, err = ofImages(from.space, nil, from.images.Classes, o.Scoring.Weights != "", o.Log); err != nil {
			return from, fmt.Errorf("%w %s: %w", input.Data, o.Scoring.Data, err)
		}
	}
	return from, checkChannels(from.space.Model, o.Scoring.Inputs)
}

// affords refuses a space whose scoring takes more memory than there is.
func (o SearchOptions) affords(s *space.Space) error {
	batches := max(o.Scoring.Batches, 1)
	need := 2*supernet.New(s).Bytes() + supernet.ImageBytes(s.Model, batches*proxy.NoiseBatch)
	return machine.Need(need, fmt.Sprintf("scoring space %s on %s", s.Name, printable.Count(batches, "batch")), fmt.Sprintf("take a smaller space, or fewer %v", input.Batches))
}

// seeded searches with one seed. It adds the seconds of its parts to timing.
func (o SearchOptions) seeded(ctx context.Context, from material, seed uint64, timing *Timing) (r SearchResult, err error) {
	options := o.Search
	from.Seed, options.Seed = seed, seed
	if o.RankBy != "" {
		options.Top = o.Shortlist
	}
	weights, err := from.weights()
	if err != nil {
		return r, err
	}
	o.Space = from.space // with the model that the weights have
	var on map[string]string
	if options.Cost, options.Limits, on, err = o.costs(ctx); err != nil {
		return r, err
	}
	if err := o.check(options); err != nil {
		return r, err
	}
	sums, digest, err := o.sums(ctx, from, options, weights, timing)
	if err != nil {
		return r, err
	}
	if options.Score.Measured() {
		if options.Score, digest, err = o.cuts(ctx, from, options.Score, weights, timing); err != nil {
			return r, err
		}
	}
	began := time.Now()
	best, err := untilStopped(ctx, func() (chosen, error) { return choose(o.Space, sums, options, o.Pareto) })
	timing.Search += time.Since(began).Seconds()
	if err != nil {
		return r, err
	}
	r.Candidates, r.Report = best.candidates, best.report
	var ranking *Ranking
	if o.RankBy != "" {
		began := time.Now()
		if r.Candidates, ranking, err = o.rank(ctx, from, weights, r.Candidates, options.Score); err != nil {
			return r, err
		}
		timing.Ranking += time.Since(began).Seconds()
	}
	r.Meta = o.meta(r.Report, options)
	r.Meta.Sums, r.Meta.Asked = digest, o.asked(options.Cost, o.bound(options), options.Limits, on, r.Candidates)
	if ranking != nil {
		r.Meta.Ranking, r.Meta.RunnersUp = ranking, ranking.runnersUp()
	}
	return r, nil
}

// check refuses options that cannot be searched by, before anything is computed.
func (o SearchOptions) check(options search.Options) error {
	check := options.Check
	if o.Pareto {
		check = options.CheckPareto
	}
	if err := check(o.Space); err != nil {
		return err
	}
	if options.Score.Measured() {
		if err := o.checkCuts(options); err != nil {
			return err
		}
	}
	if o.RankBy == "" {
		return nil
	}
	if err := proxy.Check(o.RankBy); err != nil {
		return fmt.Errorf("%w: %w", input.Proxy, err)
	}
	return nil
}

// write writes the files of a search. The meta file comes last and has the digest of the candidates
// file.
func (r *SearchResult) write(o SearchOptions) error {
	set := fsys.NewSet(fsys.OS)
	defer set.Discard()
	if err := fsys.WriteAtomic(set, o.Out, r.Candidates.Write); err != nil {
		return err
	}
	if o.Reduced != "" {
		reduced := func(w io.Writer) error { return r.Candidates.Choices().WriteYAML(w, r.Meta.Space) }
		if err := fsys.WriteAtomic(set, o.Reduced, reduced); err != nil {
			return err
		}
	}
	r.Meta.Files = map[string]string{filepath.Base(o.Out): set.Sum(o.Out)}
	if err := sealed.Write(set, metaPath(o.Out), r.Meta); err != nil {
		return err
	}
	return set.Commit()
}

// untilStopped returns what f returns, or the error of ctx as soon as ctx is cancelled. In that case
// f goes on in the background until it or the process ends, so f must neither read nor write files.
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

// bound is the Bound of the cost that intervals divide; those of a front have none.
func (o SearchOptions) bound(options search.Options) string {
	switch {
	case o.Pareto:
		return ""
	case options.Budgets != nil:
		return search.AtMost
	}
	return search.Below
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
