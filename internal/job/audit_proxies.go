package job

import (
	"context"
	"fmt"
	"slices"

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
	names := slices.DeleteFunc(proxy.Names(), func(name string) bool { return name == "params" || name == "macs" }) // Correlate has them
	list := make([]audit.Proxy, len(methods)+len(names))
	net, archs := supernet.New(b.Space), b.Arches()
	for k, seed := range b.Seeds {
		log(fmt.Sprintf("scoring with sums of saliency at initialisation %d of %d", k+1, len(b.Seeds)))
		weights, batch := net.Init(seed), proxy.Noise(b.Space.Model, seed)
		grads, err := proxy.Gradients(ctx, e, net, weights, batch, nil)
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
		for i, name := range names {
			log(fmt.Sprintf("scoring with %s at initialisation %d of %d", name, k+1, len(b.Seeds)))
			values, err := proxy.Score(ctx, e, net, weights, batch, name, archs, nil)
			if err != nil {
				return nil, fmt.Errorf("proxy %s: %w", name, err)
			}
			p := &list[len(methods)+i]
			p.Name, p.BySeed = name, append(p.BySeed, values)
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
