package export

import (
	"fmt"
	"slices"
	"strings"

	"prenas/internal/printable"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Model is one architecture by itself.
type Model struct {
	Info    Info
	Tensors map[string]tensorfile.Tensor // float32, timm's names and layouts
}

// Take cuts an architecture out of the weights of a supernet of a space with model m,
// which is plain: where choices learn something for themselves, the weights are folded
// before (supernet.Net.Fold). Beside the weights are the statistics of this very
// architecture's batch norms, if it has any (supernet.Stats).
// about says what only the caller knows; the rest of the Info is filled in.
func Take(weights map[string]tensorfile.Tensor, m space.Model, a space.Arch, about Info) (*Model, error) {
	about = about.describe(m, a)
	if err := about.check(); err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrArch, a, err)
	}
	if !m.IsPlain() {
		return nil, fmt.Errorf("%w %s: its weights are not folded", ErrArch, a)
	}
	model := &Model{Info: about, Tensors: map[string]tensorfile.Tensor{}}
	own := supernet.ParamsOf(m, a.Alone()) // the model's blocks are numbered anew
	for i, p := range supernet.ParamsOf(m, a) {
		values, err := slice(weights[p.Name], p.Shape)
		if err != nil {
			return nil, fmt.Errorf("%w %s: weight %q: %w", ErrArch, a, p.Name, err)
		}
		if isQKV(p.Name) {
			values = sortQKV(values, len(values)/p.Shape[0])
		}
		model.Tensors[TimmName(own[i].Name)] = tensorfile.FromFloat32(p.Shape, values)
	}
	for _, p := range supernet.Stats(m, a) {
		// No slice of larger ones: those would be another architecture's.
		if !slices.Equal(weights[p.Name].Shape, p.Shape) {
			return nil, fmt.Errorf("%w %s: statistics %q have shape %v, %v is needed", ErrArch, a, p.Name, weights[p.Name].Shape, p.Shape)
		}
		model.Tensors[p.Name] = weights[p.Name]
	}
	if err := model.check(); err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrArch, a, err)
	}
	return model, nil
}

// New is a model of tensors that are float32 by timm's names and layouts already.
func New(tensors map[string]tensorfile.Tensor, m space.Model, a space.Arch, about Info) (*Model, error) {
	model := &Model{Info: about.describe(m, a), Tensors: tensors}
	if err := model.Info.check(); err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrArch, a, err)
	}
	if err := model.check(); err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrArch, a, err)
	}
	return model, nil
}

// slice of a shape, where supernet.Origin says.
func slice(t tensorfile.Tensor, shape []int) ([]float32, error) {
	if len(t.Shape) != len(shape) {
		return nil, fmt.Errorf("it has shape %v, a slice of %v is needed", t.Shape, shape)
	}
	for axis, size := range shape {
		if t.Shape[axis] < size {
			return nil, fmt.Errorf("it has shape %v, a slice of %v is needed", t.Shape, shape)
		}
	}
	values, err := t.Float32s()
	if err != nil {
		return nil, err
	}
	return supernet.CutSlice(values, t.Shape, shape), nil
}

// Net is the graph of the model: a supernet whose one architecture has its own size.
func (m *Model) Net() *supernet.Net {
	return supernet.Standalone(m.Info.SpaceModel(), m.Info.SpaceArch())
}

// Weights are the model's tensors as Net takes them, and the statistics of its batch
// norms, if it has any, by the names of supernet.Stats.
func (m *Model) Weights() (map[string]tensorfile.Tensor, error) {
	weights := map[string]tensorfile.Tensor{}
	for _, p := range m.params() {
		t := m.Tensors[TimmName(p.Name)]
		if isQKV(p.Name) {
			values, err := t.Float32s()
			if err != nil {
				return nil, fmt.Errorf("tensor %q: %w", TimmName(p.Name), err)
			}
			t = tensorfile.FromFloat32(p.Shape, InterleaveQKV(values, len(values)/p.Shape[0]))
		}
		weights[p.Name] = t
	}
	return weights, nil
}

// params are the weights and statistics that the description asks for.
func (m *Model) params() []supernet.Param {
	model, arch := m.Info.SpaceModel(), m.Info.SpaceArch()
	return append(supernet.ParamsOf(model, arch), supernet.Stats(model, arch)...)
}

// check compares the tensors with what the description asks for.
func (m *Model) check() error {
	params := m.params()
	for _, p := range params {
		name := TimmName(p.Name)
		t, ok := m.Tensors[name]
		switch {
		case !ok:
			return fmt.Errorf("%w: tensor %q is missing", ErrModel, name)
		case !slices.Equal(t.Shape, p.Shape) || t.DType != tensorfile.F32:
			return fmt.Errorf("%w: tensor %q is %s %v; architecture %s needs %s %v", ErrModel, name, t.DType, t.Shape, m.Info.Arch, tensorfile.F32, p.Shape)
		}
		if err := checkVariance(name, t); err != nil {
			return err
		}
	}
	if len(m.Tensors) > len(params) {
		return fmt.Errorf("%w: it has %s, architecture %s has %d", ErrModel, printable.Count(len(m.Tensors), "tensor"), m.Info.Arch, len(params))
	}
	return nil
}

// checkVariance refuses variances that have no root: no batch norm computes with them.
func checkVariance(name string, t tensorfile.Tensor) error {
	if !strings.HasSuffix(name, ".running_var") {
		return nil
	}
	values, err := t.Float32s()
	if err != nil {
		return fmt.Errorf("%w: tensor %q: %w", ErrModel, name, err)
	}
	if slices.ContainsFunc(values, func(v float32) bool { return !(v >= 0) }) {
		return fmt.Errorf("%w: tensor %q has variances that are not at least 0", ErrModel, name)
	}
	return nil
}
