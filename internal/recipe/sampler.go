package recipe

import (
	"cmp"
	"fmt"
	"slices"

	"prenas/internal/rng"
	"prenas/pkg/space"
)

// Samplers of a recipe. Each is a pure function of the step, so resuming needs no state.
const (
	Balanced   = "balanced" // every architecture in turn, in an order drawn anew each round
	Uniform    = "uniform"  // one architecture, drawn for each update
	Groups     = "groups"   // every group of equal embed_dim (or resolution) and depth in turn, then its members in turn
	Sandwich   = "sandwich" // the largest, the smallest and one of the others in turn, in one update
	WholeSpace = "space"    // any architecture of the space, each choice drawn uniformly: AutoFormer's way
)

// WithSampler is the recipe with another sampler.
func (r Recipe) WithSampler(name string) (Recipe, error) {
	r.Sampler.Name = name
	if err := checkKey(r.Sampler, "Name"); err != nil {
		return r, err
	}
	if err := r.Check(); err != nil {
		return r, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return r, nil
}

// SamplerNames lists the samplers.
func SamplerNames() []string {
	return []string{Balanced, Uniform, Groups, Sandwich, WholeSpace}
}

// ArchSampler picks what an update trains, out of the preferred architectures.
type ArchSampler struct {
	name   string
	seed   uint64
	count  int
	groups [][]int // by embed_dim or resolution, then depth
	bySize []int   // smallest first
}

func NewArchSampler(name string, seed uint64, m space.Model, archs []space.Arch) ArchSampler {
	s := ArchSampler{name: name, seed: seed, count: len(archs)}
	type group struct{ dim, resolution, depth int }
	members := map[group][]int{}
	for i, a := range archs {
		g := group{a.EmbedDim, a.Resolution, a.Depth()}
		members[g] = append(members[g], i)
		s.bySize = append(s.bySize, i)
	}
	for _, list := range members {
		s.groups = append(s.groups, list)
	}
	slices.SortFunc(s.groups, func(a, b []int) int {
		x, y := archs[a[0]], archs[b[0]]
		return cmp.Or(cmp.Compare(x.EmbedDim, y.EmbedDim), cmp.Compare(x.Resolution, y.Resolution), cmp.Compare(x.Depth(), y.Depth()))
	})
	slices.SortStableFunc(s.bySize, func(a, b int) int { return cmp.Compare(m.Params(archs[a]), m.Params(archs[b])) })
	return s
}

// At is the architectures that update number step trains, the largest first where there
// are several.
func (s ArchSampler) At(step int) []int {
	switch s.name {
	case Uniform:
		return []int{rng.New(s.seed, "sampler uniform", uint64(step)).IntN(s.count)}
	case Groups:
		group := balanced(s.seed, step, len(s.groups))
		members := s.groups[group]
		turn := step / len(s.groups) // each round has one turn of each group
		return []int{members[inTurn(s.seed, "sampler members", uint64(group), turn, len(members))]}
	case Sandwich:
		list := []int{s.Largest()}
		if s.count > 1 {
			list = append(list, s.bySize[0])
		}
		if others := s.count - 2; others > 0 {
			list = append(list, s.bySize[1+balanced(s.seed, step, others)])
		}
		return list
	}
	return []int{balanced(s.seed, step, s.count)}
}

// Largest of the architectures.
func (s ArchSampler) Largest() int { return s.bySize[s.count-1] }

// Sets are all that [ArchSampler.At] can return, whatever the step and the seed.
func (s ArchSampler) Sets() [][]int {
	var sets [][]int
	if s.name == Sandwich && s.count > 2 {
		for _, other := range s.bySize[1 : s.count-1] {
			sets = append(sets, []int{s.Largest(), s.bySize[0], other})
		}
		return sets
	}
	if s.name == Sandwich {
		return [][]int{s.At(0)}
	}
	for which := range s.count {
		sets = append(sets, []int{which})
	}
	return sets
}

// balanced is the architecture (of count) that update number step trains.
//
// Every count updates in a row are one permutation of all architectures, drawn from
// the seed: after any update each has had the same number of turns, give or take one,
// and exactly the same whenever count divides the number of updates.
func balanced(seed uint64, step, count int) int {
	return rng.New(seed, "sampler", uint64(step/count)).Perm(count)[step%count]
}

// inTurn is balanced for one of several lists.
func inTurn(seed uint64, purpose string, list uint64, turn, count int) int {
	return rng.New(seed, purpose, list, uint64(turn/count)).Perm(count)[turn%count]
}

// DrawArch draws an architecture of a space. Unlike the search it keeps layers
// independent, as AutoFormer's training does.
func DrawArch(s *space.Space, seed uint64, step int) space.Arch {
	return s.Draw(rng.New(seed, "sampler space", uint64(step)))
}
