package importance

import (
	"fmt"
	"maps"
	"slices"

	"prenas/internal/printable"
	"prenas/internal/proxy"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// OrderConv returns the weights of a convolutional supernet, and its running statistics, with the
// hidden features of each block that expands in the order of their worth, most first, and so those
// in the middle of squeeze-excite. Nothing else of it is cut: kernels keep their middle, and units
// their first blocks. The arguments stay as they are.
func OrderConv(s *space.Space, weights map[string]tensorfile.Tensor, worth proxy.ConvUnits) (map[string]tensorfile.Tensor, error) {
	if !s.Model.IsConv() || !s.Model.IsPlain() {
		return nil, fmt.Errorf("%w: only convolutional networks without matrices between kernels (KERNEL_TRANSFORM) are", ErrModel)
	}
	blocks := s.Model.ConvBlocks(s.Whole())[1:]
	if len(worth.Hidden) != len(blocks) || len(worth.Squeeze) != len(blocks) {
		return nil, fmt.Errorf("%w: worth is of %s, the supernet has %d", ErrModel, printable.Count(len(worth.Hidden), "block"), len(blocks))
	}
	o, err := newOrder(weights)
	if err != nil {
		return nil, err
	}
	for i, b := range blocks {
		if len(worth.Hidden[i]) != b.Hidden || len(worth.Squeeze[i]) != b.Squeeze {
			return nil, fmt.Errorf("%w: worth is of %d and %s of block %d, the supernet has %d and %d", ErrModel, len(worth.Hidden[i]), printable.Count(len(worth.Squeeze[i]), "feature"), i, b.Hidden, b.Squeeze)
		}
		along := func(at int, parts ...string) (axes []axis) {
			for _, part := range parts {
				axes = append(axes, axis{fmt.Sprintf("blocks.%d.%d.%s", b.Unit+1, b.Layer, part), at, 1})
			}
			return axes
		}
		hidden := along(0, "conv_pw.weight", "conv_dw.weight", "se.conv_expand.weight", "se.conv_expand.bias")
		for _, norm := range []string{"bn1.", "bn2."} {
			hidden = append(hidden, along(0, norm+"weight", norm+"bias", norm+"running_mean", norm+"running_var")...)
		}
		o.sort(worth.Hidden[i], append(hidden, along(1, "conv_pwl.weight", "se.conv_reduce.weight")...)...)
		o.sort(worth.Squeeze[i], append(along(0, "se.conv_reduce.weight", "se.conv_reduce.bias"), along(1, "se.conv_expand.weight")...)...)
	}
	return o.tensors(), nil
}

// newOrder holds the values of weights.
func newOrder(weights map[string]tensorfile.Tensor) (*order, error) {
	o := &order{values: map[string][]float32{}, shapes: map[string][]int{}}
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		w, err := weights[name].Float32s()
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		o.values[name], o.shapes[name] = w, weights[name].Shape
	}
	return o, nil
}

// tensors are the weights as they are ordered.
func (o *order) tensors() map[string]tensorfile.Tensor {
	out := make(map[string]tensorfile.Tensor, len(o.values))
	for name, v := range o.values {
		out[name] = tensorfile.FromFloat32(o.shapes[name], v)
	}
	return out
}
