package trainstep

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Groups are the prefixes of the groups of tensors that training by the recipe keeps.
func Groups(r recipe.Recipe) []string {
	p := []string{rundir.GroupWeights, rundir.GroupM}
	if r.Optimizer.Name != recipe.SGD {
		p = append(p, rundir.GroupV)
	}
	if r.EMA.Decay > 0 {
		p = append(p, rundir.GroupEMA)
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
	case rundir.GroupM:
		return &p.M
	case rundir.GroupV:
		return &p.V
	case rundir.GroupEMA:
		return &p.EMA
	}
	return &p.Weights
}

// groups that there are, in the order of rundir.Groups.
func (p *perTensor[T]) groups() [][]T {
	var groups [][]T
	for _, prefix := range rundir.Groups {
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
	BatchNorms map[string]*batchNorms[*tensors.Tensor]
}

// batchNormsOf an architecture.
func (s *State) batchNormsOf(arch space.Arch) *batchNorms[*tensors.Tensor] {
	if n := s.BatchNorms[arch.String()]; n != nil {
		return n
	}
	return &batchNorms[*tensors.Tensor]{}
}

// Averaged weights of the state, with the statistics of architectures: the averages where
// there are some.
func (s *State) Averaged(archs []space.Arch) evaluate.Weights {
	w, prefix := evaluate.Weights{Shared: s.Weights}, rundir.GroupWeights
	if s.EMA != nil {
		w.Shared, prefix = s.EMA, rundir.GroupEMA
	}
	for _, arch := range archs {
		w.Stats = append(w.Stats, *s.batchNormsOf(arch).group(prefix))
	}
	return w
}

// SetStats puts estimated running statistics of an architecture, in the order of supernet.Stats,
// in the place of those that there are; averages are the same.
func (s *State) SetStats(e *engine.Engine, r recipe.Recipe, arch space.Arch, stats []tensorfile.Tensor) error {
	own := &batchNorms[*tensors.Tensor]{}
	for _, prefix := range statGroups(r) {
		group := own.group(prefix)
		for _, s := range stats {
			up, err := e.Upload(s)
			if err != nil {
				return fmt.Errorf("statistics of %s: %w", arch, err)
			}
			*group = append(*group, up)
		}
	}
	spent := s.batchNormsOf(arch).all()
	s.BatchNorms[arch.String()] = own
	return free(spent)
}

// Free gives the state's memory back at once.
func (s *State) Free() error {
	failed := errors.Join(s.Counts.FinalizeAll(), free(slices.Concat(s.groups()...)))
	for _, n := range s.BatchNorms {
		failed = errors.Join(failed, free(n.all()))
	}
	return failed
}

// NewState is the state before the first step of training architectures: moments and
// counts are zero, averages are the weights. Statistics that weights has are gone on with;
// else means are 0 and variances 1.
func NewState(net *supernet.Net, r recipe.Recipe, weights map[string]tensorfile.Tensor, archs ...space.Arch) rundir.HostState {
	params := net.Params()
	h := rundir.HostState{rundir.NameCounts: tensorfile.FromFloat32([]int{len(params)}, make([]float32, len(params)))}
	for _, p := range params {
		w := weights[p.Name]
		zero := tensorfile.FromFloat32(p.Shape, make([]float32, len(w.Data)/4))
		for _, prefix := range Groups(r) {
			switch prefix {
			case rundir.GroupWeights, rundir.GroupEMA:
				h[prefix+p.Name] = w
			default:
				h[prefix+p.Name] = zero
			}
		}
	}
	for _, arch := range archs {
		for _, p := range supernet.Stats(net.Space().Model, arch) {
			value, given := weights[rundir.StatName(arch, p)]
			if !given {
				value = p.Init(0)
			}
			for _, prefix := range statGroups(r) {
				h[prefix+rundir.StatName(arch, p)] = value
			}
		}
	}
	return h
}

// Upload puts a state on the device, with the statistics of architectures. What it took
// on the host is garbage thereafter, unless the caller keeps the state, and more than the
// collector would have let go of by itself: its memory is given back.
func Upload(h rundir.HostState, e *engine.Engine, net *supernet.Net, archs ...space.Arch) (*State, error) {
	s := &State{BatchNorms: map[string]*batchNorms[*tensors.Tensor]{}}
	var failed error
	put := func(name string) *tensors.Tensor {
		t, err := e.Upload(h[name])
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("tensor %q: %w", name, err))
		}
		return t
	}
	for _, prefix := range h.Groups(net) {
		group := s.group(prefix)
		for _, p := range net.Params() {
			*group = append(*group, put(prefix+p.Name))
		}
	}
	for _, arch := range archs {
		own := &batchNorms[*tensors.Tensor]{}
		for _, prefix := range h.StatGroups(net) {
			group := own.group(prefix)
			for _, p := range supernet.Stats(net.Space().Model, arch) {
				*group = append(*group, put(prefix+rundir.StatName(arch, p)))
			}
		}
		s.BatchNorms[arch.String()] = own
	}
	s.Counts = put(rundir.NameCounts)
	debug.FreeOSMemory()
	return s, failed
}

// Download copies a state from the device, with the statistics of architectures.
func (s *State) Download(net *supernet.Net, archs ...space.Arch) (rundir.HostState, error) {
	h := rundir.HostState{}
	var failed error
	get := func(name string, t *tensors.Tensor) {
		host, err := engine.Download(t)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("tensor %q: %w", name, err))
		}
		h[name] = host
	}
	for _, prefix := range rundir.Groups {
		for i, t := range *s.group(prefix) {
			get(prefix+net.Params()[i].Name, t)
		}
	}
	for _, arch := range archs {
		for i, p := range supernet.Stats(net.Space().Model, arch) {
			for _, prefix := range []string{rundir.GroupWeights, rundir.GroupEMA} {
				if group := *s.batchNormsOf(arch).group(prefix); len(group) > 0 {
					get(prefix+rundir.StatName(arch, p), group[i])
				}
			}
		}
	}
	get(rundir.NameCounts, s.Counts)
	return h, failed
}
