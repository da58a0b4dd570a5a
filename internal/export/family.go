package export

import (
	"fmt"
	"slices"

	"prenas/internal/printable"
	"prenas/pkg/space"
)

// Kinds of models.
const (
	kindViT  = "vit"
	kindConv = "conv"
)

// family is what kinds of models differ in; the rest of the package is the same for all.
type family interface {
	// model and arch are without what all kinds have.
	model() space.Model
	arch() space.Arch
	// check refuses what contradicts the architecture, and sizes that no tensor of
	// the file bounds.
	check(m space.Model, a space.Arch) error
}

func (a Architecture) family() family {
	if a.Conv != nil {
		return a.Conv
	}
	return a.ViT
}

// ViT is a vision transformer's part of an architecture.
type ViT struct {
	EmbedDim            int       `json:"embed_dim"`
	Depth               int       `json:"depth"`
	NumHeads            []int     `json:"num_heads"`  // per block
	MLPRatio            []float64 `json:"mlp_ratio"`  // per block
	MLPHidden           []int     `json:"mlp_hidden"` // per block: embed_dim · mlp_ratio, truncated
	HeadDim             int       `json:"head_dim"`
	PatchSize           int       `json:"patch_size"`
	RelativePosition    bool      `json:"relative_position"`
	MaxRelativePosition int       `json:"max_relative_position"`
	GlobalPool          bool      `json:"global_pool"`
	AbsPos              bool      `json:"abs_pos"`
	QKVBias             bool      `json:"qkv_bias"`

	Variant space.Variant `json:"variant,omitzero"` // what other training codes have
}

func newViT(m space.Model, a space.Arch) *ViT {
	v := &ViT{
		EmbedDim: a.EmbedDim, Depth: a.Depth(), NumHeads: a.NumHeads, MLPRatio: a.MLPRatio, HeadDim: m.HeadDim, PatchSize: m.PatchSize,
		RelativePosition: m.RelativePosition, MaxRelativePosition: m.MaxRelativePosition,
		GlobalPool: m.GlobalPool, AbsPos: m.AbsPos, QKVBias: m.QKVBias, Variant: m.Variant,
	}
	for _, ratio := range a.MLPRatio {
		v.MLPHidden = append(v.MLPHidden, space.Hidden(a.EmbedDim, ratio))
	}
	return v
}

func (v *ViT) model() space.Model {
	return space.Model{
		PatchSize: v.PatchSize, HeadDim: v.HeadDim,
		RelativePosition: v.RelativePosition, MaxRelativePosition: v.MaxRelativePosition,
		GlobalPool: v.GlobalPool, AbsPos: v.AbsPos, QKVBias: v.QKVBias, Variant: v.Variant,
	}
}

func (v *ViT) arch() space.Arch {
	return space.Arch{EmbedDim: v.EmbedDim, NumHeads: v.NumHeads, MLPRatio: v.MLPRatio}
}

// maxTokens bounds attention.
const maxTokens = 1<<14 + 1

func (v *ViT) check(m space.Model, a space.Arch) error {
	if v.Depth != a.Depth() {
		return fmt.Errorf("depth is %d, %s has %d", v.Depth, a, a.Depth())
	}
	if m.Tokens() > maxTokens {
		return fmt.Errorf("%s an image are more than %d", printable.Count(m.Tokens(), "token"), maxTokens)
	}
	if hidden := newViT(m, a).MLPHidden; !slices.Equal(v.MLPHidden, hidden) {
		return fmt.Errorf("mlp_hidden is %v, %s has %v", v.MLPHidden, a, hidden)
	}
	return nil
}

