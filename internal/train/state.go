package train

import (
	"errors"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/evaluate"
	"prenas/internal/recipe"
	"prenas/pkg/space"
)

// Prefixes of the names that tensors have in a checkpoint; weights have none.
const (
	prefixWeights = ""
	prefixM       = "optimizer.m."
	prefixV       = "optimizer.v."
	prefixEMA     = "ema."
	prefixStats   = "stats." // of running statistics, after that of the weights or averages
)

// allPrefixes in the order in which groups of tensors go into a program.
var allPrefixes = []string{prefixWeights, prefixM, prefixV, prefixEMA}

// stateGroups are the prefixes of the groups of tensors that training by the recipe keeps.
func stateGroups(r recipe.Recipe) []string {
	p := []string{prefixWeights, prefixM}
	if r.Optimizer.Name != recipe.SGD {
		p = append(p, prefixV)
	}
	if r.EMA.Decay > 0 {
		p = append(p, prefixEMA)
	}
	return p
}

// perTensor is what there is of each weight. A group the recipe does without is nil.
type perTensor[T any] struct {
	Weights []T
	M       []T // first moment, or momentum
	V       []T // second moment
	EMA     []T // moving average of the weight
}

func (p *perTensor[T]) group(prefix string) *[]T {
	switch prefix {
	case prefixM:
		return &p.M
	case prefixV:
		return &p.V
	case prefixEMA:
		return &p.EMA
	}
	return &p.Weights
}

// groups that there are, in the order of allPrefixes.
func (p *perTensor[T]) groups() [][]T {
	var groups [][]T
	for _, prefix := range allPrefixes {
		if g := *p.group(prefix); g != nil {
			groups = append(groups, g)
		}
	}
	return groups
}

// State is everything that an update changes. Its tensors live on the device; each has
// the index of its weight in the supernet's Params.
type State struct {
	perTensor[*tensors.Tensor]
	Counts *tensors.Tensor // float32 [len(Params)]: updates that each tensor has had

	// Norms are the running statistics of each architecture that is trained, by its text.
	Norms map[string]*norms[*tensors.Tensor]
}

// normsOf an architecture.
func (s *State) normsOf(arch space.Arch) *norms[*tensors.Tensor] {
	if n := s.Norms[arch.String()]; n != nil {
		return n
	}
	return &norms[*tensors.Tensor]{}
}

// best weights of the state, with the statistics of architectures: the averages where
// there are some.
func (s *State) best(archs []space.Arch) evaluate.Weights {
	w, prefix := evaluate.Weights{Shared: s.Weights}, prefixWeights
	if s.EMA != nil {
		w.Shared, prefix = s.EMA, prefixEMA
	}
	for _, arch := range archs {
		w.Stats = append(w.Stats, *s.normsOf(arch).group(prefix))
	}
	return w
}

// free gives the state's memory back at once.
func (s *State) free() error {
	failed := errors.Join(s.Counts.FinalizeAll(), free(slices.Concat(s.groups()...)))
	for _, n := range s.Norms {
		failed = errors.Join(failed, free(n.all()))
	}
	return failed
}
