package job

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"prenas/internal/ahead"
	"prenas/internal/audit"
	"prenas/internal/engine"
	"prenas/internal/proxy"
	"prenas/internal/ranks"
	"prenas/internal/supernet"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// auditProxies scores the architectures of a benchmark with every proxy. Weights are initial ones,
// drawn from each of the benchmark's seeds, and images are noise.
func auditProxies(ctx context.Context, e *engine.Engine, b *audit.Benchmark, workers int, log func(string), progress func(done, total int)) ([]audit.Proxy, error) {
	net := supernet.New(b.Space)
	var starts []proxy.Start
	for _, seed := range b.Seeds {
		starts = append(starts, proxy.Start{Weights: net.Init(seed), Batch: proxy.Noise(b.Space.Model, seed), Seed: seed})
	}
	log("scoring with sums over the supernet's slices")
	list, err := AdditiveProxies(ctx, e, b, starts)
	if err != nil {
		return nil, err
	}
	names := slices.DeleteFunc(proxy.Names(), func(name string) bool { return name == "params" || name == "macs" }) // Correlate has them
	log(fmt.Sprintf("scoring with %s", strings.Join(names, ", ")))
	others, err := SingleProxies(ctx, e, b, names, starts, workers, progress)
	return append(list, others...), err
}

// SingleProxies scores the architectures of a benchmark, each by passes of its own, with the proxies of those names
// (proxy.Names), from each of the starts. progress may be nil.
func SingleProxies(ctx context.Context, e *engine.Engine, b *audit.Benchmark, names []string, starts []proxy.Start, workers int, progress func(done, total int)) (list []audit.Proxy, err error) {
	scorer, err := proxy.NewScorer(e, supernet.New(b.Space), names, starts)
	if err != nil {
		return nil, err
	}
	all, err := scoreOnRanks(ctx, e.Ranks(), scorer, b.Arches(), workers, progress)
	if err != nil {
		return nil, fmt.Errorf("proxy %w", err)
	}
	for i, name := range names {
		p := audit.Proxy{Name: name}
		for seed := range starts {
			var parts []proxy.Parts
			for _, ofArch := range all {
				parts = append(parts, ofArch[seed][i])
			}
			p.BySeed = append(p.BySeed, proxy.Scores(name, parts))
		}
		list = append(list, p)
	}
	return list, nil
}

// scoreOnRanks is scoreAll by several ranks. Of n ranks each scores every n-th architecture, from its
// own number on, and all get the parts of all.
func scoreOnRanks(ctx context.Context, w *ranks.World, scorer *proxy.Scorer, archs []space.Arch, workers int, progress func(done, total int)) ([][][]proxy.Parts, error) {
	n := w.Size()
	var names []string
	for _, a := range archs {
		names = append(names, a.String())
	}
	if err := w.Same("the scores of proxies", ranks.Fact{What: "architectures", Is: strings.Join(names, "\n")}); err != nil {
		return nil, err
	}
	var own []space.Arch
	for i := w.Rank(); i < len(archs); i += n {
		own = append(own, archs[i])
	}
	ctx, met, end := w.Joint(ctx, "the scores of proxies")
	defer end()
	parts, err := scoreAll(ctx, scorer, own, workers, func(done, _ int) {
		if met(); progress != nil {
			progress(min(done*n, len(archs)), len(archs))
		}
	})
	if err != nil {
		return nil, errors.Join(err, context.Cause(ctx))
	}
	for range (len(archs)+n-1)/n - len(own) {
		met()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if n == 1 {
		return parts, nil
	}
	var text bytes.Buffer
	if err := gob.NewEncoder(&text).Encode(parts); err != nil {
		return nil, err
	}
	each, err := w.Gather("the scores of proxies", text.Bytes())
	if err != nil {
		return nil, err
	}
	all := make([][][]proxy.Parts, len(archs))
	for rank, text := range each {
		var theirs [][][]proxy.Parts
		if err := gob.NewDecoder(bytes.NewReader(text)).Decode(&theirs); err != nil {
			return nil, fmt.Errorf("the scores of %s: %w", w.Name(rank), err)
		}
		for k, of := range theirs {
			all[rank+k*n] = of
		}
	}
	return all, nil
}

// scoreAll measures architectures, several at once: most of the time goes into compiling their
// programs, each on one core. It returns the parts of scores by architecture, start and proxy.
// progress is called on the goroutine of the caller.
func scoreAll(ctx context.Context, scorer *proxy.Scorer, archs []space.Arch, workers int, progress func(done, total int)) (all [][][]proxy.Parts, err error) {
	type score struct {
		parts [][]proxy.Parts
		err   error
	}
	ctx, stop := context.WithCancel(ctx)
	var busy sync.RWMutex // held for reading by those that use the engine
	defer func() {
		stop()
		busy.Lock() // the caller may close the engine: wait until nobody uses it
		defer busy.Unlock()
	}()
	for _, s := range ahead.Range(ctx, len(archs), workers, func(i int) (s score) {
		busy.RLock()
		defer busy.RUnlock()
		if s.err = ctx.Err(); s.err == nil {
			s.parts, s.err = scorer.Of(ctx, archs[i])
		}
		return s
	}) {
		if s.err != nil {
			return nil, s.err
		}
		if all = append(all, s.parts); progress != nil {
			progress(len(all), len(archs))
		}
	}
	return all, ctx.Err()
}

// AdditiveProxies score the architectures of a benchmark as PreNAS does: by sums over an architecture's slices of the
// supernet's weights and of one gradient, from each of the starts.
func AdditiveProxies(ctx context.Context, e *engine.Engine, b *audit.Benchmark, starts []proxy.Start) ([]audit.Proxy, error) {
	net := supernet.New(b.Space)
	methods, err := scoreMethods(b.Space)
	if err != nil {
		return nil, err
	}
	list := make([]audit.Proxy, len(methods))
	for _, start := range starts {
		var sums [2]*search.Sums // at the weights, and at SynFlow's
		for i := range sums {
			weights, batch := start.Weights, start.Batch
			if i == 1 {
				if weights, batch, err = proxy.Linear(b.Space.Model, weights); err != nil {
					return nil, err
				}
			}
			if sums[i], err = gradientSums(ctx, e, b.Space, net, weights, batch, search.Needs{Weights: true, Gradients: true, Moments: true}, new(Timing), nil); err != nil {
				return nil, err
			}
		}
		for i, m := range methods {
			of := sums[0]
			if m.Linear() {
				of = sums[1]
			}
			scores, err := search.NewScores(b.Space, of, m)
			if err != nil {
				return nil, err
			}
			var values []float64
			for _, a := range b.Arches() {
				values = append(values, scores.Of(a))
			}
			list[i].Name, list[i].BySeed = m.String(), append(list[i].BySeed, values)
		}
	}
	return list, nil
}

// scoreMethods are the scores that add up. Those of PreNAS come in four forms; pruned_ is left out,
// since it only turns the order around. The original's entropy is defined for transformers alone.
func scoreMethods(s *space.Space) ([]search.ScoreMethod, error) {
	var list []search.ScoreMethod
	for _, base := range []string{"taylor5", "taylor6", "taylor9", "l1norm"} {
		for _, form := range []string{"", "avg_", "attn_mlp_", "attn_mlp_avg_"} {
			m, err := search.ParseScoreMethod(form + base)
			if err != nil {
				return nil, err
			}
			list = append(list, m)
		}
	}
	others := []string{"grad_square", "taylor_square", "synflow"}
	if !s.Model.IsConv() {
		others = append(others, "entropy")
	}
	for _, name := range others {
		m, err := search.ParseScoreMethod(name)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}
