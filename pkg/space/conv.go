package space

import (
	"cmp"
	"slices"
)

// ConvModel is what all architectures of a convolutional space have in common:
// the skeleton of MobileNetV3 as once-for-all slices it (Cai et al., ICLR 2020).
//
//	image ─ stem 3x3 ─ block of no expansion ─ units ─ 1x1 to Features ─ mean ─ 1x1 to Mix ─ classifier
//
// or that of MobileNetV2 and EfficientNet, which differ from it in First, Mix, Activation, Squeeze
// and Padding. A unit is a few inverted residual blocks of one width; its first block has
// the unit's stride. What an architecture chooses is how many blocks a unit
// has, and the kernel and the expansion of each.
type ConvModel struct {
	Stem       int        `json:"stem"`
	StemStride int        `json:"stem_stride"`
	Units      []ConvUnit `json:"units"`
	Features   int        `json:"features"`  // width of the last convolution before the mean
	Mix        int        `json:"mix"`       // width of the layer between the mean and the classifier; 0: there is none
	MixBias    bool       `json:"mix_bias"`  // timm's MobileNetV3 has a bias there, once-for-all none
	Transform  bool       `json:"transform"` // once-for-all's learned matrices between nested kernels

	First      ConvFirst `json:"first,omitzero"`
	Activation string    `json:"activation,omitempty"` // of all layers, one of ConvActivations; empty: MobileNetV3's
	Squeeze    string    `json:"squeeze,omitempty"`    // which squeeze-excite there is, SqueezeRW or SqueezeEfficientNet; empty: MobileNetV3's
	Padding    string    `json:"padding,omitempty"`    // PaddingSame, or half the kernel on every side
}

// ConvFirst is the block between the stem and the units, which does not expand.
type ConvFirst struct {
	Width         int  `json:"width,omitempty"`  // 0: the stem's
	Stride        int  `json:"stride,omitempty"` // 0: 1
	SqueezeExcite bool `json:"squeeze_excite,omitempty"`
	NoSkip        bool `json:"no_skip,omitempty"` // no residual connection around it, where strides and widths would allow one
}

// What convolutional networks of other skeletons than once-for-all's have.
const (
	// Activations beside ReLU and SiLU, which EfficientNet has.
	ReLU6     = "relu6"      // min(max(x, 0), 6), of MobileNetV2 and EfficientNet-lite
	HardSwish = "hard_swish" // x · min(max(x + 3, 0), 6) / 6

	// SqueezeRW is of timm's mobilenetv3_rw: exactly a quarter of the hidden features, with the
	// activation of the block in the middle.
	SqueezeRW = "rw"
	// SqueezeEfficientNet has exactly a quarter of the block's input features, the activation of the
	// block in the middle, and the sigmoid as its gate.
	SqueezeEfficientNet = "efficientnet"

	// PaddingSame is TensorFlow's: of the zeros that a convolution of stride 2 needs, the odd one is
	// behind the image.
	PaddingSame = "same"
)

// ConvActivations are the values of ConvModel.Activation.
func ConvActivations() []string { return slices.Clone(convActivations[1:]) }

// Values of the keys of a space file that are words; the first is that of the zero value.
var (
	convActivations = []string{"mobilenetv3", ReLU, ReLU6, SiLU, HardSwish}
	convSqueezes    = []string{"mobilenetv3", SqueezeRW, SqueezeEfficientNet}
	convPaddings    = []string{"symmetric", PaddingSame}
)

// FirstWidth are the features of the block after the stem.
func (c ConvModel) FirstWidth() int { return cmp.Or(c.First.Width, c.Stem) }

// Pooled are the features that the classifier takes.
func (c ConvModel) Pooled() int { return cmp.Or(c.Mix, c.Features) }

// Squeezed are the features in the middle of the squeeze-excite of a block of so many features.
func (c ConvModel) Squeezed(in, hidden int) int {
	switch c.Squeeze {
	case SqueezeRW:
		return max(1, hidden/4)
	case SqueezeEfficientNet:
		return max(1, in/4)
	}
	return Divisible(float64(hidden)/4, 8)
}

// ConvUnit is one unit: the features of its blocks, the stride of the first of
// them, and what MobileNetV3 has in some units only.
type ConvUnit struct {
	Width         int  `json:"width"`
	Stride        int  `json:"stride"`
	SqueezeExcite bool `json:"squeeze_excite"`
	HSwish        bool `json:"h_swish"` // else ReLU
}

// ConvLayer is what an architecture chooses for one block.
type ConvLayer struct {
	Kernel int     `json:"kernel"`
	Expand float64 `json:"expand"` // hidden features over those of the input
}

// DefaultConvModel is once-for-all's MobileNetV3 at width 1.
func DefaultConvModel() Model {
	return Model{
		ImageSize: 224, Channels: 3, NumClasses: 1000,
		Conv: ConvModel{
			Stem: 16, StemStride: 2,
			Units: []ConvUnit{
				{Width: 24, Stride: 2}, {Width: 40, Stride: 2, SqueezeExcite: true}, {Width: 80, Stride: 2, HSwish: true},
				{Width: 112, Stride: 1, SqueezeExcite: true, HSwish: true}, {Width: 160, Stride: 2, SqueezeExcite: true, HSwish: true},
			},
			Features: 960, Mix: 1280,
		},
	}
}

