package search

import (
	"fmt"
	"math"
	"slices"

	"prenas/pkg/space"
)

// Sums holds the sums of saliency over every slice that an architecture of a
// space can have: the prefix sums that make all scores of this package a few
// additions. It is small (a few numbers per weight and choice) and outlives
// the weights it was made from.
type Sums struct {
	grid      grid
	layers    []blockSums
	outer     map[string]*prefixSums // by name, outside of the layers
	gradients bool                   // gradients were given
	moments   bool                   // all measures were summed, not only the first three
}

// blockSums are the sums of one layer by the name within it.
type blockSums map[string]*prefixSums

// NewSums sums weights and gradients over the slices of the space. Without
// gradients (nil) only scores of weights can be made from it. rare adds the
// sums with their sign and of squares, which few methods need.
//
// It refuses tensors that are missing or too small (ErrWeights), NaN and
// infinity (ErrNotFinite), and gradients that are all zero
// (ErrZeroGradients).
func NewSums(s *space.Space, weights, gradients Tensors, rare bool) (*Sums, error) {
	u, err := newSums(s, func(name string, rows, cols []int) (*prefixSums, error) {
		return sumTensor(newGrid(s).family, name, weights, gradients, rows, cols, rare)
	})
	if err != nil {
		return nil, err
	}
	u.gradients, u.moments = gradients != nil, rare
	return u, u.checkGradients()
}

// newSums asks sum for each scored tensor of the space, cut where the choices
// of the space cut it.
func newSums(s *space.Space, sum func(name string, rows, cols []int) (*prefixSums, error)) (*Sums, error) {
	g := newGrid(s)
	u := &Sums{grid: g, outer: map[string]*prefixSums{}}
	for range g.layers {
		u.layers = append(u.layers, blockSums{})
	}
	var failed error
	g.tensors(g, func(layer int, name string, rows, cols []int) {
		if failed != nil {
			return
		}
		into, prefix := u.outer, ""
		if layer >= 0 {
			into, prefix = u.layers[layer], g.prefix(layer)
		}
		into[name], failed = sum(prefix+name, rows, cols)
	})
	return u, failed
}

func sumTensor(f family, name string, weights, gradients Tensors, rows, cols []int, rare bool) (*prefixSums, error) {
	w, ok := weights[name]
	if !ok {
		return nil, fmt.Errorf("%w: tensor %s is missing", ErrWeights, name)
	}
	if err := w.fits(name, rows, cols); err != nil {
		return nil, err
	}
	var g Tensor
	if gradients != nil {
		if g, ok = gradients[name]; !ok {
			return nil, fmt.Errorf("%w: there is no gradient of tensor %s", ErrWeights, name)
		}
		if !slices.Equal(g.Shape, w.Shape) || len(g.Data) != len(w.Data) {
			return nil, fmt.Errorf("%w: the gradient of tensor %s has shape %v, the weight %v", ErrWeights, name, g.Shape, w.Shape)
		}
	}
	_, width := w.matrix()
	w, g = f.arrange(name, w), f.arrange(name, g)
	c := newPrefixSums(w.Data, g.Data, width, rows, cols, rare)
	for what, m := range map[string]measure{"weights": absWeight, "gradient": absGradient} {
		if total := c.at(m, rows[len(rows)-1], cols[len(cols)-1]); math.IsNaN(total) || math.IsInf(total, 0) {
			return nil, fmt.Errorf("%s of tensor %s: %w", what, name, ErrNotFinite)
		}
	}
	return c, nil
}

func (u *Sums) checkGradients() error {
	if !u.gradients {
		return nil
	}
	for _, block := range u.layers {
		for _, c := range block {
			if c.at(absGradient, c.rows[len(c.rows)-1], c.cols[len(c.cols)-1]) > 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: check the weights and the inputs they were computed from", ErrZeroGradients)
}
