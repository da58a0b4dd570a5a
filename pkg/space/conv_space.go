package space

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
)

func (s *Space) convUniform(resolution, depth, kernel int, expand float64) Arch {
	a := Arch{Resolution: resolution}
	for range s.Model.Conv.Units {
		a.Units = append(a.Units, slices.Repeat([]ConvLayer{{kernel, expand}}, depth))
	}
	return a
}

func (s *Space) drawConv(r *rand.Rand) Arch {
	a := Arch{Resolution: anyOf(r, s.Resolution), Units: make([][]ConvLayer, len(s.Model.Conv.Units))}
	for u := range a.Units {
		for range anyOf(r, s.Depth) {
			a.Units[u] = append(a.Units[u], ConvLayer{anyOf(r, s.Kernel), anyOf(r, s.Expand)})
		}
	}
	return a
}

func (s *Space) checkConv(a Arch, bad func(what string, got, choices any) error) error {
	if !slices.Contains(s.Resolution, a.Resolution) {
		return bad("resolution", a.Resolution, s.Resolution)
	}
	if len(a.Units) != len(s.Model.Conv.Units) {
		return fmt.Errorf("%w of space %q: %d units, it has %d", ErrArch, s.Name, len(a.Units), len(s.Model.Conv.Units))
	}
	for u, layers := range a.Units {
		if !slices.Contains(s.Depth, len(layers)) {
			return bad(fmt.Sprintf("depth of unit %d", u), len(layers), s.Depth)
		}
		for l, layer := range layers {
			where := fmt.Sprintf("unit %d, layer %d: ", u, l)
			if !slices.Contains(s.Kernel, layer.Kernel) {
				return bad(where+"kernel", layer.Kernel, s.Kernel)
			}
			if !slices.Contains(s.Expand, layer.Expand) {
				return bad(where+"expansion", layer.Expand, s.Expand)
			}
		}
	}
	return nil
}

func (s *Space) convSize() *big.Int {
	perLayer, unit := big.NewInt(int64(len(s.Kernel)*len(s.Expand))), new(big.Int)
	for _, depth := range s.Depth {
		unit.Add(unit, new(big.Int).Exp(perLayer, big.NewInt(int64(depth)), nil))
	}
	total := unit.Exp(unit, big.NewInt(int64(len(s.Model.Conv.Units))), nil)
	return total.Mul(total, big.NewInt(int64(len(s.Resolution))))
}

// Bounds of convolutional networks: far above any.
const (
	maxUnits  = 64
	maxStride = 8
	maxKernel = 31
)

func (s *Space) validateConv() error {
	super := s.Supernet
	for _, c := range []struct {
		key     string
		super   int
		limit   int
		choices []int
	}{
		{"DEPTH", super.Depth, maxLayers, s.Depth},
		{"KERNEL", super.Kernel, maxKernel, s.Kernel},
		{"RESOLUTION", s.Model.ImageSize, maxPixels, s.Resolution},
	} {
		if err := validateChoices(c.key, c.super, c.limit, c.choices); err != nil {
			return err
		}
	}
	if err := validateChoices("EXPAND", super.Expand, maxRatio, s.Expand); err != nil {
		return err
	}
	for _, k := range append(slices.Clone(s.Kernel), super.Kernel) {
		if k%2 == 0 {
			return impossible("KERNEL %d is even; kernels have a middle", k)
		}
	}
	if err := s.validateSize(); err != nil {
		return err
	}
	return s.Interval.validate()
}

func (m Model) validateConv() error {
	c := m.Conv
	if m.Variant != (Variant{}) {
		return impossible("keys of vision transformers' variants (NORM_EPS, ACTIVATION and so on) have no meaning for FAMILY conv")
	}
	type bound struct {
		key         string
		value, most int
	}
	bounds := []bound{
		{"IMAGE_SIZE", m.ImageSize, maxPixels}, {"CHANNELS", m.Channels, maxLayers}, {"NUM_CLASSES", m.NumClasses, maxClasses},
		{"STEM", c.Stem, maxDim}, {"STEM_STRIDE", c.StemStride, maxStride}, {"FEATURES", c.Features, maxDim}, {"MIX", c.Mix, maxDim},
		{"WIDTH: the number of units", len(c.Units), maxUnits},
	}
	for i, u := range c.Units {
		bounds = append(bounds, bound{fmt.Sprintf("WIDTH of unit %d", i), u.Width, maxDim}, bound{fmt.Sprintf("STRIDE of unit %d", i), u.Stride, maxStride})
	}
	for _, b := range bounds {
		if b.value < 1 || b.value > b.most {
			return impossible("MODEL.%s is %d; it must be from 1 to %d", b.key, b.value, b.most)
		}
	}
	return nil
}
