package job

import (
	"fmt"
	"math"
	"strings"

	"prenas/pkg/space"
)

// shrinkableConv is the space whose supernet is a convolutional network. Its blocks may have smaller
// kernels, and half or all of their expansions; units of three blocks and more may have half or all
// of them. More choices would make more totals than the exact search goes through in a minute.
func shrinkableConv(m space.Model, a space.Arch) (*space.Space, error) {
	s := &space.Space{Name: "imported", Model: m, ModelGiven: true, ClassesGiven: true, Resolution: []int{m.ImageSize}}
	alike, smallest := true, a.Units[0][0].Kernel
	for _, unit := range a.Units {
		if s.Depth = append(s.Depth, len(unit)); len(unit) > 2 {
			s.Depth = append(s.Depth, (len(unit)+1)/2)
		}
		s.Supernet.Depth = max(s.Supernet.Depth, len(unit))
		for _, layer := range unit {
			alike = alike && layer == a.Units[0][0] && len(unit) == len(a.Units[0])
			smallest = min(smallest, layer.Kernel)
			s.Supernet.Kernel, s.Supernet.Expand = max(s.Supernet.Kernel, layer.Kernel), max(s.Supernet.Expand, layer.Expand)
			s.Expand = append(s.Expand, layer.Expand, math.Max(1, math.Round(layer.Expand))/2)
		}
	}
	for kernel := min(3, smallest); kernel <= s.Supernet.Kernel; kernel += 2 {
		s.Kernel = append(s.Kernel, kernel)
	}
	s.Depth, s.Expand = each(s.Depth), each(s.Expand)
	if !alike {
		s.Blocks = a.Units
	}
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
	arch := "" // of blocks that differ
	if s.Blocks != nil {
		arch = ", ARCH: " + s.Whole().String()
	}
	fmt.Fprintf(&b, "SUPERNET: {DEPTH: %d, KERNEL: %d, EXPAND: %s%s}\n", s.Supernet.Depth, s.Supernet.Kernel, decimal(s.Supernet.Expand), arch)
	fmt.Fprintf(&b, "SEARCH_SPACE:\n  DEPTH: %s\n  KERNEL: %s\n  EXPAND: %s\n", listText(s.Depth), listText(s.Kernel), list(expand))
	fmt.Fprintf(&b, "MODEL:\n  IMAGE_SIZE: %d\n  CHANNELS: %d\n  NUM_CLASSES: %d\n  STEM: %d\n  STEM_STRIDE: %d\n", m.ImageSize, m.Channels, m.NumClasses, c.Stem, c.StemStride)
	fmt.Fprintf(&b, "  WIDTH: %s\n  STRIDE: %s\n  SQUEEZE_EXCITE: %s\n  H_SWISH: %s\n", list(width), list(stride), list(squeeze), list(swish))
	fmt.Fprintf(&b, "  FEATURES: %d\n  MIX: %d\n  MIX_BIAS: %v\n", c.Features, c.Mix, c.MixBias)
	for _, v := range c.OtherKeys() {
		fmt.Fprintf(&b, "  %s: %s\n", v.Key, v.Value)
	}
	fmt.Fprintf(&b, "INTERVAL: {MIN: %s, MAX: %s, STEP: %s}\n", decimal(s.Interval.Min), decimal(s.Interval.Max), decimal(s.Interval.Step))
	return b.String()
}
