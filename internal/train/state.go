package train

import (
	"errors"

	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// Prefixes of the names that tensors have in a checkpoint; weights have none.
const (
	prefixWeights = ""
	prefixM       = "optimizer.m."
	prefixV       = "optimizer.v."
	prefixEMA     = "ema."
)

// allPrefixes in the order in which groups of tensors go into a program.
var allPrefixes = []string{prefixWeights, prefixM, prefixV, prefixEMA}

// prefixes of the groups of tensors that training by the recipe keeps.
func (r Recipe) prefixes() []string {
	p := []string{prefixWeights, prefixM}
	if r.Optimizer.Name != sgd {
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
}

// best weights of the state: the average where there is one.
func (s *State) best() []*tensors.Tensor {
	if s.EMA != nil {
		return s.EMA
	}
	return s.Weights
}

// free gives the state's memory back at once.
func (s *State) free() error {
	failed := s.Counts.FinalizeAll()
	for _, group := range s.groups() {
		for _, t := range group {
			failed = errors.Join(failed, t.FinalizeAll())
		}
	}
	return failed
}