// Conv is a convolutional network's part of an architecture; space.ConvModel draws it.
// The block after the stem is as wide as the stem and has no choices.
type Conv struct {
	Stem       int    `json:"stem"` // features of the first convolution
	StemStride int    `json:"stem_stride"`
	Units      []Unit `json:"units"`
	Features   int    `json:"features"` // of the last convolution before the mean
	Mix        int    `json:"mix"`      // features between the mean and the classifier; 0: those of the mean
	MixBias    bool   `json:"mix_bias"`

	// What MobileNetV3-Large has not; see space.ConvModel.
	First      space.ConvFirst `json:"first,omitzero"`
	Activation string          `json:"activation,omitempty"`
	Squeeze    string          `json:"squeeze,omitempty"`
	Padding    string          `json:"padding,omitempty"`
}

// Unit is a few blocks of one width.
type Unit struct {
	Width         int     `json:"width"`
	Stride        int     `json:"stride"` // of the first block; the others have 1
	SqueezeExcite bool    `json:"squeeze_excite"`
	HSwish        bool    `json:"h_swish"` // else ReLU
	Blocks        []Block `json:"blocks"`
}

// Block is an inverted residual block.
type Block struct {
	Kernel  int     `json:"kernel"`
	Expand  float64 `json:"expand"`
	Hidden  int     `json:"hidden"`  // features: expand times those of the input, rounded to a multiple of 8
	Squeeze int     `json:"squeeze"` // features inside squeeze-excite; 0 where there is none
}

func newConv(m space.Model, a space.Arch) *Conv {
	c := &Conv{Stem: m.Conv.Stem, StemStride: m.Conv.StemStride, Features: m.Conv.Features, Mix: m.Conv.Mix, MixBias: m.Conv.MixBias,
		First: m.Conv.First, Activation: m.Conv.Activation, Squeeze: m.Conv.Squeeze, Padding: m.Conv.Padding}
	for _, u := range m.Conv.Units {
		c.Units = append(c.Units, Unit{Width: u.Width, Stride: u.Stride, SqueezeExcite: u.SqueezeExcite, HSwish: u.HSwish})
	}
	for _, b := range m.ConvBlocks(a)[1:] {
		layer := a.Units[b.Unit][b.Layer]
		c.Units[b.Unit].Blocks = append(c.Units[b.Unit].Blocks, Block{Kernel: layer.Kernel, Expand: layer.Expand, Hidden: b.Hidden, Squeeze: b.Squeeze})
	}
	return c
}

func (c *Conv) model() space.Model {
	m := space.Model{Conv: space.ConvModel{Stem: c.Stem, StemStride: c.StemStride, Features: c.Features, Mix: c.Mix, MixBias: c.MixBias,
		First: c.First, Activation: c.Activation, Squeeze: c.Squeeze, Padding: c.Padding}}
	for _, u := range c.Units {
		m.Conv.Units = append(m.Conv.Units, space.ConvUnit{Width: u.Width, Stride: u.Stride, SqueezeExcite: u.SqueezeExcite, HSwish: u.HSwish})
	}
	return m
}

func (c *Conv) arch() space.Arch {
	a := space.Arch{Units: make([][]space.ConvLayer, len(c.Units))}
	for u, unit := range c.Units {
		for _, b := range unit.Blocks {
			a.Units[u] = append(a.Units[u], space.ConvLayer{Kernel: b.Kernel, Expand: b.Expand})
		}
	}
	return a
}

// maxActivation bounds the features of an image, over all its pixels, of any block.
const maxActivation = 1 << 28

func (c *Conv) check(m space.Model, a space.Arch) error {
	for _, b := range m.ConvBlocks(a) {
		if n := b.Side * b.Side * b.Hidden; n > maxActivation {
			return fmt.Errorf("%s of an image of %s a side are more than %d", printable.Count(n, "feature"), printable.Count(a.Resolution, "pixel"), maxActivation)
		}
	}
	for u, unit := range newConv(m, a).Units {
		if has := c.Units[u].Blocks; !slices.Equal(has, unit.Blocks) {
			return fmt.Errorf("blocks (kernel, expand, hidden, squeeze) of unit %d are %v, %s has %v", u, has, a, unit.Blocks)
		}
	}
	return nil
}
