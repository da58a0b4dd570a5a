package pretrained

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"prenas/internal/input"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// convFamilies are convolutional networks, by timm's names for MobileNetV3 after the renames.
// Blocks are blocks.S.L of any S and L, in their order.
var convFamilies = []family{
	{name: "MobileNetV3 of timm", sign: "conv_stem.weight", eps: 1e-5, conv: true},
	{name: "MobileNetV3 of torchvision", sign: "features.0.0.weight", eps: 1e-3, conv: true},
	{name: "once-for-all", sign: "first_conv.conv.weight", eps: 1e-5, conv: true, renames: []rename{
		{`^first_conv\.conv\.`, "conv_stem."}, {`^first_conv\.bn\.`, "bn1."},
		{`^blocks\.(\d+)\.(?:conv|mobile_inverted_conv)\.`, "blocks.$1.0."},
		{`^blocks\.0\.0\.depth_conv\.bn\.`, "blocks.0.0.bn1."},
		{`^blocks\.0\.0\.point_linear\.conv\.`, "blocks.0.0.conv_pw."}, {`^blocks\.0\.0\.point_linear\.bn\.`, "blocks.0.0.bn2."},
		{`\.inverted_bottleneck\.(?:conv\.)+`, ".conv_pw."}, {`\.inverted_bottleneck\.(?:bn\.)+`, ".bn1."},
		{`\.depth_conv\.se\.fc\.`, ".se.conv_"},
		{`\.depth_conv\.(?:conv\.)+`, ".conv_dw."}, {`\.depth_conv\.(?:bn\.)+`, ".bn2."},
		{`\.point_linear\.(?:conv\.)+`, ".conv_pwl."}, {`\.point_linear\.(?:bn\.)+`, ".bn3."},
		{`^final_expand_layer\.conv\.`, "last.conv."}, {`^final_expand_layer\.bn\.`, "last.bn1."},
		{`^feature_mix_layer\.conv\.`, "conv_head."}, {`^classifier\.linear\.`, "classifier."},
	}},
	// It is refused, by what ours have not.
	{name: "EfficientNet of efficientnet-pytorch", sign: "_conv_stem.weight", eps: 1e-3, conv: true, renames: []rename{
		{`^_conv_stem\.`, "conv_stem."}, {`^_bn0\.`, "bn1."}, {`^_conv_head\.`, "conv_head."}, {`^_bn1\.`, "bn2."}, {`^_fc\.`, "classifier."},
		{`^_blocks\.0\._bn(\d)\.`, "blocks.0.0.bn$1."}, {`^_blocks\.0\._project_conv\.`, "blocks.0.0.conv_pw."},
		{`^_blocks\.(\d+)\._expand_conv\.`, "blocks.$1.0.conv_pw."}, {`^_blocks\.(\d+)\._depthwise_conv\.`, "blocks.$1.0.conv_dw."},
		{`^_blocks\.(\d+)\._project_conv\.`, "blocks.$1.0.conv_pwl."},
		{`^_blocks\.(\d+)\._bn0\.`, "blocks.$1.0.bn1."}, {`^_blocks\.(\d+)\._bn1\.`, "blocks.$1.0.bn2."}, {`^_blocks\.(\d+)\._bn2\.`, "blocks.$1.0.bn3."},
		{`^_blocks\.(\d+)\._se_(reduce|expand)\.`, "blocks.$1.0.se.conv_$2."},
	}},
}

var (
	convBlockName  = regexp.MustCompile(`^blocks\.(\d+)\.(\d+)\.(.+)$`)
	kernelMatrix   = regexp.MustCompile(`\d+to\d+_matrix$`)
	torchvisionOne = regexp.MustCompile(`^features\.(\d+)\.block\.(\d+)\.(0|1|fc1|fc2)\.(.+)$`)
)

// torchvisionNames brings torchvision's names to timm's. What a part of a block is depends on
// the parts beside it.
func torchvisionNames(own map[string]tensorfile.Tensor) map[string]tensorfile.Tensor {
	out := map[string]tensorfile.Tensor{}
	outside := renamer([]rename{ // of blocks
		{`^features\.0\.0\.`, "conv_stem."}, {`^features\.0\.1\.`, "bn1."},
		{`^features\.\d+\.0\.`, "last.conv."}, {`^features\.\d+\.1\.`, "last.bn1."},
		{`^classifier\.0\.`, "conv_head."}, {`^classifier\.3\.`, "classifier."},
	})
	for name, t := range own {
		if match := torchvisionOne.FindStringSubmatch(name); match != nil {
			part, _ := strconv.Atoi(match[2])
			w := own["features."+match[1]+".block.0.0.weight"]
			plain := len(w.Shape) == 4 && w.Shape[1] == 1 // no 1x1 convolution comes first
			convs, norms := []string{"conv_pw", "conv_dw", "conv_pwl"}, []string{"bn1", "bn2", "bn3"}
			if plain {
				convs, norms = []string{"conv_dw", "conv_pw"}, []string{"bn1", "bn2"}
			}
			squeeze := strings.HasPrefix(match[3], "fc")
			if _, before := own[fmt.Sprintf("features.%s.block.%d.fc1.weight", match[1], part-1)]; before {
				part--
			}
			switch {
			case squeeze:
				name = "se.conv_" + map[string]string{"fc1": "reduce", "fc2": "expand"}[match[3]]
			case part >= len(convs):
				out[name] = t
				continue
			case match[3] == "0":
				name = convs[part]
			default:
				name = norms[part]
			}
			name = "blocks." + match[1] + ".0." + name + "." + match[4]
		} else {
			name = outside(name)
		}
		out[name] = t
	}
	return out
}

