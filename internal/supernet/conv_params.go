package supernet

import (
	"fmt"
	"math"
	"slices"

	"prenas/internal/rng"
	"prenas/pkg/space"
)

// convParams are the weights of a convolutional network, by timm's names for
// MobileNetV3 and in its order. Those of a block of unit u are blocks.(u+1).l;
// blocks.0.0 is the block after the stem, and the last convolution before the
// mean is the only block of a last stage, or timm's of EfficientNet.
func convParams(m space.Model, a space.Arch) []Param {
	var params []Param
	block, after := -1, false
	add := func(name string, start initialiser, shape ...int) {
		params = append(params, Param{Name: name, Shape: shape, Decay: len(shape) > 1, Block: block, last: after, start: start})
	}
	conv := func(name string, out, in, kernel int) {
		// Normal, of deviation √(2/fan_out); a depthwise convolution (in 1) has
		// one output for each kernel (timm's and once-for-all's).
		fan := kernel * kernel * out
		if in == 1 && kernel > 1 && out > 1 {
			fan = kernel * kernel
		}
		add(name+".weight", normal(math.Sqrt(2/float64(fan))), out, in, kernel, kernel)
	}
	norm := func(name string, size int) {
		add(name+".weight", ones, size)
		add(name+".bias", zeros, size)
	}
	squeeze := func(name string, b space.ConvBlock) {
		if b.Squeeze > 0 {
			conv(name+"se.conv_reduce", b.Squeeze, b.Hidden, 1)
			add(name+"se.conv_reduce.bias", zeros, b.Squeeze)
			conv(name+"se.conv_expand", b.Hidden, b.Squeeze, 1)
			add(name+"se.conv_expand.bias", zeros, b.Hidden)
		}
	}
	c := m.Conv
	add("conv_stem.weight", normal(math.Sqrt(2/float64(9*c.Stem))), c.Stem, m.Channels, 3, 3)
	norm("bn1", c.Stem)
	for i, b := range m.ConvBlocks(a) {
		block = i - 1
		name := convBlockName(b)
		if !b.Expands {
			conv(name+"conv_dw", b.Hidden, 1, b.Kernel)
			norm(name+"bn1", b.Hidden)
			squeeze(name, b)
			conv(name+"conv_pw", b.Out, b.Hidden, 1)
			norm(name+"bn2", b.Out)
			continue
		}
		conv(name+"conv_pw", b.Hidden, b.In, 1)
		norm(name+"bn1", b.Hidden)
		conv(name+"conv_dw", b.Hidden, 1, b.Kernel)
		norm(name+"bn2", b.Hidden)
		squeeze(name, b)
		conv(name+"conv_pwl", b.Out, b.Hidden, 1)
		norm(name+"bn3", b.Out)
	}
	block, after = -1, true
	last, lastNorm := featuresNames(m)
	conv(last, c.Features, c.Units[len(c.Units)-1].Width, 1)
	norm(lastNorm, c.Features)
	if c.Mix > 0 {
		conv("conv_head", c.Mix, c.Features, 1)
	}
	if c.MixBias {
		add("conv_head.bias", zeros, c.Mix)
	}
	add("classifier.weight", uniform(1/math.Sqrt(float64(m.NumClasses))), m.NumClasses, c.Pooled())
	add("classifier.bias", zeros, m.NumClasses)
	return params
}

func convBlockName(b space.ConvBlock) string { return fmt.Sprintf("blocks.%d.%d.", b.Unit+1, b.Layer) }

// featuresNames of the convolution before the mean, and of its norm: timm's for MobileNetV3, or for
// EfficientNet, which mixes no features after the mean.
func featuresNames(m space.Model) (conv, norm string) {
	if m.Conv.Mix == 0 {
		return "conv_head", "bn2"
	}
	last := fmt.Sprintf("blocks.%d.0.", len(m.Conv.Units)+1)
	return last + "conv", last + "bn1"
}

// transformsOf are once-for-all's matrices: for each block, between each kernel
// of the space and the next smaller one, [k², k²] with k the smaller. What they
// are at first changes nothing.
func transformsOf(s *space.Space) []Param {
	var params []Param
	kernels := descending(s)
	for i, b := range s.Model.ConvBlocks(s.Whole())[1:] {
		for k, to := range kernels[1:] {
			params = append(params, Param{
				Name: transformName(b, kernels[k], to), Shape: []int{to * to, to * to}, Decay: true, Block: i, kernel: to, start: identity(to * to),
			})
		}
	}
	return params
}

// descending are the kernels from the supernet's own down.
func descending(s *space.Space) []int {
	kernels := slices.Sorted(slices.Values(append(slices.Clone(s.Kernel), s.Supernet.Kernel)))
	kernels = slices.Compact(kernels)
	slices.Reverse(kernels)
	return kernels
}

func transformName(b space.ConvBlock, from, to int) string {
	return fmt.Sprintf("%sconv_dw.%dto%d_matrix", convBlockName(b), from, to)
}

func identity(n int) initialiser {
	return func(values []float32, _ uint64, _ string) {
		for i := range n {
			values[i*n+i] = 1
		}
	}
}

func normal(deviation float64) initialiser {
	return func(values []float32, seed uint64, name string) {
		r := rng.New(seed, "init "+name)
		for i := range values {
			values[i] = float32(deviation * r.NormFloat64())
		}
	}
}

// Stats are the running statistics of an architecture's batch norms, mean and
// variance of each in the order of the graph, by timm's names. A vision
// transformer has none. They belong to one architecture: its batches have other
// statistics than those of another, though their weights are shared.
func Stats(m space.Model, a space.Arch) []Param {
	var stats []Param
	if !m.IsConv() {
		return nil
	}
	norm := func(name string, size int) {
		stats = append(stats,
			Param{Name: name + ".running_mean", Shape: []int{size}, Block: -1, start: zeros},
			Param{Name: name + ".running_var", Shape: []int{size}, Block: -1, start: ones})
	}
	norm("bn1", m.Conv.Stem)
	for _, b := range m.ConvBlocks(a) {
		name := convBlockName(b)
		if b.Expands {
			norm(name+"bn1", b.Hidden)
			norm(name+"bn2", b.Hidden)
			norm(name+"bn3", b.Out)
		} else {
			norm(name+"bn1", b.Hidden)
			norm(name+"bn2", b.Out)
		}
	}
	_, last := featuresNames(m)
	norm(last, m.Conv.Features)
	return stats
}
