package supernet

import (
	"fmt"
	"slices"

	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Fold returns the weights with which a supernet of the plain model (space.Model.Plain)
// computes the same for one architecture: factors are multiplied into the weights they
// stand behind, the norms are those of its embedding dim, and kernels are what the matrices between
// them make. Weights of which nothing
// changes are shared with the argument. What is outside of the architecture's slices is
// not meant to be used.
func (n *Net) Fold(weights map[string]tensorfile.Tensor, a space.Arch) (map[string]tensorfile.Tensor, error) {
	if err := n.Check(weights); err != nil {
		return nil, err
	}
	if err := n.space.Check(a); err != nil {
		return nil, err
	}
	out := map[string]tensorfile.Tensor{}
	for _, p := range ParamsOf(n.space.Model, n.space.Whole()) {
		source := p.Name
		if n.Index(source) < 0 {
			source = switchedName(p.Name, slices.Index(n.space.EmbedDim, a.EmbedDim))
		}
		t := weights[source]
		if s, ok := n.scalings[p.Name]; ok && (p.Block < 0 || a.At(p.Block) >= 0) {
			var err error
			if t, err = s.fold(t, weights, s.row(n.space, a)); err != nil {
				return nil, fmt.Errorf("tensor %q: %w", p.Name, err)
			}
		}
		out[p.Name] = t
	}
	return out, n.foldKernels(out, weights, a)
}

// foldKernels puts into the middle of each shared kernel of the architecture what the
// matrices between kernels make of it, as conv.kernel does.
func (n *Net) foldKernels(out, weights map[string]tensorfile.Tensor, a space.Arch) error {
	if !n.space.Model.Conv.Transform {
		return nil
	}
	for _, b := range n.space.Model.ConvBlocks(a)[1:] {
		name := convBlockName(b) + "conv_dw.weight"
		t := out[name]
		size := t.Shape[2]
		values, err := t.Float32s()
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		values = slices.Clone(values)
		kernels := descending(n.space)
		for i, to := range kernels[1:] {
			if to < b.Kernel {
				break
			}
			matrix, err := weights[transformName(b, kernels[i], to)].Float32s()
			if err != nil {
				return fmt.Errorf("tensor %q: %w", transformName(b, kernels[i], to), err)
			}
			for f := range b.Hidden {
				transformMiddle(values[f*size*size:][:size*size], size, matrix, to)
			}
		}
		out[name] = tensorfile.FromFloat32(t.Shape, values)
	}
	return nil
}

// transformMiddle multiplies the middle [to, to] of a kernel [size, size], as one vector,
// with a matrix [to², to²].
func transformMiddle(kernel []float32, size int, matrix []float32, to int) {
	margin := (size - to) / 2
	place := func(i int) int { return (margin+i/to)*size + margin + i%to }
	product := make([]float32, to*to)
	for o := range product {
		sum := 0.0
		for i := range to * to {
			sum += float64(matrix[o*to*to+i]) * float64(kernel[place(i)])
		}
		product[o] = float32(sum)
	}
	for i, v := range product {
		kernel[place(i)] = v
	}
}

// fold multiplies a weight with its factors, as far as the tables go.
func (s scaling) fold(t tensorfile.Tensor, weights map[string]tensorfile.Tensor, row int) (tensorfile.Tensor, error) {
	values, err := t.Float32s()
	if err != nil {
		return t, err
	}
	values = slices.Clone(values)
	inner := 1 // values of one output feature that lie together
	for _, d := range t.Shape[s.axis+1:] {
		inner *= d
	}
	for which, name := range s.tables {
		if name == "" {
			continue
		}
		table := weights[name]
		factors, err := table.Float32s()
		if err != nil {
			return t, err
		}
		width := table.Shape[1]
		factors = factors[row*width:][:width]
		for i := range values {
			feature := i / inner % t.Shape[s.axis]
			if k := feature / len(s.tables); feature%len(s.tables) == which && k < width {
				values[i] *= factors[k]
			}
		}
	}
	return tensorfile.FromFloat32(t.Shape, values), nil
}
