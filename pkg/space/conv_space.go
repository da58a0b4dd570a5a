package space

import (
	"cmp"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
)

func (s *Space) convUniform(resolution, depth, kernel int, expand float64) Arch {
	a := Arch{Resolution: resolution}
	for range s.Model.Conv.Units {
		a.Units = append(a.Units, slices.Repeat([]ConvLayer{{kernel, expand}}, depth))
	}
	return a
}

// ConvDepths are the depths that a unit of a convolutional space may have, in the list's order.
func (s *Space) ConvDepths(unit int) []int {
	if s.Blocks == nil {
		return s.Depth
	}
	return upTo(s.Depth, len(s.Blocks[unit]))
}

// ConvChoices are the kernels and the expansions that a layer of a unit may have, in the lists'
// order; none where the supernet has no such layer.
func (s *Space) ConvChoices(unit, layer int) (kernels []int, expands []float64) {
	switch {
	case s.Blocks == nil:
		return s.Kernel, s.Expand
	case layer >= len(s.Blocks[unit]):
		return nil, nil
	}
	own := s.Blocks[unit][layer]
	return upTo(s.Kernel, own.Kernel), upTo(s.Expand, own.Expand)
}

// upTo are the choices that are not above a limit.
func upTo[T int | float64](choices []T, most T) []T {
	return slices.DeleteFunc(slices.Clone(choices), func(c T) bool { return c > most })
}

// convOf picks one of the choices everywhere.
func (s *Space) convOf(resolution int, count func([]int) int, ratio func([]float64) float64) Arch {
	a := Arch{Resolution: resolution, Units: make([][]ConvLayer, len(s.Model.Conv.Units))}
	for u := range a.Units {
		for l := range count(s.ConvDepths(u)) {
			kernels, expands := s.ConvChoices(u, l)
			a.Units[u] = append(a.Units[u], ConvLayer{count(kernels), ratio(expands)})
		}
	}
	return a
}

func (s *Space) drawConv(r *rand.Rand) Arch {
	// In the order of units and layers, whose draws older versions made alike.
	return s.convOf(anyOf(r, s.Resolution), func(c []int) int { return anyOf(r, c) }, func(c []float64) float64 { return anyOf(r, c) })
}

func (s *Space) checkConv(a Arch, bad func(what string, got, choices any) error) error {
	if !slices.Contains(s.Resolution, a.Resolution) {
		return bad("resolution", a.Resolution, s.Resolution)
	}
	if len(a.Units) != len(s.Model.Conv.Units) {
		return fmt.Errorf("%w of space %q: %d units, it has %d", ErrArch, s.Name, len(a.Units), len(s.Model.Conv.Units))
	}
	for u, layers := range a.Units {
		if depths := s.ConvDepths(u); !slices.Contains(depths, len(layers)) {
			return bad(fmt.Sprintf("depth of unit %d", u), len(layers), depths)
		}
		for l, layer := range layers {
			where := fmt.Sprintf("unit %d, layer %d: ", u, l)
			kernels, expands := s.ConvChoices(u, l)
			if !slices.Contains(kernels, layer.Kernel) {
				return bad(where+"kernel", layer.Kernel, kernels)
			}
			if !slices.Contains(expands, layer.Expand) {
				return bad(where+"expansion", layer.Expand, expands)
			}
		}
	}
	return nil
}

func (s *Space) convSize() *big.Int {
	total := big.NewInt(int64(len(s.Resolution)))
	for u := range s.Model.Conv.Units {
		unit := new(big.Int)
		for _, depth := range s.ConvDepths(u) {
			ways := big.NewInt(1)
			for l := range depth {
				kernels, expands := s.ConvChoices(u, l)
				ways.Mul(ways, big.NewInt(int64(len(kernels)*len(expands))))
			}
			unit.Add(unit, ways)
		}
		total.Mul(total, unit)
	}
	return total
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
		if k == 1 && s.Model.Conv.Padding == PaddingSame {
			return impossible("KERNEL 1 has no padding that MODEL.PADDING could say")
		}
	}
	if err := s.validateBlocks(); err != nil {
		return err
	}
	if err := s.validateSize(); err != nil {
		return err
	}
	return s.Interval.validate()
}

