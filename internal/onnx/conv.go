package onnx

import (
	"cmp"
	"fmt"
	"math"

	"prenas/pkg/space"
)

// conv builds the graph of a convolutional network. Activations are [batch, features,
// height, width]; package supernet has the same computation in its type of this name.
// Batch norms are folded into the convolutions before them.
type conv struct {
	*builder
	zero, six string // the limits of ReLU6
}

func (v *conv) build(images string) {
	m, c := v.model, v.model.Conv
	if c.Activation == space.ReLU6 {
		v.zero, v.six = v.constant("zero", []float32{0}), v.constant("six", []float32{6})
	}
	outside := func(x string) string { return v.activation(x, cmp.Or(c.Activation, space.HardSwish)) }
	x := outside(v.conv(images, convolution{
		name: "conv_stem", norm: "bn1", out: c.Stem, in: m.Channels, kernel: 3, stride: c.StemStride, shift: c.Shift(v.info.SpaceArch().Resolution, c.StemStride),
	}))
	blocks := m.ConvBlocks(v.info.SpaceArch())
	for _, b := range blocks {
		v.scope = fmt.Sprintf("blocks.%d.%d.", b.Unit+1, b.Layer)
		y := v.block(x, b)
		if b.Residual {
			y = v.op("Add", []string{x, y})
		}
		x = y
	}
	last := convolution{name: "conv_head", norm: "bn2", out: c.Features, in: blocks[len(blocks)-1].Out}
	v.scope = ""
	if c.Mix > 0 {
		v.scope = fmt.Sprintf("blocks.%d.0.", len(c.Units)+1)
		last.name, last.norm = "conv", "bn1"
	}
	x = outside(v.conv(x, last))
	v.scope = ""
	x = v.op("GlobalAveragePool", []string{x})
	if c.Mix > 0 {
		x = outside(v.conv(x, convolution{name: "conv_head", bias: c.MixBias, out: c.Mix, in: c.Features}))
	}
	v.linear(v.op("Flatten", []string{x}, integer("axis", 1)), "classifier", m.NumClasses, c.Pooled(), true)
}

// block without its residual connection.
func (v *conv) block(x string, b space.ConvBlock) string {
	act := func(x string) string { return v.activation(x, b.Activation) }
	depthwise := convolution{name: "conv_dw", norm: "bn2", out: b.Hidden, in: 1, kernel: b.Kernel, stride: b.Stride, groups: b.Hidden, shift: b.Shift}
	if !b.Expands {
		depthwise.norm = "bn1"
		return v.conv(v.squeezeExcite(act(v.conv(x, depthwise)), b), convolution{name: "conv_pw", norm: "bn2", out: b.Out, in: b.Hidden})
	}
	x = act(v.conv(x, convolution{name: "conv_pw", norm: "bn1", out: b.Hidden, in: b.In}))
	x = v.squeezeExcite(act(v.conv(x, depthwise)), b)
	return v.conv(x, convolution{name: "conv_pwl", norm: "bn3", out: b.Out, in: b.Hidden})
}

func (v *conv) squeezeExcite(x string, b space.ConvBlock) string {
	if b.Squeeze == 0 {
		return x
	}
	kind, middle := v.model.Conv.Squeeze, space.ReLU
	if kind != "" {
		middle = b.Activation
	}
	y := v.op("GlobalAveragePool", []string{x})
	y = v.activation(v.conv(y, convolution{name: "se.conv_reduce", bias: true, out: b.Squeeze, in: b.Hidden}), middle)
	y = v.conv(y, convolution{name: "se.conv_expand", bias: true, out: b.Hidden, in: b.Squeeze})
	if kind == space.SqueezeEfficientNet {
		y = v.op("Sigmoid", []string{y})
	} else {
		y = v.op("HardSigmoid", []string{y}, float("alpha", 1./6), float("beta", 0.5))
	}
	return v.op("Mul", []string{x, y})
}

// activation of a name of package space.
func (v *conv) activation(x, name string) string {
	switch name {
	case space.ReLU:
		return v.op("Relu", []string{x})
	case space.ReLU6:
		return v.op("Clip", []string{x, v.zero, v.six})
	case space.SiLU:
		return v.op("Mul", []string{x, v.op("Sigmoid", []string{x})})
	}
	return v.op("HardSwish", []string{x})
}

// convolution says which weight [out, in, kernel, kernel] a convolution has, with what
// behind it. Zero values of sizes are 1.
type convolution struct {
	name                   string
	norm                   string // name of the batch norm; empty: none
	bias                   bool   // of its own
	out, in                int    // in: of a group
	kernel, stride, groups int
	shift                  int // less padding before the image than half the kernel
}

// conv adds a convolution with padding of half its kernel.
func (v *conv) conv(x string, c convolution) string {
	c.kernel, c.stride, c.groups = max(1, c.kernel), max(1, c.stride), max(1, c.groups)
	w, bias := v.weight(c.name+".weight"), []float32(nil)
	if c.bias {
		bias = v.weight(c.name + ".bias")
	}
	if c.norm != "" {
		w, bias = v.folded(w, c.norm)
	}
	inputs := []string{x, v.kernel(c.name+".weight", w, c.out, c.in, c.kernel)}
	if bias != nil {
		inputs = append(inputs, v.constant(c.name+".bias", bias, c.out))
	}
	pad := c.kernel / 2
	return v.op("Conv", inputs, integers("kernel_shape", c.kernel, c.kernel), integers("strides", c.stride, c.stride),
		integers("pads", pad-c.shift, pad-c.shift, pad, pad), integer("group", c.groups))
}

// folded is a weight [out, ...] without bias and with the batch norm behind it, as a
// weight and a bias [out]:
//
//	(w·x - mean) / √(var + eps) · γ + β = (w·s)·x + (β - mean·s), s = γ / √(var + eps)
func (v *conv) folded(w []float32, norm string) (weight, bias []float32) {
	gamma, beta := v.weight(norm+".weight"), v.weight(norm+".bias")
	mean, variance := v.weight(norm+".running_mean"), v.weight(norm+".running_var")
	weight, bias = make([]float32, len(w)), make([]float32, len(beta))
	size := len(w) / len(beta)
	for o := range bias {
		scale := float64(gamma[o]) / math.Sqrt(float64(variance[o])+v.info.Architecture.NormEps)
		bias[o] = float32(float64(beta[o]) - float64(mean[o])*scale)
		for i := o * size; i < (o+1)*size; i++ {
			weight[i] = float32(float64(w[i]) * scale)
		}
	}
	return weight, bias
}