// Divisible rounds a number of features to the nearest multiple of by, but never
// below nine tenths of it, as all MobileNets do.
func Divisible(v float64, by int) int {
	n := max(by, int(v+float64(by)/2)/by*by)
	if float64(n) < 0.9*v {
		n += by
	}
	return n
}

// scaled is the model with all its features times a width multiplier.
func (c ConvModel) scaled(by float64) ConvModel {
	scale := func(v int) int { return Divisible(by*float64(v), 8) }
	c.Stem, c.Features = scale(c.Stem), scale(c.Features)
	if c.Mix > 0 {
		c.Mix = scale(c.Mix)
	}
	if c.First.Width > 0 {
		c.First.Width = scale(c.First.Width)
	}
	c.Units = slices.Clone(c.Units)
	for i := range c.Units {
		c.Units[i].Width = scale(c.Units[i].Width)
	}
	return c
}

// ConvBlock is one block of an architecture with all that its graph needs.
type ConvBlock struct {
	Unit, Layer     int // -1, 0 is the block after the stem
	In, Hidden, Out int
	Expands         bool // the 1x1 from In to Hidden is there; not in the block after the stem
	Kernel, Stride  int
	Squeeze         int    // features in the middle of squeeze-excite; 0 where there is none
	Activation      string // one of ConvActivations
	Residual        bool
	Side            int // of the block's input, in pixels
	Shift           int // pixels by which the depthwise convolution looks further than with padding on every side
}

// OutSide is the side of the block's output.
func (b ConvBlock) OutSide() int { return halved(b.Side, b.Stride) }

// halved is the side after a convolution with padding of half its kernel.
func halved(side, stride int) int { return (side + stride - 1) / stride }

// firstBlock is the block after the stem.
func (m Model) firstBlock(resolution int) ConvBlock {
	c := m.Conv
	b := ConvBlock{
		Unit: -1, In: c.Stem, Hidden: c.Stem, Out: c.FirstWidth(), Kernel: 3, Stride: max(1, c.First.Stride),
		Activation: cmp.Or(c.Activation, ReLU), Side: halved(resolution, c.StemStride),
	}
	if c.First.SqueezeExcite {
		b.Squeeze = c.Squeezed(b.In, b.Hidden)
	}
	b.Residual = b.Stride == 1 && b.In == b.Out && !c.First.NoSkip
	b.Shift = c.Shift(b.Side, b.Stride)
	return b
}

// Shift is by how many pixels a convolution looks further to the right and below than with padding of
// half its kernel on every side: one, where the padding is TensorFlow's, the stride 2 and the side even.
func (c ConvModel) Shift(side, stride int) int {
	if c.Padding == PaddingSame && stride == 2 && side%2 == 0 {
		return 1
	}
	return 0
}

// ConvBlocks lists the blocks of an architecture in their order, the one after
// the stem first.
func (m Model) ConvBlocks(a Arch) []ConvBlock {
	blocks := []ConvBlock{m.firstBlock(a.Resolution)}
	for u, layers := range a.Units {
		for l, layer := range layers {
			blocks = append(blocks, m.ConvBlock(a.Resolution, u, l, layer))
		}
	}
	return blocks
}

// ConvBlock is a block of a unit at a resolution, whatever the other layers.
func (m Model) ConvBlock(resolution, unit, layer int, choice ConvLayer) ConvBlock {
	c, u, sides := m.Conv, unit, m.convSides(resolution)
	this := c.Units[u]
	b := ConvBlock{
		Unit: u, Layer: layer, In: this.Width, Out: this.Width, Expands: true, Kernel: choice.Kernel, Stride: 1, Side: sides[u+1],
		Activation: cmp.Or(c.Activation, ReLU),
	}
	if this.HSwish {
		b.Activation = HardSwish
	}
	if layer == 0 {
		b.Stride, b.In, b.Side = this.Stride, c.FirstWidth(), sides[u]
		if u > 0 {
			b.In = c.Units[u-1].Width
		}
	}
	b.Hidden = Divisible(choice.Expand*float64(b.In), 8)
	if this.SqueezeExcite {
		b.Squeeze = c.Squeezed(b.In, b.Hidden)
	}
	b.Residual = b.Stride == 1 && b.In == b.Out
	b.Shift = c.Shift(b.Side, b.Stride)
	return b
}

// convSides are the sides of the input of each unit, and of the last one's
// output, at a resolution.
func (m Model) convSides(resolution int) []int {
	sides := []int{halved(halved(resolution, m.Conv.StemStride), max(1, m.Conv.First.Stride))}
	for _, u := range m.Conv.Units {
		sides = append(sides, halved(sides[len(sides)-1], u.Stride))
	}
	return sides
}
