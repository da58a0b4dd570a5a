package job

import (
	"fmt"
	"strings"

	"prenas/pkg/space"
)

// shrinkableConv is the space whose supernet is a convolutional network. Its choices are a half,
// three quarters and all of the depth, all smaller odd kernels from 3 on, and a half, two thirds and
// all of the expansion. It is nil where units differ in depth or blocks in kernel or expansion, since
// those of a supernet do not.
func shrinkableConv(m space.Model, a space.Arch) (*space.Space, error) {
	depth, first := len(a.Units[0]), a.Units[0][0]
	for _, unit := range a.Units {
		for _, layer := range unit {
			if layer != first || len(unit) != depth {
				return nil, nil
			}
		}
	}
	s := &space.Space{Name: "imported", Model: m, ModelGiven: true, ClassesGiven: true, Resolution: []int{m.ImageSize}}
	s.Supernet = space.Supernet{Depth: depth, Kernel: first.Kernel, Expand: first.Expand}
	s.Depth = fractions(depth, 1, 1./2, 3./4)
	for kernel := 3; kernel <= first.Kernel; kernel += 2 {
		s.Kernel = append(s.Kernel, kernel)
	}
	s.Expand = []float64{first.Expand / 2, first.Expand * 2 / 3, first.Expand}
	return withIntervals(s)
}

// convSpaceText is spaceText of a convolutional space.
func convSpaceText(s *space.Space) string {
	var b strings.Builder
	c, m := s.Model.Conv, s.Model
	var width, stride, squeeze, swish []string
	for _, u := range c.Units {
		width, stride = append(width, fmt.Sprint(u.Width)), append(stride, fmt.Sprint(u.Stride))
		squeeze, swish = append(squeeze, fmt.Sprint(u.SqueezeExcite)), append(swish, fmt.Sprint(u.HSwish))
	}
	var expand []string
	for _, v := range s.Expand {
		expand = append(expand, decimal(v))
	}
	list := func(values []string) string { return "[" + strings.Join(values, ", ") + "]" }
	fmt.Fprintf(&b, "# Choices that shrink an imported model; change them freely, but not SUPERNET and MODEL.\nFAMILY: conv\n")
	fmt.Fprintf(&b, "SUPERNET: {DEPTH: %d, KERNEL: %d, EXPAND: %s}\n", s.Supernet.Depth, s.Supernet.Kernel, decimal(s.Supernet.Expand))
	fmt.Fprintf(&b, "SEARCH_SPACE:\n  DEPTH: %s\n  KERNEL: %s\n  EXPAND: %s\n", listText(s.Depth), listText(s.Kernel), list(expand))
	fmt.Fprintf(&b, "MODEL:\n  IMAGE_SIZE: %d\n  CHANNELS: %d\n  NUM_CLASSES: %d\n  STEM: %d\n  STEM_STRIDE: %d\n", m.ImageSize, m.Channels, m.NumClasses, c.Stem, c.StemStride)
	fmt.Fprintf(&b, "  WIDTH: %s\n  STRIDE: %s\n  SQUEEZE_EXCITE: %s\n  H_SWISH: %s\n", list(width), list(stride), list(squeeze), list(swish))
	fmt.Fprintf(&b, "  FEATURES: %d\n  MIX: %d\n  MIX_BIAS: %v\n", c.Features, c.Mix, c.MixBias)
	fmt.Fprintf(&b, "INTERVAL: {MIN: %s, MAX: %s, STEP: %s}\n", decimal(s.Interval.Min), decimal(s.Interval.Max), decimal(s.Interval.Step))
	return b.String()
}
