package space

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"prenas/internal/strictyaml"
)

// Families of a space file's FAMILY key; without one it is a vision transformer.
const (
	familyViT  = "vit"
	familyConv = "conv"
)

// familyOf a space file, which decides what keys it has.
func familyOf(doc *yaml.Node) (string, error) {
	if doc.Kind == yaml.MappingNode {
		for i := 0; i < len(doc.Content); i += 2 {
			if doc.Content[i].Value != "FAMILY" {
				continue
			}
			v := doc.Content[i+1]
			if v.Value != familyViT && v.Value != familyConv {
				return "", syntax(v, "FAMILY is %s; known are %s and %s", strictyaml.Kind(v), familyViT, familyConv)
			}
			return v.Value, nil
		}
	}
	return familyViT, nil
}

// convFile is what a convolutional space file says in another form than Space.
type convFile struct {
	width, stride         []int
	squeezeExcite, hSwish []bool
	multiplier            float64
}

// convFields are the keys of a convolutional space file; finish puts into the
// space what they say together.
func (s *Space) convFields() (fields []field, finish func() error) {
	s.Model = DefaultConvModel()
	m, c, super, f := &s.Model, &s.Model.Conv, &s.Supernet, &convFile{multiplier: 1}
	for _, u := range c.Units {
		f.width, f.stride = append(f.width, u.Width), append(f.stride, u.Stride)
		f.squeezeExcite, f.hSwish = append(f.squeezeExcite, u.SqueezeExcite), append(f.hSwish, u.HSwish)
	}
	return []field{
		required("SUPERNET", inBlock("SUPERNET",
			required("DEPTH", scalar(&super.Depth)),
			required("KERNEL", scalar(&super.Kernel)),
			required("EXPAND", scalar(&super.Expand)),
			optional("ARCH", s.blocksOf))),
		required("SEARCH_SPACE", inBlock("SEARCH_SPACE",
			required("DEPTH", list(&s.Depth)),
			required("KERNEL", list(&s.Kernel)),
			required("EXPAND", list(&s.Expand)),
			optional("RESOLUTION", list(&s.Resolution)))),
		optional("MODEL", noting(&s.ModelGiven, inBlock("MODEL",
			optional("IMAGE_SIZE", scalar(&m.ImageSize)),
			optional("CHANNELS", scalar(&m.Channels)),
			optional("NUM_CLASSES", noting(&s.ClassesGiven, scalar(&m.NumClasses))),
			optional("STEM", scalar(&c.Stem)),
			optional("STEM_STRIDE", scalar(&c.StemStride)),
			optional("WIDTH", list(&f.width)),
			optional("STRIDE", list(&f.stride)),
			optional("SQUEEZE_EXCITE", list(&f.squeezeExcite)),
			optional("H_SWISH", list(&f.hSwish)),
			optional("FEATURES", scalar(&c.Features)),
			optional("MIX", scalar(&c.Mix)),
			optional("MIX_BIAS", scalar(&c.MixBias)),
			optional("FIRST_WIDTH", scalar(&c.First.Width)),
			optional("FIRST_STRIDE", scalar(&c.First.Stride)),
			optional("FIRST_SQUEEZE_EXCITE", scalar(&c.First.SqueezeExcite)),
			optional("FIRST_NO_SKIP", scalar(&c.First.NoSkip)),
			optional("ACTIVATION", word(&c.Activation, convActivations)),
			optional("SQUEEZE", word(&c.Squeeze, convSqueezes)),
			optional("PADDING", word(&c.Padding, convPaddings)),
			optional("KERNEL_TRANSFORM", scalar(&c.Transform)),
			optional("WIDTH_MULT", scalar(&f.multiplier))))),
	}, func() error { return s.finishConv(f) }
}

// OtherKeys of MODEL are those in which a model differs from MobileNetV3-Large.
func (c ConvModel) OtherKeys() (keys []KeyValue) {
	add := func(on bool, key string, value any) {
		if on {
			keys = append(keys, KeyValue{key, fmt.Sprint(value)})
		}
	}
	add(c.First.Width != 0, "FIRST_WIDTH", c.First.Width)
	add(c.First.Stride != 0, "FIRST_STRIDE", c.First.Stride)
	add(c.First.SqueezeExcite, "FIRST_SQUEEZE_EXCITE", true)
	add(c.First.NoSkip, "FIRST_NO_SKIP", true)
	add(c.Activation != "", "ACTIVATION", c.Activation)
	add(c.Squeeze != "", "SQUEEZE", c.Squeeze)
	add(c.Padding != "", "PADDING", c.Padding)
	return keys
}

// blocksOf reads SUPERNET.ARCH, the name of the supernet as an architecture, whose resolution is
// MODEL.IMAGE_SIZE, and may say otherwise.
func (s *Space) blocksOf(name string, n *yaml.Node) error {
	a, err := ParseArch(n.Value)
	if err != nil || !a.IsConv() {
		return syntax(n, "%s is %s; it must be the name of a convolutional architecture", name, strictyaml.Kind(n))
	}
	s.Blocks = a.Units
	return nil
}

// maxMultiplier bounds WIDTH_MULT.
const maxMultiplier = 16

func (s *Space) finishConv(f *convFile) error {
	n := len(f.width)
	for _, l := range []struct {
		key string
		len int
	}{{"STRIDE", len(f.stride)}, {"SQUEEZE_EXCITE", len(f.squeezeExcite)}, {"H_SWISH", len(f.hSwish)}} {
		if l.len != n || n == 0 {
			return impossible("MODEL.WIDTH has %d units and %s %d; each needs a value for every unit", n, l.key, l.len)
		}
	}
	if !(f.multiplier > 0 && f.multiplier <= maxMultiplier) {
		return impossible("MODEL.WIDTH_MULT is %v; it must be above 0 and at most %d", f.multiplier, maxMultiplier)
	}
	c := s.Model.Conv
	c.Units = make([]ConvUnit, n)
	for i := range c.Units {
		c.Units[i] = ConvUnit{Width: f.width[i], Stride: f.stride[i], SqueezeExcite: f.squeezeExcite[i], HSwish: f.hSwish[i]}
	}
	s.Model.Conv = c
	if err := s.Model.validateConv(); err != nil {
		return err
	}
	if f.multiplier != 1 {
		s.Model.Conv = c.scaled(f.multiplier)
	}
	if s.Resolution == nil {
		s.Resolution = []int{s.Model.ImageSize}
	}
	if largest := slices.Max(s.Resolution); largest != s.Model.ImageSize {
		return impossible("the largest RESOLUTION is %d; it must be MODEL.IMAGE_SIZE, %d", largest, s.Model.ImageSize)
	}
	return nil
}
