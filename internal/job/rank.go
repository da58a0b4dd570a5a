package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/proxy"
	"prenas/internal/sealed"
	"prenas/internal/tensorfile"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// Ranking says how a proxy, whose score is no sum of parts, ordered the shortlists of a search.
type Ranking struct {
	Proxy         string              `json:"proxy"`
	ShortlistedBy string              `json:"shortlisted_by"`
	Shortlist     int                 `json:"shortlist"` // architectures of an interval, at most
	Intervals     map[string][]Ranked `json:"intervals"` // best first
}

// Ranked is an architecture of a shortlist.
type Ranked struct {
	Arch       string  `json:"arch"`
	Score      float64 `json:"score"`       // by the proxy
	ShortScore float64 `json:"short_score"` // by what made the shortlist
}

// runnersUp are the second best of each interval.
func (r *Ranking) runnersUp() map[string]string {
	all := map[string]string{}
	for key, list := range r.Intervals {
		if len(list) > 1 {
			all[key] = list[1].Arch
		}
	}
	return all
}

// rank orders shortlists by the proxy o.RankBy and keeps the best of each. The proxy scores each
// architecture by itself. Scores are kept beside the candidates file, so a search that was stopped
// goes on.
func (o SearchOptions) rank(ctx context.Context, from material, weights map[string]tensorfile.Tensor, shortlists space.Candidates, by search.ScoreMethod) (space.Candidates, *Ranking, error) {
	batch, err := from.batch(ctx)
	if err != nil {
		return nil, nil, err
	}
	start := proxy.Start{Weights: weights, Batch: batch, Seed: from.Seed}
	scorer, err := proxy.NewScorer(o.Engine, scored(o.Space), []string{o.RankBy}, []proxy.Start{start})
	if errors.Is(err, proxy.ErrInputs) {
		err = fmt.Errorf("%w %s: %w", input.Inputs, from.Inputs, err)
	}
	if err != nil {
		return nil, nil, err
	}
	store, err := openParts(partsPath(o.Out), fmt.Sprintf("%s of %s seed %d", o.RankBy, scoringDigest(o.Space, weights, batch), from.Seed))
	if err != nil {
		o.Log(fmt.Sprintf("%v; scoring anew", err))
	}
	total, done := 0, 0
	for _, bin := range shortlists {
		total += len(bin.Candidates)
	}
	ranking := &Ranking{Proxy: o.RankBy, ShortlistedBy: by.String(), Shortlist: o.Shortlist, Intervals: map[string][]Ranked{}}
	var best space.Candidates
	for _, bin := range shortlists {
		var all []proxy.Parts
		for _, c := range bin.Candidates {
			if err := ctx.Err(); err != nil {
				return nil, nil, err
			}
			parts, known := store.parts[c.Arch.String()]
			if !known {
				measured, err := scorer.Of(ctx, c.Arch)
				if err != nil {
					return nil, nil, err
				}
				parts = measured[0][0]
				if err := store.add(c.Arch.String(), parts); err != nil {
					return nil, nil, err
				}
			}
			all = append(all, parts)
			if done++; o.Ranking != nil {
				o.Ranking(done, total)
			}
		}
		for i, score := range proxy.Scores(o.RankBy, all) {
			c := &bin.Candidates[i]
			ranking.Intervals[bin.Key] = append(ranking.Intervals[bin.Key], Ranked{c.Arch.String(), score, c.Score})
			c.Score = score
		}
		slices.SortStableFunc(bin.Candidates, func(a, b space.Candidate) int { return cmp.Compare(b.Score, a.Score) })
		slices.SortStableFunc(ranking.Intervals[bin.Key], func(a, b Ranked) int { return cmp.Compare(b.Score, a.Score) })
		bin.Candidates = bin.Candidates[:min(len(bin.Candidates), max(1, o.Search.Top))]
		best = append(best, bin)
	}
	return best, ranking, nil
}

// partsStore is candidates.parts.json: the parts of scores, by key and architecture. A key names
// the proxy, the weights and the images.
type partsStore struct {
	path, key string
	all       map[string]map[string]proxy.Parts
	parts     map[string]proxy.Parts // under key, by architecture
}

// partsPath is the sibling of a candidates file that holds parts of scores.
func partsPath(candidates string) string {
	return strings.TrimSuffix(candidates, ".json") + ".parts.json"
}

// openParts reads the store. Where it cannot be read the store is empty, and usable, and the error
// says why.
func openParts(path, key string) (*partsStore, error) {
	s := &partsStore{path: path, key: key, all: map[string]map[string]proxy.Parts{}, parts: map[string]proxy.Parts{}}
	var all map[string]map[string]proxy.Parts
	err := sealed.Read(fsys.OS, path, &all)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	for key, archs := range all {
		name, _, _ := strings.Cut(key, " ")
		for arch, parts := range archs {
			if wrong := proxy.CheckParts(name, parts); wrong != nil && err == nil {
				err = fmt.Errorf("%s: %s: %w", path, arch, wrong)
			}
		}
	}
	if err != nil {
		return s, err
	}
	if all != nil {
		s.all = all
	}
	if parts := s.all[key]; parts != nil {
		s.parts = parts
	}
	return s, nil
}

// add keeps the parts of an architecture and writes the file.
func (s *partsStore) add(arch string, parts proxy.Parts) error {
	s.parts[arch] = parts
	s.all[s.key] = s.parts
	return sealed.Write(fsys.OS, s.path, s.all)
}
