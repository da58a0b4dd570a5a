package job

import (
	"context"
	"fmt"

	"prenas/internal/audit"
	"prenas/internal/engine"
	"prenas/internal/proxy"
	"prenas/internal/search"
	"prenas/internal/supernet"
)

// auditProxies scores the architectures of a benchmark with every proxy, at
// initialisations drawn from its seeds, on noise.
func auditProxies(ctx context.Context, e *engine.Engine, b *audit.Benchmark, log func(string)) ([]audit.Proxy, error) {
	methods, err := scoreMethods()
	if err != nil {
		return nil, err
	}
	list := make([]audit.Proxy, len(methods))
	net, archs := supernet.New(b.Space), b.Arches()
	for k, seed := range b.Seeds {
		log(fmt.Sprintf("scoring at initialisation %d of %d", k+1, len(b.Seeds)))
		weights := net.Init(seed)
		grads, err := proxy.Gradients(ctx, e, net, weights, proxy.Noise(b.Space.Model, seed), nil)
		if err != nil {
			return nil, err
		}
		w, err := plain(weights)
		if err != nil {
			return nil, err
		}
		g, err := plain(grads)
		if err != nil {
			return nil, err
		}
		sums, err := search.NewSums(b.Space, w, g, true)
		if err != nil {
			return nil, err
		}
		for i, m := range methods {
			scores, err := search.NewScores(b.Space, sums, m)
			if err != nil {
				return nil, err
			}
			values := make([]float64, len(archs))
			for j, a := range archs {
				values[j] = scores.Of(a)
			}
			list[i].Name = m.String()
			list[i].BySeed = append(list[i].BySeed, values)
		}
	}
	return list, nil
}

// scoreMethods are PreNAS's scores of configurations, without pruned_, which
// only turns the order around.
func scoreMethods() ([]search.ScoreMethod, error) {
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
	entropy, err := search.ParseScoreMethod("entropy")
	return append(list, entropy), err
}
