package export

import (
	"fmt"
	"slices"

	"prenas/internal/space"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
)

// Model is one architecture by itself.
type Model struct {
	Info    Info
	Tensors map[string]tensorfile.Tensor // float32, timm's names and layouts
}

// Take cuts an architecture out of the weights of a supernet of a space with model m,
// which is plain: where choices learn something for themselves, the weights are folded
// before (supernet.Net.Fold).
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
	for _, p := range supernet.ParamsOf(m, a) {
		values, err := leading(weights[p.Name], p.Shape)
		if err != nil {
			return nil, fmt.Errorf("%w %s: weight %q: %w", ErrArch, a, p.Name, err)
		}
		if isQKV(p.Name) {
			values = sortQKV(values, len(values)/p.Shape[0])
		}
		model.Tensors[TimmName(p.Name)] = tensorfile.FromFloat32(p.Shape, values)
	}
	return model, nil
}

// leading is the slice of a shape from index 0 along every axis.
func leading(t tensorfile.Tensor, shape []int) ([]float32, error) {
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
	var out []float32
	var walk func(axis, at, stride int)
	walk = func(axis, at, stride int) {
		if axis == len(shape)-1 {
			out = append(out, values[at:at+shape[axis]]...)
			return
		}
		stride /= t.Shape[axis]
		for i := range shape[axis] {
			walk(axis+1, at+i*stride, stride)
		}
	}
	walk(0, 0, len(values))
	return out, nil
}

// Net is the graph of the model: a supernet whose one architecture has its own size.
func (m *Model) Net() *supernet.Net { return supernet.Alone(m.Info.SpaceModel(), m.Info.SpaceArch()) }

// Weights are the model's tensors as Net takes them.
func (m *Model) Weights() (map[string]tensorfile.Tensor, error) {
	weights := map[string]tensorfile.Tensor{}
	for _, p := range supernet.ParamsOf(m.Info.SpaceModel(), m.Info.SpaceArch()) {
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

// check compares the tensors with what the description asks for.
func (m *Model) check() error {
	params := supernet.ParamsOf(m.Info.SpaceModel(), m.Info.SpaceArch())
	for _, p := range params {
		name := TimmName(p.Name)
		t, ok := m.Tensors[name]
		switch {
		case !ok:
			return fmt.Errorf("%w: tensor %q is missing", ErrModel, name)
		case !slices.Equal(t.Shape, p.Shape) || t.DType != tensorfile.F32:
			return fmt.Errorf("%w: tensor %q is %s %v; architecture %s needs %s %v", ErrModel, name, t.DType, t.Shape, m.Info.Arch, tensorfile.F32, p.Shape)
		}
	}
	if len(m.Tensors) > len(params) {
		return fmt.Errorf("%w: it has %d tensors, architecture %s has %d", ErrModel, len(m.Tensors), m.Info.Arch, len(params))
	}
	return nil
}