// MobileNetV3-Large's units, which once-for-all has too: with their squeeze-excite, they tell
// the strides and activations that no tensor shows.
var largeUnits = space.DefaultConvModel().Conv.Units

// convolutional builds a convolutional network.
func (f *foreign) convolutional() error {
	if strings.HasPrefix(f.family.name, "MobileNetV3 of torch") {
		f.own = torchvisionNames(f.own)
	}
	// timm's last convolution is the only block of a last stage.
	own := map[string]tensorfile.Tensor{}
	for name, t := range f.own {
		if match := convBlockName.FindStringSubmatch(name); match != nil && f.has("blocks."+match[1]+".0.conv.weight") {
			name = "last." + match[3]
		}
		own[name] = t
	}
	f.own = own
	blocks := map[[2]int]map[string]tensorfile.Tensor{}
	var order [][2]int
	for name, t := range f.own {
		if match := convBlockName.FindStringSubmatch(name); match != nil {
			s, _ := strconv.Atoi(match[1])
			l, _ := strconv.Atoi(match[2])
			at := [2]int{s, l}
			if blocks[at] == nil {
				blocks[at], order = map[string]tensorfile.Tensor{}, append(order, at)
			}
			blocks[at][match[3]] = t
		}
	}
	slices.SortFunc(order, func(a, b [2]int) int { return cmp.Or(a[0]-b[0], a[1]-b[1]) })
	for i := 1; i < len(order); i++ {
		before, at := order[i-1], order[i]
		if next := [2]int{before[0] + 1, 0}; at != next && at != [2]int{before[0], before[1] + 1} {
			return fmt.Errorf("%w: block %d.%d comes after %d.%d: one between them is missing", ErrFile, at[0], at[1], before[0], before[1])
		}
	}
	if err := f.convMissing(order, blocks); err != nil {
		return err
	}
	m := space.DefaultConvModel()
	c := &m.Conv
	stem := f.shape("conv_stem.weight", 4)
	c.Stem, m.Channels = stem[0], stem[1]
	f.copy("conv_stem.weight", c.Stem, m.Channels, 3, 3)
	f.batchNorm("bn1", "bn1", c.Stem)
	var a space.Arch
	in := c.Stem
	c.Units = nil
	for i, at := range order {
		from := func(part string) string { return fmt.Sprintf("blocks.%d.%d.%s", at[0], at[1], part) }
		if i == 0 {
			f.copyTo(from("conv_dw.weight"), "blocks.0.0.conv_dw.weight", in, 1, 3, 3)
			f.batchNorm(from("bn1"), "blocks.0.0.bn1", in)
			f.copyTo(from("conv_pw.weight"), "blocks.0.0.conv_pw.weight", in, in, 1, 1)
			f.batchNorm(from("bn2"), "blocks.0.0.bn2", in)
			continue
		}
		kernel, out := f.shape(from("conv_dw.weight"), 4), f.shape(from("conv_pwl.weight"), 4)[0]
		hidden, squeezes := kernel[0], f.has(from("se.conv_reduce.weight"))
		if n := len(c.Units); n == 0 || c.Units[n-1].Width != out || c.Units[n-1].SqueezeExcite != squeezes {
			c.Units = append(c.Units, space.ConvUnit{Width: out, SqueezeExcite: squeezes})
			a.Units = append(a.Units, nil)
		}
		if f.err != nil {
			return f.err
		}
		u := len(c.Units) - 1
		to := func(part string) string { return fmt.Sprintf("blocks.%d.%d.%s", u+1, len(a.Units[u]), part) }
		f.copyTo(from("conv_pw.weight"), to("conv_pw.weight"), hidden, in, 1, 1)
		f.batchNorm(from("bn1"), to("bn1"), hidden)
		f.copyTo(from("conv_dw.weight"), to("conv_dw.weight"), hidden, 1, kernel[2], kernel[2])
		f.batchNorm(from("bn2"), to("bn2"), hidden)
		if squeezes {
			middle := space.Divisible(float64(hidden)/4, 8)
			f.copyTo(from("se.conv_reduce.weight"), to("se.conv_reduce.weight"), middle, hidden, 1, 1)
			f.copyTo(from("se.conv_reduce.bias"), to("se.conv_reduce.bias"), middle)
			f.copyTo(from("se.conv_expand.weight"), to("se.conv_expand.weight"), hidden, middle, 1, 1)
			f.copyTo(from("se.conv_expand.bias"), to("se.conv_expand.bias"), hidden)
		}
		f.copyTo(from("conv_pwl.weight"), to("conv_pwl.weight"), out, hidden, 1, 1)
		f.batchNorm(from("bn3"), to("bn3"), out)
		a.Units[u] = append(a.Units[u], space.ConvLayer{Kernel: kernel[2], Expand: expansionOf(in, hidden)})
		in = out
	}
	if f.err != nil {
		return f.err
	}
	if err := f.strides(c); err != nil {
		return err
	}
	c.Features = f.shape("last.conv.weight", 4)[0]
	last := fmt.Sprintf("blocks.%d.0.", len(c.Units)+1)
	f.copyTo("last.conv.weight", last+"conv.weight", c.Features, in, 1, 1)
	f.batchNorm("last.bn1", last+"bn1", c.Features)
	m.NumClasses = f.shape("classifier.weight", 2)[0]
	c.Mix = f.shape("classifier.weight", 2)[1]
	f.copyTo("conv_head.weight", "conv_head.weight", c.Mix, c.Features, 1, 1)
	if c.MixBias = f.has("conv_head.bias"); c.MixBias {
		f.copy("conv_head.bias", c.Mix)
	}
	f.copy("classifier.weight", m.NumClasses, c.Mix)
	f.put("classifier.bias", f.bias("classifier.bias", m.NumClasses), m.NumClasses)
	if f.err != nil {
		return f.err
	}
	if m.ImageSize = cmp.Or(f.hints.ImageSize, f.config.imageSize); m.ImageSize == 0 {
		m.ImageSize = 224
		f.assume("images of 224 pixels (%v)", input.ImageSize)
	}
	a.Resolution = m.ImageSize
	if err := m.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	if n := f.matrices(); n > 0 {
		f.m.Notes = append(f.m.Notes, fmt.Sprintf("%d matrices between kernels are left out: the whole does not use them, and smaller kernels begin as the middle of its own", n))
	}
	return f.finish(m, a)
}

