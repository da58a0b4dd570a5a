package space

import "slices"

// ConvModel is what all architectures of a convolutional space have in common:
// the skeleton of MobileNetV3 as once-for-all slices it (Cai et al., ICLR 2020).
//
//	image ─ stem 3x3 ─ block of no expansion ─ units ─ 1x1 to Features ─ mean ─ 1x1 to Mix ─ classifier
//
// A unit is a few inverted residual blocks of one width; its first block has
// the unit's stride. What an architecture chooses is how many blocks a unit
// has, and the kernel and the expansion of each.
type ConvModel struct {
	Stem       int        `json:"stem"`
	StemStride int        `json:"stem_stride"`
	Units      []ConvUnit `json:"units"`
	Features   int        `json:"features"`  // width of the last convolution before the mean
	Mix        int        `json:"mix"`       // width of the layer between the mean and the classifier
	MixBias    bool       `json:"mix_bias"`  // timm's MobileNetV3 has a bias there, once-for-all none
	Transform  bool       `json:"transform"` // once-for-all's learned matrices between nested kernels
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
	c.Stem, c.Features, c.Mix = scale(c.Stem), scale(c.Features), scale(c.Mix)
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
	Squeeze         int  // features in the middle of squeeze-excite; 0 where there is none
	HSwish          bool // else ReLU
	Residual        bool
	Side            int // of the block's input, in pixels
}

// OutSide is the side of the block's output.
func (b ConvBlock) OutSide() int { return halved(b.Side, b.Stride) }

// halved is the side after a convolution with padding of half its kernel.
func halved(side, stride int) int { return (side + stride - 1) / stride }

// ConvBlocks lists the blocks of an architecture in their order, the one after
// the stem first.
func (m Model) ConvBlocks(a Arch) []ConvBlock {
	in := m.Conv.Stem
	blocks := []ConvBlock{{Unit: -1, In: in, Hidden: in, Out: in, Kernel: 3, Stride: 1, Residual: true, Side: halved(a.Resolution, m.Conv.StemStride)}}
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
		Unit: u, Layer: layer, In: this.Width, Out: this.Width, Expands: true, Kernel: choice.Kernel, Stride: 1, HSwish: this.HSwish, Side: sides[u+1],
	}
	if layer == 0 {
		b.Stride, b.In, b.Side = this.Stride, c.Stem, sides[u]
		if u > 0 {
			b.In = c.Units[u-1].Width
		}
	}
	b.Hidden = Divisible(choice.Expand*float64(b.In), 8)
	if this.SqueezeExcite {
		b.Squeeze = Divisible(float64(b.Hidden)/4, 8)
	}
	b.Residual = b.Stride == 1 && b.In == b.Out
	return b
}

// convSides are the sides of the input of each unit, and of the last one's
// output, at a resolution.
func (m Model) convSides(resolution int) []int {
	sides := []int{halved(resolution, m.Conv.StemStride)}
	for _, u := range m.Conv.Units {
		sides = append(sides, halved(sides[len(sides)-1], u.Stride))
	}
	return sides
}
