package job

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"prenas/internal/input"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// ExplainOptions of Explain.
type ExplainOptions struct {
	Candidates string // file that Search wrote, with its siblings
	Interval   string // key of one interval; empty: all
	Against    string // architecture to compare with; empty: each interval's runner-up
}

// Explained is why the winner of an interval has the higher score.
type Explained struct {
	Interval string `json:"interval"`
	Keys     string `json:"keys"` // what the key of an interval is, by search.KeysOf
	Proxy    string `json:"proxy"`
	Winner   string `json:"winner"`
	RunnerUp string `json:"runner_up"`
	// Ranked are scores of the proxy that ordered a shortlist; nil without one. The explanation is
	// of the score that made the shortlist.
	Ranked *RankedPair `json:"ranked,omitempty"`
	search.Explanation
}

// RankedPair are the scores of the winner and of the other architecture, by a proxy whose score is
// no sum of parts.
type RankedPair struct {
	Proxy    string   `json:"proxy"`
	Winner   float64  `json:"winner"`
	RunnerUp *float64 `json:"runner_up"` // null for an architecture that was not on the shortlist
}

// pair finds the scores of two architectures in an interval's shortlist. The winner is on it; the
// other may not be.
func (r *Ranking) pair(interval, winner, other string) *RankedPair {
	if r == nil {
		return nil
	}
	p := &RankedPair{Proxy: r.Proxy}
	for _, a := range r.Intervals[interval] {
		if a.Arch == winner {
			p.Winner = a.Score
		}
		if a.Arch == other {
			p.RunnerUp = &a.Score
		}
	}
	return p
}

// Explain compares, part by part, the winner of each interval with the runner-up, or with a given
// architecture of the space. Intervals with a single architecture are left out. It computes no
// scores: they come from the sums that the search stored.
func Explain(o ExplainOptions) ([]Explained, error) {
	candidates, err := space.ReadCandidates(o.Candidates)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", input.Candidates, err)
	}
	meta, err := ReadMeta(o.Candidates)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w %s: there is no %s beside it, which says how it was searched; write both with prenas search", input.Candidates, o.Candidates, metaPath(o.Candidates))
	}
	if err != nil {
		return nil, err
	}
	if !meta.of(o.Candidates) {
		return nil, fmt.Errorf("%w %s is not the file that %s is of: it was edited, or a search was cut between the two, and scores of one are not those of the other; write both with prenas search", input.Candidates, o.Candidates, metaPath(o.Candidates))
	}
	if meta.Measured != nil {
		return nil, fmt.Errorf("%w %s: its scores are measured accuracies, which have no parts to compare", input.Candidates, o.Candidates)
	}
	scores, err := storedScores(o.Candidates, meta)
	if err != nil {
		return nil, err
	}
	if o.Interval != "" {
		var keys []string
		at := slices.IndexFunc(candidates, func(b space.Bin) bool {
			keys = append(keys, search.NumberText(b.Key))
			return sameKey(o.Interval, b.Key)
		})
		if at < 0 {
			return nil, fmt.Errorf("%w %q: %s has %s", input.Interval, o.Interval, o.Candidates, strings.Join(keys, ", "))
		}
		candidates = candidates[at : at+1]
	}
	var all []Explained
	for _, bin := range candidates {
		other := cmp.Or(o.Against, meta.runnerUp(bin))
		if len(bin.Candidates) == 0 || other == "" {
			continue
		}
		winner := bin.Candidates[0].Arch
		runnerUp, err := space.ParseArch(other)
		for _, a := range []space.Arch{winner, runnerUp} {
			if err == nil {
				err = meta.Space.Check(a)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("interval %s: %w", bin.Key, err)
		}
		all = append(all, Explained{bin.Key, search.KeysOf(meta.Asked), scores.Method.String(), winner.String(), other, meta.Ranking.pair(bin.Key, winner.String(), runnerUp.String()), scores.Explain(winner, runnerUp)})
	}
	return all, nil
}

// runnerUp of an interval, from the meta file. A front has its architectures in the candidates file
// itself, best first.
func (m Meta) runnerUp(bin space.Bin) string {
	if len(bin.Candidates) > 1 {
		return bin.Candidates[1].Arch.String()
	}
	return m.RunnersUp[bin.Key]
}

// storedScores reads the scores that a search chose by.
func storedScores(candidates string, m Meta) (*search.Scores, error) {
	name := cmp.Or(m.Search["proxy"], DefaultProxy)
	if m.Ranking != nil {
		name = m.Ranking.ShortlistedBy
	}
	method, err := search.ParseScoreMethod(name)
	if err != nil {
		return nil, fmt.Errorf("%s: its score has no parts to compare: %w", candidates, err)
	}
	var sums *search.Sums
	if method.Measured() {
		table, err := readCuts(sumsPath(candidates), m.Space, m.Sums)
		if err != nil {
			return nil, fmt.Errorf("%w %s: what was measured is not in %s (%w); run the same prenas search again", input.Candidates, candidates, sumsPath(candidates), err)
		}
		method = method.With(table)
	} else if m.Sums != "" {
		sums, err = readSums(sumsPath(candidates), m.Space, m.Sums)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w %s: its sums of scores are not in %s; run the same prenas search again", input.Candidates, candidates, sumsPath(candidates))
		}
		if err != nil {
			return nil, err
		}
	}
	return search.NewScores(m.Space, sums, method)
}