// matrices leaves out once-for-all's matrices between kernels, and counts them.
func (f *foreign) matrices() (n int) {
	for _, name := range slices.Sorted(maps.Keys(f.own)) {
		if kernelMatrix.MatchString(name) {
			f.m.LeftOut, n = append(f.m.LeftOut, name), n+1
		}
	}
	return n
}

// copyTo takes a tensor as it is, by another name.
func (f *foreign) copyTo(from, to string, shape ...int) {
	f.put(to, f.values(from, false, shape...), shape...)
}

// convEps is the epsilon of our batch norms, torch's.
const convEps = 1e-5

// batchNorm takes a batch norm with its statistics. One of another epsilon than ours has it in
// its variance: (var + eps - ours) + ours.
func (f *foreign) batchNorm(from, to string, size int) {
	for _, part := range []string{".weight", ".bias", ".running_mean"} {
		f.copyTo(from+part, to+part, size)
	}
	variance := slices.Clone(f.values(from+".running_var", false, size))
	for i := range variance {
		variance[i] = float32(float64(variance[i]) + f.eps() - convEps)
		if !(variance[i] >= 0) && f.err == nil {
			f.fail("tensor %q has a variance that epsilon %v leaves no root (%v)", from+".running_var", f.eps(), input.NormEps)
		}
	}
	f.put(to+".running_var", variance, size)
}

// eps of the batch norms.
func (f *foreign) eps() float64 { return cmp.Or(f.hints.NormEps, f.config.eps, f.family.eps) }

// expansionOf is the shortest ratio whose hidden width is the given one.
func expansionOf(in, hidden int) float64 {
	exact := float64(hidden) / float64(in)
	for scale := 1.0; scale < 1e6; scale *= 10 {
		for _, r := range []float64{math.Round(exact*scale) / scale, math.Ceil(exact*scale) / scale} {
			if space.Divisible(r*float64(in), 8) == hidden {
				return r
			}
		}
	}
	return exact
}