// validateBlocks refuses blocks that are not those of a supernet of the lists' choices.
func (s *Space) validateBlocks() error {
	if s.Blocks == nil {
		return nil
	}
	if units := len(s.Model.Conv.Units); len(s.Blocks) != units {
		return impossible("SUPERNET.ARCH has %d units and MODEL.WIDTH %d", len(s.Blocks), units)
	}
	if s.Model.Conv.Transform {
		return impossible("MODEL.KERNEL_TRANSFORM is of a supernet whose blocks are alike, not of SUPERNET.ARCH")
	}
	var top Supernet
	for u, layers := range s.Blocks {
		top.Depth = max(top.Depth, len(layers))
		if len(s.ConvDepths(u)) == 0 {
			return impossible("SUPERNET.ARCH has %d blocks in unit %d, fewer than the least DEPTH, %d", len(layers), u, slices.Min(s.Depth))
		}
		for l, own := range layers {
			top.Kernel, top.Expand = max(top.Kernel, own.Kernel), max(top.Expand, own.Expand)
			if own.Kernel%2 == 0 {
				return impossible("SUPERNET.ARCH has the kernel %d, which is even; kernels have a middle", own.Kernel)
			}
			if kernels, expands := s.ConvChoices(u, l); len(kernels) == 0 || len(expands) == 0 {
				return impossible("block %d of unit %d of SUPERNET.ARCH has kernel %d and expansion %v; the least KERNEL and EXPAND are %d and %v", l, u, own.Kernel, own.Expand, slices.Min(s.Kernel), slices.Min(s.Expand))
			}
		}
	}
	if top != (Supernet{Depth: s.Supernet.Depth, Kernel: s.Supernet.Kernel, Expand: s.Supernet.Expand}) {
		return impossible("SUPERNET.ARCH has at most depth %d, kernel %d and expansion %v; SUPERNET.DEPTH, KERNEL and EXPAND must be these", top.Depth, top.Kernel, top.Expand)
	}
	return nil
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
		{"STEM", c.Stem, maxDim}, {"STEM_STRIDE", c.StemStride, maxStride}, {"FEATURES", c.Features, maxDim}, {"MIX", cmp.Or(c.Mix, 1), maxDim},
		{"FIRST_WIDTH", c.FirstWidth(), maxDim}, {"FIRST_STRIDE", cmp.Or(c.First.Stride, 1), maxStride},
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
	for _, v := range []struct {
		key, value string
		known      []string
	}{{"ACTIVATION", c.Activation, convActivations}, {"SQUEEZE", c.Squeeze, convSqueezes}, {"PADDING", c.Padding, convPaddings}} {
		if v.value != "" && !slices.Contains(v.known[1:], v.value) {
			return impossible("MODEL.%s is %.40q; it is one of %s", v.key, v.value, strings.Join(v.known, ", "))
		}
	}
	for i, u := range c.Units {
		if u.HSwish && c.Activation != "" {
			return impossible("MODEL.ACTIVATION is of all layers, and H_SWISH of unit %d true", i)
		}
		if c.Padding == PaddingSame && u.Stride > 2 {
			return impossible("MODEL.PADDING same is for strides of 1 and 2, and unit %d has %d", i, u.Stride)
		}
	}
	switch {
	case c.Mix == 0 && c.MixBias:
		return impossible("MODEL.MIX_BIAS is of a layer that MODEL.MIX 0 leaves out")
	case c.Padding == PaddingSame && max(c.StemStride, c.First.Stride) > 2:
		return impossible("MODEL.PADDING same is for strides of 1 and 2")
	}
	return nil
}
