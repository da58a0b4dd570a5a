package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"prenas/internal/engine"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// ErrName: there is no proxy of that name.
var ErrName = errors.New("unknown proxy")

// A proxy is a score of one architecture from its own passes.
type proxy struct {
	// of computes the parts of the score.
	of func(p *passes) (Parts, error)
	// look adds what of reads to the forward program; nil for proxies of gradients.
	look func(f *forward)
	// rank makes scores of the parts of all architectures that are compared;
	// nil where there is one part, the score.
	rank func(all []Parts) []float64
}

// Parts are the numbers that the score of an architecture is made from.
type Parts []float64

func one(f func(p *passes) (float64, error)) func(p *passes) (Parts, error) {
	return func(p *passes) (Parts, error) {
		v, err := f(p)
		return Parts{v}, err
	}
}

// proxies are the known ones. Where a paper takes the cross-entropy, the loss
// here is the plain sum of the logits, unless the batch has labels. None adds up over
// nested slices, since activations and gradients are others for each
// architecture. Each file says what its proxies are.
var proxies = map[string]proxy{
	// The baselines: a proxy that does not beat them says nothing that the size
	// of an architecture does not say.
	"params": {of: one(func(p *passes) (float64, error) { return float64(p.net.Space().Model.Params(p.arch)), nil })},
	"macs":   {of: one(func(p *passes) (float64, error) { return float64(p.net.Space().Model.MACs(p.arch)), nil })},

	"grad_norm": {of: one(gradNorm)},
	"snip":      {of: one(snip)},
	"plain":     {of: one(plain)},
	"grasp":     {of: one(grasp)},
	"zico":      {of: one(zico)},
	"fisher":    {of: one(fisher)},
	"dss":       {of: one(dss)},

	"naswot":           {of: one(naswot), look: lookAtCodes},
	"zen":              {of: one(zen), look: lookAtPerturbed},
	"token_entropy":    {of: one(tokenEntropy), look: lookAtTokens},
	"az_expressivity":  {of: one(expressivity), look: lookAtCovariance},
	"az_progressivity": {of: one(progressivity), look: lookAtCovariance},
	"az_trainability":  {of: one(trainability), look: lookAtJacobians},
	"az":               {of: azParts, look: func(f *forward) { lookAtCovariance(f); lookAtJacobians(f) }, rank: azRank},
}

// Names lists the proxies, sorted.
func Names() []string { return slices.Sorted(maps.Keys(proxies)) }

// Check tells whether there is a proxy of that name; the error wraps ErrName and says which there are.
func Check(name string) error {
	if _, known := proxies[name]; !known {
		return fmt.Errorf("%w %q; there are %s", ErrName, name, strings.Join(Names(), ", "))
	}
	return nil
}

// Start is what architectures are scored from: weights of the supernet, the
// images that they see, and the seed of what a proxy draws for itself.
type Start struct {
	Weights map[string]tensorfile.Tensor
	Batch   ScoringBatch
	Seed    uint64
}

// Scorer measures architectures with some proxies, from one or several starts.
type Scorer struct {
	engine *engine.Engine
	net    *supernet.Net
	names  []string
	chosen []proxy // by those names
	starts []start
}

// NewScorer checks names, weights and images. The starts must have equally many
// images. It returns ErrName for a name that is not in Names, and ErrInputs for a batch that does not fit or has
// drop-path masks.
func NewScorer(e *engine.Engine, n *supernet.Net, names []string, starts []Start) (*Scorer, error) {
	s := &Scorer{engine: e, net: n, names: names}
	for _, name := range names {
		if err := Check(name); err != nil {
			return nil, err
		}
		s.chosen = append(s.chosen, proxies[name])
	}
	for _, from := range starts {
		one, err := newStart(n, from)
		if err != nil {
			return nil, err
		}
		if len(s.starts) > 0 && one.samples != s.starts[0].samples {
			return nil, fmt.Errorf("%w: one start has %d images, another %d", ErrInputs, one.samples, s.starts[0].samples)
		}
		s.starts = append(s.starts, one)
	}
	return s, nil
}

// Of measures an architecture of the space: for each start, for each name, the
// parts of its score. The programs are compiled once, for all starts and names
// together. It returns ErrNotFinite for a part that is not a number.
func (s *Scorer) Of(ctx context.Context, a space.Arch) ([][]Parts, error) {
	if err := s.net.Space().Check(a); err != nil {
		return nil, err
	}
	programs := newPrograms(s, a)
	defer programs.close()
	all := make([][]Parts, len(s.starts))
	for i := range s.starts {
		p := &passes{programs: programs, ctx: ctx, from: &s.starts[i]}
		for k, name := range s.names {
			parts, err := s.chosen[k].of(p)
			if err != nil {
				return nil, fmt.Errorf("%s of %s: %w", name, a, err)
			}
			for _, v := range parts {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					return nil, fmt.Errorf("%s of %s: %w: are the weights sound?", name, a, ErrNotFinite)
				}
			}
			all[i] = append(all[i], parts)
		}
	}
	return all, nil
}

// CheckParts refuses numbers that are not the parts of a proxy's score, as a stored file may
// hold.
func CheckParts(name string, parts Parts) error {
	proxy, known := proxies[name]
	if !known {
		return fmt.Errorf("%q is no proxy of this version", name)
	}
	want := 1
	if proxy.rank != nil {
		want = azCount
	}
	if len(parts) != want {
		return fmt.Errorf("%s has %d parts, not %d", name, len(parts), want)
	}
	return nil
}

// Scores makes scores of the parts that a proxy of that name has for
// architectures that are compared with each other: one each, higher for what the
// proxy prefers.
func Scores(name string, all []Parts) []float64 {
	if rank := proxies[name].rank; rank != nil {
		return rank(all)
	}
	scores := make([]float64, len(all))
	for i, parts := range all {
		scores[i] = parts[0]
	}
	return scores
}