// strides are what no tensor shows: those of MobileNetV3-Large, where the units are its.
func (f *foreign) strides(c *space.ConvModel) error {
	squeezes := func(units []space.ConvUnit) (list []bool) {
		for _, u := range units {
			list = append(list, u.SqueezeExcite)
		}
		return list
	}
	if !slices.Equal(squeezes(c.Units), squeezes(largeUnits)) {
		return fmt.Errorf("%w: the strides and activations of its %d units are not in the file, and only those of MobileNetV3-Large and once-for-all are known (five units, of which the second, the fourth and the fifth have squeeze-excite)", ErrFile, len(c.Units))
	}
	for i, u := range largeUnits {
		c.Units[i].Stride, c.Units[i].HSwish = u.Stride, u.HSwish
	}
	f.assume("strides and activations of MobileNetV3-Large, with padding on all sides")
	if f.hints.NormEps == 0 && f.config.eps == 0 {
		f.assume("batch norms of epsilon %v (%v)", f.family.eps, input.NormEps)
	}
	return nil
}

// convMissing refuses a network with what ours have not, naming all of it.
func (f *foreign) convMissing(order [][2]int, blocks map[[2]int]map[string]tensorfile.Tensor) error {
	lacks := slices.Clone(f.config.missing)
	add := func(on bool, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); on && !slices.Contains(lacks, text) {
			lacks = append(lacks, text)
		}
	}
	dims := func(name string) []int {
		if s := f.own[name].Shape; len(s) == 4 {
			return s
		}
		return make([]int, 4)
	}
	add(strings.HasPrefix(f.config.arch, "tf_"), "padding on one side, as TensorFlow has it")
	stem := dims("conv_stem.weight")
	add(stem[2] != 3 || stem[3] != 3, "a stem of another kernel than 3 x 3")
	add(f.has("bn2.weight"), "a norm behind the last layer before the classifier, and no layer that mixes features after the mean (EfficientNet's head), with other activations (ReLU6 or SiLU)")
	add(!f.has("last.conv.weight") && !f.has("bn2.weight"), "no convolution before the mean")
	add(!f.has("conv_head.weight"), "no layer that mixes features after the mean")
	add(!f.has("classifier.weight"), "no classifier")
	add(len(order) < 2, "no blocks by timm's, torchvision's or once-for-all's names")
	var others []string
	for i, at := range order {
		b := blocks[at]
		dw, pw, pwl := b["conv_dw.weight"].Shape, b["conv_pw.weight"].Shape, b["conv_pwl.weight"].Shape
		if len(dw) != 4 || len(pw) != 4 || dw[1] != 1 || dw[2] != dw[3] || dw[2]%2 == 0 || i > 0 && len(pwl) != 4 {
			add(true, "other blocks than inverted residual ones with a depthwise convolution of odd side")
			continue
		}
		if i == 0 {
			add(len(pwl) != 0, "a first block that expands")
			add(pw[0] != stem[0], "a first block of another width than the stem (%d, %d)", pw[0], stem[0])
			add(b["se.conv_reduce.weight"].Data != nil, "squeeze-excite in the first block, and perhaps its stride")
			add(dw[2] != 3, "a first block of another kernel than 3 x 3")
			continue
		}
		if se := b["se.conv_reduce.weight"].Shape; len(se) == 4 {
			add(se[0] != space.Divisible(float64(dw[0])/4, 8), "squeeze-excite of other than a quarter of the features")
		}
		add(pw[1] > 0 && space.Divisible(expansionOf(pw[1], pw[0])*float64(pw[1]), 8) != dw[0], "hidden features that are no multiple of 8 (%d)", dw[0])
	}
	for _, name := range slices.Sorted(maps.Keys(f.own)) {
		part := name
		if match := convBlockName.FindStringSubmatch(name); match != nil {
			part = match[3]
		}
		part = strings.TrimPrefix(part, "last.")
		layer, last, _ := cutLast(part)
		switch {
		case kernelMatrix.MatchString(name):
		case slices.Contains([]string{"conv_stem", "conv", "conv_pw", "conv_dw", "conv_pwl", "conv_head", "classifier", "se.conv_reduce", "se.conv_expand"}, layer) && (last == "weight" || last == "bias" && !slices.Contains([]string{"conv_stem", "conv", "conv_pw", "conv_dw", "conv_pwl"}, layer)):
		case slices.Contains([]string{"bn1", "bn2", "bn3"}, layer) && slices.Contains([]string{"weight", "bias", "running_mean", "running_var"}, last):
		default:
			others = append(others, name)
		}
	}
	if n := len(others); n > 0 {
		add(true, "what %d more tensors are for (%s)", n, printableList(others[:min(3, n)]))
	}
	if len(lacks) > 0 {
		return fmt.Errorf("%w: it is a convolutional network, by the names of %s, with what models of ours have not: %s", ErrFile, f.family.name, strings.Join(lacks, "; "))
	}
	return nil
}
