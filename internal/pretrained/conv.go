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
	"prenas/internal/printable"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// convFamilies are convolutional networks, by timm's names for MobileNetV3 and EfficientNet after the
// renames. Blocks are blocks.S.L of any S and L, in their order.
var convFamilies = []family{
	{name: "timm", sign: "conv_stem.weight", eps: 1e-5, conv: true},
	{name: "torchvision", sign: "features.0.0.weight", eps: 1e-5, conv: true},
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
	{name: "efficientnet-pytorch", sign: "_conv_stem.weight", eps: 1e-3, conv: true, renames: []rename{
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
	torchvisionOne = regexp.MustCompile(`^features\.(\d+)\.(?:(\d+)\.)?(block|conv)\.(\d+)\.(?:(0|1|fc1|fc2)\.)?(weight|bias|running_mean|running_var)$`)
)

// torchvisionNames brings torchvision's names to timm's. MobileNetV3 and MobileNetV2 number their
// blocks through, EfficientNet has stages. What a part of a block is depends on the parts beside it.
func torchvisionNames(own map[string]tensorfile.Tensor) map[string]tensorfile.Tensor {
	out := map[string]tensorfile.Tensor{}
	last := []rename{{`^features\.\d+\.0\.`, "conv_head."}, {`^features\.\d+\.1\.`, "bn2."}, {`^classifier\.1\.`, "classifier."}}
	if _, mixes := own["classifier.3.weight"]; mixes {
		last = []rename{{`^features\.\d+\.0\.`, "last.conv."}, {`^features\.\d+\.1\.`, "last.bn1."}, {`^classifier\.0\.`, "conv_head."}, {`^classifier\.3\.`, "classifier."}}
	}
	outside := renamer(append([]rename{{`^features\.0\.0\.`, "conv_stem."}, {`^features\.0\.1\.`, "bn1."}}, last...)) // of blocks
	for name, t := range own {
		match := torchvisionOne.FindStringSubmatch(name)
		if match == nil {
			out[outside(name)] = t
			continue
		}
		stage, layer, list, of, tensor := match[1], cmp.Or(match[2], "0"), match[3], match[5], match[6]
		part, _ := strconv.Atoi(match[4])
		before, _, _ := strings.Cut(name, list+".")
		before += list + "." // the names of the block's parts begin with it
		convs, norms := []string{"conv_pw", "conv_dw", "conv_pwl"}, []string{"bn1", "bn2", "bn3"}
		if w := own[before+"0.0.weight"]; len(w.Shape) == 4 && w.Shape[1] == 1 { // no 1x1 convolution comes first
			convs, norms = []string{"conv_dw", "conv_pw"}, []string{"bn1", "bn2"}
		}
		if list == "conv" && of == "" { // MobileNetV2's last convolution and norm stand by themselves
			of = "0"
			if len(t.Shape) != 4 {
				part, of = part-1, "1"
			}
		}
		squeeze := map[string]string{"fc1": "se.conv_reduce", "fc2": "se.conv_expand"}[of]
		if _, has := own[fmt.Sprintf("%s%d.fc1.weight", before, part-1)]; has {
			part--
		}
		switch {
		case squeeze != "":
			of = squeeze
		case part >= len(convs) || of == "":
			out[name] = t
			continue
		case of == "0":
			of = convs[part]
		default:
			of = norms[part]
		}
		out["blocks."+stage+"."+layer+"."+of+"."+tensor] = t
	}
	return out
}

// skeleton is a network whose strides and activations are known. No tensor shows them, so a file's
// must have the units of one of these.
type skeleton struct {
	name       string
	mixes      bool // a layer after the mean
	first      space.ConvFirst
	units      []skeletonUnit
	activation string
	squeeze    string // rw may stand for MobileNetV3's
}

type skeletonUnit struct {
	depth   int // as published
	kernel  int // of all blocks; 0: any
	stride  int
	squeeze bool
	hSwish  bool
}

// unitsOf is a skeleton's units: depths, kernels and strides of each.
func unitsOf(depths, kernels, strides []int, squeeze bool) (units []skeletonUnit) {
	for i, depth := range depths {
		units = append(units, skeletonUnit{depth, kernels[i], strides[i], squeeze, false})
	}
	return units
}

// skeletons, as Howard et al. (2019), Sandler et al. (2018), Tan et al. (2019) and Tan and Le (2019)
// have published them, and as timm and torchvision build them.
var skeletons = func() []skeleton {
	six, lite := []int{2, 2, 2, 1, 2, 1}, []int{3, 5, 3, 5, 5, 3}
	return []skeleton{
		{name: "MobileNetV3-Large", mixes: true, units: []skeletonUnit{{2, 0, 2, false, false}, {3, 0, 2, true, false}, {4, 0, 2, false, true}, {2, 0, 1, true, true}, {3, 0, 2, true, true}}},
		{name: "MobileNetV3-Small", mixes: true, first: space.ConvFirst{Stride: 2, SqueezeExcite: true},
			units: []skeletonUnit{{2, 0, 2, false, false}, {3, 0, 2, true, true}, {2, 0, 1, true, true}, {3, 0, 2, true, true}}},
		{name: "MobileNetV3-Large (minimalistic)", mixes: true, units: unitsOf([]int{2, 3, 4, 2, 3}, []int{3, 3, 3, 3, 3}, []int{2, 2, 2, 1, 2}, false), activation: space.ReLU},
		{name: "MobileNetV3-Small (minimalistic)", mixes: true, first: space.ConvFirst{Stride: 2}, units: unitsOf([]int{2, 3, 2, 3}, []int{3, 3, 3, 3}, []int{2, 2, 1, 2}, false), activation: space.ReLU},
		{name: "MobileNetV2", units: unitsOf([]int{2, 3, 4, 3, 3, 1}, []int{3, 3, 3, 3, 3, 3}, six, false), activation: space.ReLU6},
		{name: "EfficientNet-lite", units: unitsOf([]int{2, 2, 3, 3, 4, 1}, lite, six, false), activation: space.ReLU6},
		{name: "MnasNet-B1", units: unitsOf([]int{3, 3, 3, 2, 4, 1}, []int{3, 5, 5, 3, 5, 3}, six, false), activation: space.ReLU},
		{name: "EfficientNet-B0", first: space.ConvFirst{SqueezeExcite: true}, units: unitsOf([]int{2, 2, 3, 3, 4, 1}, lite, six, true), activation: space.SiLU, squeeze: space.SqueezeEfficientNet},
	}
}()

// block is one of a file, and what its tensors show of it.
type block struct {
	stage, layer                     int
	tensors                          map[string]tensorfile.Tensor
	in, hidden, out, kernel, squeeze int // squeeze: in the middle of squeeze-excite, 0: none
}

// convolutional builds a convolutional network.
func (f *foreign) convolutional() error {
	if f.family.name == "torchvision" {
		f.own = torchvisionNames(f.own)
	}
	// timm's last convolution of MobileNetV3 is the only block of a last stage.
	own := map[string]tensorfile.Tensor{}
	for name, t := range f.own {
		if match := convBlockName.FindStringSubmatch(name); match != nil && f.has("blocks."+match[1]+".0.conv.weight") {
			name = "last." + match[3]
		}
		own[name] = t
	}
	f.own = own
	blocks, err := f.blocks()
	if err != nil {
		return err
	}
	if err := f.convMissing(blocks); err != nil {
		return err
	}
	m := space.DefaultConvModel()
	c := &m.Conv
	units, err := f.skeleton(c, blocks)
	if err != nil {
		return err
	}
	stem := f.shape("conv_stem.weight", 4)
	c.Stem, m.Channels = stem[0], stem[1]
	f.copy("conv_stem.weight", c.Stem, m.Channels, 3, 3)
	f.batchNorm("bn1", "bn1", c.Stem)
	if first := blocks[0]; first.out != c.Stem {
		c.First.Width = first.out
	}
	f.convBlock(blocks[0], "blocks.0.0.", false)
	var a space.Arch
	for u, unit := range units {
		a.Units = append(a.Units, nil)
		for l, b := range unit {
			f.convBlock(b, fmt.Sprintf("blocks.%d.%d.", u+1, l), true)
			a.Units[u] = append(a.Units[u], space.ConvLayer{Kernel: b.kernel, Expand: expansionOf(b.in, b.hidden)})
		}
	}
	f.convHead(&m, blocks[len(blocks)-1].out)
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

// blocks of the file in their order; none between them is missing.
func (f *foreign) blocks() ([]block, error) {
	byPlace := map[[2]int]*block{}
	for name, t := range f.own {
		if match := convBlockName.FindStringSubmatch(name); match != nil {
			stage, _ := strconv.Atoi(match[1])
			layer, _ := strconv.Atoi(match[2])
			b := byPlace[[2]int{stage, layer}]
			if b == nil {
				b = &block{stage: stage, layer: layer, tensors: map[string]tensorfile.Tensor{}}
				byPlace[[2]int{stage, layer}] = b
			}
			b.tensors[match[3]] = t
		}
	}
	var list []block
	for _, b := range byPlace {
		dims := func(name string) []int {
			if s := b.tensors[name].Shape; len(s) == 4 {
				return s
			}
			return make([]int, 4)
		}
		dw, pw, pwl := dims("conv_dw.weight"), dims("conv_pw.weight"), dims("conv_pwl.weight")
		b.in, b.hidden, b.kernel, b.out, b.squeeze = pw[1], dw[0], dw[2], pwl[0], dims("se.conv_reduce.weight")[0]
		if pwl[0] == 0 { // it does not expand
			b.in, b.out = dw[0], pw[0]
		}
		list = append(list, *b)
	}
	slices.SortFunc(list, func(a, b block) int { return cmp.Or(a.stage-b.stage, a.layer-b.layer) })
	for i := 1; i < len(list); i++ {
		before, at := list[i-1], list[i]
		follows := at.stage == before.stage && at.layer == before.layer+1 || at.stage == before.stage+1 && at.layer == 0
		if !follows {
			return nil, fmt.Errorf("%w: block %d.%d comes after %d.%d: one between them is missing", ErrFile, at.stage, at.layer, before.stage, before.layer)
		}
	}
	return list, nil
}

// convBlock takes the tensors of a block.
func (f *foreign) convBlock(b block, to string, expands bool) {
	from := fmt.Sprintf("blocks.%d.%d.", b.stage, b.layer)
	take := func(part string, shape ...int) { f.copyTo(from+part, to+part, shape...) }
	norms := []string{"bn1", "bn2", "bn3"}
	if expands {
		take("conv_pw.weight", b.hidden, b.in, 1, 1)
		f.batchNorm(from+"bn1", to+"bn1", b.hidden)
		norms = norms[1:]
	}
	take("conv_dw.weight", b.hidden, 1, b.kernel, b.kernel)
	f.batchNorm(from+norms[0], to+norms[0], b.hidden)
	if b.squeeze > 0 {
		take("se.conv_reduce.weight", b.squeeze, b.hidden, 1, 1)
		take("se.conv_reduce.bias", b.squeeze)
		take("se.conv_expand.weight", b.hidden, b.squeeze, 1, 1)
		take("se.conv_expand.bias", b.hidden)
	}
	if expands {
		take("conv_pwl.weight", b.out, b.hidden, 1, 1)
	} else {
		take("conv_pw.weight", b.out, b.hidden, 1, 1)
	}
	f.batchNorm(from+norms[1], to+norms[1], b.out)
}

// convHead takes what comes after the blocks.
func (f *foreign) convHead(m *space.Model, in int) {
	c := &m.Conv
	if c.Mix = 0; f.has("last.conv.weight") {
		mix := f.own["conv_head.weight"].Shape // a 1x1 convolution, in torchvision a matrix
		c.Features, c.Mix = f.shape("last.conv.weight", 4)[0], f.shape("conv_head.weight", max(2, len(mix)))[0]
		last := fmt.Sprintf("blocks.%d.0.", len(c.Units)+1)
		f.copyTo("last.conv.weight", last+"conv.weight", c.Features, in, 1, 1)
		f.batchNorm("last.bn1", last+"bn1", c.Features)
		f.copy("conv_head.weight", c.Mix, c.Features, 1, 1)
		if c.MixBias = f.has("conv_head.bias"); c.MixBias {
			f.copy("conv_head.bias", c.Mix)
		}
	} else {
		c.Features = f.shape("conv_head.weight", 4)[0]
		f.copy("conv_head.weight", c.Features, in, 1, 1)
		f.batchNorm("bn2", "bn2", c.Features)
	}
	if !f.has("classifier.weight") {
		f.headless(m, "classifier", c.Pooled())
		return
	}
	m.NumClasses = f.shape("classifier.weight", 2)[0]
	f.copy("classifier.weight", m.NumClasses, c.Pooled())
	f.put("classifier.bias", f.bias("classifier.bias", m.NumClasses), m.NumClasses)
}

// skeleton finds the known network that the blocks are of, puts its units into c, and returns the
// blocks of each.
func (f *foreign) skeleton(c *space.ConvModel, blocks []block) (units [][]block, err error) {
	// Where stages have no names, units differ in width or squeeze-excite, or have the depths as published.
	staged := f.family.name == "timm" || slices.ContainsFunc(blocks, func(b block) bool { return b.layer > 0 })
	for i, b := range blocks[1:] {
		before := blocks[i]
		if i == 0 || before.out != b.out || (before.squeeze > 0) != (b.squeeze > 0) || staged && before.stage != b.stage {
			units = append(units, nil)
		}
		units[len(units)-1] = append(units[len(units)-1], b)
	}
	var found *skeleton
	for i := range skeletons {
		k := &skeletons[i]
		if k.fits(f, blocks[0], units) {
			found = k
		} else if split := k.split(blocks[1:]); found == nil && !staged && k.fits(f, blocks[0], split) {
			found, units = k, split
		}
	}
	if found == nil {
		var names, shown []string
		for _, k := range skeletons {
			names = append(names, k.name)
		}
		for _, u := range units {
			text := fmt.Sprintf("%d of kernel %d to %s", len(u), u[0].kernel, printable.Count(u[0].out, "feature"))
			if u[0].squeeze > 0 {
				text += " with squeeze-excite"
			}
			shown = append(shown, text)
		}
		return nil, fmt.Errorf("%w: strides and activations are not in the file, and its units are those of no network that is known (%s); blocks that expand are %s", ErrFile, strings.Join(names, ", "), strings.Join(shown, "; "))
	}
	c.Units, c.First, c.Activation, c.Squeeze = nil, found.first, found.activation, found.squeeze
	name := found.name
	if found.squeeze == "" && !squeezesAs("", blocks) {
		name, c.Squeeze, c.First.NoSkip, f.rw = "timm's mobilenetv3_rw", space.SqueezeRW, true, true
	}
	activation := cmp.Or(f.hints.Activation, f.config.convActivation)
	for u, k := range found.units {
		c.Units = append(c.Units, space.ConvUnit{Width: units[u][0].out, Stride: k.stride, SqueezeExcite: k.squeeze, HSwish: k.hSwish && activation == ""})
	}
	what := "strides and activations"
	if activation != "" {
		c.Activation, what = activation, "strides"
	}
	what += " of " + name
	f.m.Family = found.name + " of " + f.family.name
	c.Padding = map[bool]string{true: space.PaddingSame}[f.config.same || f.family.name == "efficientnet-pytorch"]
	if f.hints.Padding != "" {
		c.Padding = strings.TrimPrefix(f.hints.Padding, PaddingSymmetric)
	} else if c.Padding == "" && f.config.arch == "" {
		what += ", with padding on all sides alike"
	}
	f.assume("%s (%v, %v)", what, input.Activation, input.Padding)
	if f.hints.NormEps == 0 && f.config.eps == 0 {
		f.assume("batch norms of epsilon %v (%v)", f.eps(), input.NormEps)
	}
	return units, nil
}

// split blocks by the depths that are published; nil where they are others.
func (k *skeleton) split(blocks []block) (units [][]block) {
	for _, u := range k.units {
		if len(blocks) < u.depth {
			return nil
		}
		units, blocks = append(units, blocks[:u.depth]), blocks[u.depth:]
	}
	if len(blocks) > 0 {
		return nil
	}
	return units
}

// fits tells whether units are those of the network.
func (k *skeleton) fits(f *foreign, first block, units [][]block) bool {
	if len(units) != len(k.units) || k.mixes != f.has("last.conv.weight") || k.first.SqueezeExcite != (first.squeeze > 0) {
		return false
	}
	all := []block{first}
	for u, unit := range units {
		for _, b := range unit {
			if known := k.units[u]; known.squeeze != (b.squeeze > 0) || known.kernel != 0 && known.kernel != b.kernel || b.out != unit[0].out {
				return false
			}
		}
		all = append(all, unit...)
	}
	return squeezesAs(k.squeeze, all) || k.squeeze == "" && squeezesAs(space.SqueezeRW, all)
}

// squeezesAs tells whether the features in the middle of all squeeze-excites are as a kind has them.
func squeezesAs(kind string, blocks []block) bool {
	c := space.ConvModel{Squeeze: kind}
	return !slices.ContainsFunc(blocks, func(b block) bool {
		return b.squeeze > 0 && b.squeeze != c.Squeezed(b.in, b.hidden)
	})
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
func (f *foreign) eps() float64 {
	usual := f.family.eps
	if f.config.same || f.rw || f.family.name == "torchvision" && f.has("last.conv.weight") {
		usual = 1e-3 // of TensorFlow, of timm's mobilenetv3_rw and of torchvision's MobileNetV3
	}
	return cmp.Or(f.hints.NormEps, f.config.eps, usual)
}

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

// convMissing refuses a network with what ours have not, naming all of it.
func (f *foreign) convMissing(blocks []block) error {
	lacks := slices.Clone(f.config.missing)
	add := func(on bool, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); on && !slices.Contains(lacks, text) {
			lacks = append(lacks, text)
		}
	}
	if activation := cmp.Or(f.hints.Activation, f.config.convActivation); activation != "" {
		add(!slices.Contains(space.ConvActivations(), activation), "activation %s", activation)
	}
	if stem := f.own["conv_stem.weight"].Shape; len(stem) == 4 {
		add(stem[2] != 3 || stem[3] != 3, "a stem of another kernel than 3 x 3 (%d x %d)", stem[2], stem[3])
	}
	mixes, norm := f.has("last.conv.weight"), f.has("bn2.weight")
	add(mixes && norm, "a norm behind the layer that mixes features after the mean")
	add(!mixes && !norm, "no convolution with a norm before the mean")
	add(!f.has("conv_head.weight"), "no layer between the blocks' last convolution and the classifier")
	add(len(blocks) < 2, "no blocks by timm's, torchvision's or once-for-all's names")
	var others []string
	for i, b := range blocks {
		dw, pw, pwl := b.tensors["conv_dw.weight"].Shape, b.tensors["conv_pw.weight"].Shape, b.tensors["conv_pwl.weight"].Shape
		switch {
		case len(dw) != 4 || len(pw) != 4 || dw[1] != 1 || dw[2] != dw[3] || dw[2]%2 == 0:
			add(true, "other blocks than inverted residual ones with a depthwise convolution of odd side")
			continue
		case i == 0:
			add(len(pwl) != 0, "a first block that expands")
			add(dw[2] != 3, "a first block of another kernel than 3 x 3")
			continue
		case len(pwl) != 4:
			add(true, "more than one block that does not expand")
			continue
		}
		add(space.Divisible(expansionOf(b.in, b.hidden)*float64(b.in), 8) != b.hidden, "hidden features that are no multiple of 8 (%d)", b.hidden)
	}
	if len(blocks) > 0 {
		kinds := []string{"", space.SqueezeRW, space.SqueezeEfficientNet}
		add(!slices.ContainsFunc(kinds, func(kind string) bool { return squeezesAs(kind, blocks) }), "squeeze-excite of other than a quarter of the hidden features or of the input's")
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
		add(true, "what %s for (%s)", printable.Are(n, "more tensor"), printableList(others[:min(3, n)]))
	}
	if len(lacks) > 0 {
		return fmt.Errorf("%w: it is a convolutional network, by the names of %s, with what models of ours have not: %s", ErrFile, f.family.name, strings.Join(lacks, "; "))
	}
	return nil
}
