package pretrained

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"prenas/internal/input"
	"prenas/internal/printable"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Errors of this package.
var (
	// ErrFile: a file that holds no model that is known, or more than ours can.
	ErrFile = errors.New("cannot be imported")
	// ErrAsk: what the file does not say, and what makes a difference.
	ErrAsk = errors.New("the file does not say")
)

// Pools that Hints may name beside those of space.Variant.
const (
	PoolToken = "token"
	PoolMean  = "mean"
)

// Pools are the names that Hints.Pool takes.
func Pools() []string {
	return []string{PoolToken, PoolMean, space.PoolClassMean, space.PoolDistilled, space.PoolAttention}
}

// PaddingSymmetric is of convolutional networks: half the kernel on every side.
const PaddingSymmetric = "symmetric"

// Paddings are the names that Hints.Padding takes.
func Paddings() []string { return []string{PaddingSymmetric, space.PaddingSame} }

// Hints say what a file may not; zero values say nothing.
type Hints struct {
	Entry      string // that the weights are under, as model_ema
	HeadDim    int    // features of an attention head
	NormEps    float64
	Activation string // one of space.Activations, or of a convolutional network space.ConvActivations
	Pool       string // one of Pools
	Padding    string // one of Paddings
	ImageSize  int
	Mean, Std  []float32 // of each channel of pixels in [0, 1]
}

// Preprocess of images; what is zero is not known.
type Preprocess struct {
	Mean, Std []float32
	Resize    int
}

// Model is a model of another training code.
type Model struct {
	Family string
	Entry  string   // of the file that held the weights; empty: none
	Others []string // entries with a model that were not taken
	// LeftOut are tensors that take no part in the outputs.
	LeftOut []string
	Notes   []string // what was taken for granted, with its flag

	// Supernet tells that the tensors are those of a supernet of PreNAS or AutoFormer, by
	// its names; the rest below is then empty.
	Supernet bool
	Model    space.Model
	Arch     space.Arch
	Tensors  map[string]tensorfile.Tensor // float32, timm's names and layouts
	Classes  []string
	Prep     Preprocess
	Licence  string
}

// Of is the model of a file of weights, as tensorfile.ReadAny reads it from path, and of what lies beside it; see the package.
func Of(file *tensorfile.File, path string, h Hints) (*Model, error) {
	c, err := readConfig(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m, err := read(file.Tensors, h, c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func read(tensors map[string]tensorfile.Tensor, h Hints, c config) (*Model, error) {
	r, others, err := choose(tensors, h.Entry)
	if err != nil {
		return nil, err
	}
	own, rest, err := r.plain(tensors)
	if err != nil {
		return nil, err
	}
	m := &Model{Family: r.family.name, Entry: strings.TrimSuffix(r.prefix, "."), Others: others}
	for _, name := range rest {
		if strings.HasPrefix(name, r.prefix) { // what is outside is told by its entry
			m.LeftOut = append(m.LeftOut, name)
		}
	}
	if r.family.sign == "patch_embed_super.proj.weight" {
		m.Supernet, m.Tensors = true, own
		return m, nil
	}
	f := &foreign{own: own, used: map[string]bool{}, out: map[string]tensorfile.Tensor{}, hints: h, config: c, family: r.family, m: m}
	build := f.build
	if r.family.conv {
		build = f.convolutional
	}
	if err := build(); err != nil {
		return nil, err
	}
	return m, nil
}

// foreign builds a model of tensors by timm's names.
type foreign struct {
	own    map[string]tensorfile.Tensor
	used   map[string]bool
	out    map[string]tensorfile.Tensor
	hints  Hints
	config config
	family *family
	rw     bool // it is timm's mobilenetv3_rw
	m      *Model
	// assumed are what was taken as it usually is, with its flag.
	assumed []string
	err     error
}

func (f *foreign) has(name string) bool { _, ok := f.own[name]; return ok }

// shape of a tensor, which must be of a rank.
func (f *foreign) shape(name string, rank int) []int {
	t, ok := f.own[name]
	switch {
	case f.err != nil:
	case !ok:
		f.fail("tensor %q is missing", name)
	case len(t.Shape) != rank || slices.Contains(t.Shape, 0):
		f.fail("tensor %q has shape %v", name, t.Shape)
	default:
		return t.Shape
	}
	return make([]int, rank)
}

func (f *foreign) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf("%w: "+format, append([]any{ErrFile}, args...)...)
	}
}

// values of a tensor, whose shape is checked; nil where there is none and it may be missing.
func (f *foreign) values(name string, optional bool, shape ...int) []float32 {
	t, ok := f.own[name]
	if !ok && optional || f.err != nil {
		return nil
	}
	size := 1
	for _, d := range shape {
		size *= d
	}
	count := 1
	for _, d := range t.Shape {
		count *= d
	}
	if !ok {
		f.fail("tensor %q is missing", name)
		return nil
	}
	if count != size { // [dim] and [1, 1, dim] are the same
		f.fail("tensor %q has shape %v, %v is needed", name, t.Shape, shape)
		return nil
	}
	f.used[name] = true
	v, err := t.Float32s()
	if err != nil {
		f.fail("tensor %q: %v", name, err)
	}
	if at := slices.IndexFunc(v, func(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) }); at >= 0 {
		f.fail("tensor %q has a value that is not finite, %v at place %d: a training that diverged?", name, v[at], at)
	}
	return v
}

func (f *foreign) put(name string, values []float32, shape ...int) {
	if f.err == nil {
		f.out[name] = tensorfile.FromFloat32(shape, values)
	}
}

// copy takes a tensor as it is.
func (f *foreign) copy(name string, shape ...int) {
	f.put(name, f.values(name, false, shape...), shape...)
}

// bias is a tensor, or zeros.
func (f *foreign) bias(name string, size int) []float32 {
	if v := f.values(name, true, size); v != nil {
		return v
	}
	return make([]float32, size)
}

func (f *foreign) norm(from, to string, dim int) {
	if f.has(from+".weight") && !f.has(from+".bias") {
		f.fail("norms without a bias (RMSNorm) are missing in models of ours: %q", from+".weight")
	}
	f.put(to+".weight", f.values(from+".weight", false, dim), dim)
	f.put(to+".bias", f.values(from+".bias", false, dim), dim)
}

func (f *foreign) build() error {
	m := space.DefaultModel()
	m.RelativePosition, m.MaxRelativePosition, m.GlobalPool = false, 0, false
	patch := f.shape("patch_embed.proj.weight", 4)
	if f.err != nil {
		if t := f.own["patch_embed.proj.weight"]; len(t.Shape) == 2 {
			return fmt.Errorf("%w: its patches are projected as one row of %d numbers, whose sides the file does not say; only convolutions of square patches are read", ErrFile, t.Shape[1])
		}
		return f.err
	}
	if patch[2] != patch[3] {
		return fmt.Errorf("%w: patches of %d x %d pixels; only square ones are known", ErrFile, patch[2], patch[3])
	}
	dim := patch[0]
	m.Channels, m.PatchSize = patch[1], patch[2]
	f.copy("patch_embed.proj.weight", patch...)
	f.put("patch_embed.proj.bias", f.bias("patch_embed.proj.bias", dim), dim)
	depth := 0
	for f.has(fmt.Sprintf("blocks.%d.norm1.weight", depth)) || f.has(fmt.Sprintf("blocks.%d.attn.proj.weight", depth)) {
		depth++
	}
	if err := f.missing(depth); err != nil {
		return err
	}
	f.heads(&m, dim)
	f.variant(&m)
	f.tokens(&m, dim)
	a := space.Arch{EmbedDim: dim}
	for i := range depth {
		f.block(&m, &a, i)
	}
	f.classifier(&m, dim)
	if f.err != nil {
		return f.err
	}
	if f.family.name == "timm" && f.config.file == "" && m.Variant.NoClassToken && !f.has("blocks.0.attn.qkv.bias") {
		return fmt.Errorf("%w: its norms may stand after the branches (timm's models with _rpn_ in their names), which models of ours have not, and names of tensors do not tell; a config.json beside it that names its architecture does", ErrFile)
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	return f.finish(m, a)
}

// finish is what all models have in common. What was not taken, and is not known to take no part
// in the outputs, would make another model.
func (f *foreign) finish(m space.Model, a space.Arch) error {
	var unused []string
	for _, name := range slices.Sorted(maps.Keys(f.own)) {
		if !f.used[name] && !slices.Contains(f.m.LeftOut, name) {
			unused = append(unused, name)
		}
	}
	if n := len(unused); n > 0 {
		return fmt.Errorf("%w: no place for %s in the model that the others make, of %s (%s): is a block missing?", ErrFile, printable.Count(n, "tensor"), printable.Count(a.Depth(), "block"), printableList(unused[:min(3, n)]))
	}
	if len(f.assumed) > 0 {
		f.m.Notes = append(f.m.Notes, "the file does not say these, so they are taken as they usually are: "+strings.Join(f.assumed, ", "))
	}
	f.m.Notes = append(f.m.Notes, f.config.notes...)
	f.m.Model, f.m.Arch, f.m.Tensors, f.m.Licence = m, a, f.out, f.config.licence
	f.m.Prep = f.config.prep
	if len(f.hints.Mean) > 0 {
		f.m.Prep.Mean, f.m.Prep.Std = f.hints.Mean, f.hints.Std
	}
	if len(f.config.classes) == m.NumClasses {
		f.m.Classes = f.config.classes
	}
	return nil
}

// plainName are the tensors that a model of ours may be made of.
func plainName(name string) bool {
	block, rest, inside := strings.Cut(strings.TrimPrefix(name, "blocks."), ".")
	if strings.HasPrefix(name, "blocks.") && inside && strings.Trim(block, "0123456789") == "" {
		part, last, _ := cutLast(rest)
		switch part {
		case "norm1", "norm2", "attn.qkv", "attn.proj", "attn.q", "attn.k", "attn.v", "mlp.fc1", "mlp.fc2", "attn.q_norm", "attn.k_norm":
			return last == "weight" || last == "bias"
		}
		return slices.Contains([]string{"ls1.gamma", "ls2.gamma", "gamma_1", "gamma_2"}, rest)
	}
	switch name {
	case "cls_token", "dist_token", "reg_token", "pos_embed", "attn_pool.latent":
		return true
	}
	part, last, _ := cutLast(name)
	switch part {
	case "patch_embed.proj", "norm_pre", "norm", "fc_norm", "head", "head_dist", "attn_pool.q", "attn_pool.kv", "attn_pool.in", "attn_pool.proj", "attn_pool.norm", "attn_pool.mlp.fc1", "attn_pool.mlp.fc2":
		return last == "weight" || last == "bias"
	}
	return false
}

func cutLast(name string) (part, last string, ok bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return name, "", false
	}
	return name[:i], name[i+1:], true
}

// missing refuses a file with tensors that no model of ours has, naming all that they are for.
func (f *foreign) missing(depth int) error {
	lacks := slices.Clone(f.config.missing)
	var others []string
	for _, name := range slices.Sorted(maps.Keys(f.own)) {
		if plainName(name) {
			continue
		}
		text := ""
		for _, feature := range features {
			if feature.names.MatchString(name) {
				text = feature.text
				break
			}
		}
		if text == "" {
			others = append(others, name)
		} else if !slices.Contains(lacks, text) {
			lacks = append(lacks, text)
		}
	}
	if fc1, fc2 := f.own["blocks.0.mlp.fc1.weight"].Shape, f.own["blocks.0.mlp.fc2.weight"].Shape; len(fc1) == 2 && len(fc2) == 2 && fc1[0] == 2*fc2[1] {
		lacks = append(lacks, "SwiGLU MLPs (fc1 has twice the features of fc2)")
	}
	if f.has("blocks.0.attn.q_bias") && f.has("pos_embed") {
		lacks = append(lacks, "rotary positions, as EVA-02 has them with those biases")
	}
	if !f.has("pos_embed") {
		lacks = append(lacks, "tokens without learned positions (rotary positions, or none)")
	}
	if depth == 0 {
		lacks = append(lacks, "blocks by other names than norm1, attn, norm2 and mlp")
	}
	if n := len(others); n > 0 {
		lacks = append(lacks, fmt.Sprintf("what %s for (%s)", printable.Are(n, "more tensor"), printableList(others[:min(3, n)])))
	}
	if len(lacks) > 0 {
		return fmt.Errorf("%w: it is a model of %s with what models of ours have not: %s", ErrFile, f.family.name, strings.Join(lacks, "; "))
	}
	return nil
}

// assume notes what is taken as it usually is.
func (f *foreign) assume(format string, args ...any) {
	f.assumed = append(f.assumed, fmt.Sprintf(format, args...))
}

// heads finds the features of a head.
func (f *foreign) heads(m *space.Model, dim int) {
	width := dim
	if f.has("blocks.0.attn.qkv.weight") {
		width = f.shape("blocks.0.attn.qkv.weight", 2)[0] / 3
	}
	norm := 0
	if t, ok := f.own["blocks.0.attn.q_norm.weight"]; ok && len(t.Shape) == 1 {
		norm = t.Shape[0] // says it
	}
	said := 0
	if f.config.heads > 0 && width%f.config.heads == 0 {
		said = width / f.config.heads
	}
	switch m.HeadDim = cmp.Or(f.hints.HeadDim, norm, said); {
	case m.HeadDim > 0 && width%m.HeadDim != 0:
		f.fail("queries have %s, which heads of %d do not divide (%v)", printable.Count(width, "feature"), m.HeadDim, input.HeadDim)
	case m.HeadDim > 0:
	case width%64 == 0:
		m.HeadDim = 64
		f.assume("%s of 64 features (%v)", printable.Count(width/64, "head"), input.HeadDim)
	default:
		if f.err == nil {
			f.err = fmt.Errorf("%w how many heads attention has: %s are no multiple of the usual 64: give %v", ErrAsk, printable.Count(width, "feature"), input.HeadDim)
		}
	}
}

// variant finds epsilon, activation and what names tell.
func (f *foreign) variant(m *space.Model) {
	v := &m.Variant
	v.PreNorm, v.QKNorm = f.has("norm_pre.weight"), f.has("blocks.0.attn.q_norm.weight")
	usual := f.family.eps
	switch {
	case v.PreNorm:
		usual = 1e-5 // of CLIP
	case f.has("blocks.0.ls1.gamma"):
		usual = 1e-6 // of DINOv2, in Hugging Face's names too
	}
	eps := cmp.Or(f.hints.NormEps, f.config.eps)
	if eps == 0 {
		eps = usual
		if f.config.file == "" {
			f.assume("norms of epsilon %v (%v)", eps, input.NormEps)
		}
	}
	if eps != space.DefaultNormEps {
		v.NormEps = eps
	}
	v.Activation = cmp.Or(f.hints.Activation, f.config.activation)
	if v.Activation == "" {
		pool := f.has("attn_pool.latent")
		switch {
		case pool && f.family.name != "timm":
			v.Activation = space.GELUTanh
			f.assume("the MLPs' activation gelu_tanh, SigLIP's (%v)", input.Activation)
		case v.PreNorm || pool:
			if f.err == nil {
				f.err = fmt.Errorf("%w what the MLPs' activation is: CLIP's and SigLIP's models have gelu, quick_gelu or gelu_tanh: give %v", ErrAsk, input.Activation)
			}
		case f.config.file == "":
			f.assume("the MLPs' activation gelu (%v)", input.Activation)
		}
	}
	if v.Activation == "gelu" {
		v.Activation = ""
	}
}

// tokens takes class token, registers and positions.
func (f *foreign) tokens(m *space.Model, dim int) {
	v := &m.Variant
	v.NoClassToken = !f.has("cls_token")
	if !v.NoClassToken {
		f.put("cls_token", f.values("cls_token", false, 1, 1, dim), 1, 1, dim)
	}
	var registers []float32
	if f.has("dist_token") {
		registers, v.Registers = f.values("dist_token", false, 1, 1, dim), 1
	}
	if t, ok := f.own["reg_token"]; ok {
		n := 1
		for _, d := range t.Shape {
			n *= d
		}
		n /= dim
		registers = append(registers, f.values("reg_token", false, 1, n, dim)...)
		v.Registers += n
	}
	if v.Registers > 0 {
		f.put("reg_token", registers, 1, v.Registers, dim)
	}
	t := f.own["pos_embed"]
	rows := 1
	for _, d := range t.Shape {
		rows *= d
	}
	rows /= dim
	positions := f.values("pos_embed", false, 1, rows, dim)
	if f.err != nil {
		return
	}
	// With positions are all tokens, or the class token and the patches, or the patches alone.
	type reading struct{ patches, before int }
	var readings []reading
	class := m.Prefix() - v.Registers
	for _, before := range slices.Compact([]int{m.Prefix(), class, 0}) {
		patches := rows - before
		side := int(math.Round(math.Sqrt(float64(max(patches, 0)))))
		if patches < 1 || side*side != patches || f.hints.ImageSize > 0 && side*m.PatchSize != f.hints.ImageSize {
			continue
		}
		if !slices.ContainsFunc(readings, func(r reading) bool { return r.patches == patches }) {
			readings = append(readings, reading{patches, before})
		}
	}
	if len(readings) > 1 && f.config.imageSize > 0 {
		readings = slices.DeleteFunc(readings, func(r reading) bool {
			side := f.config.imageSize / m.PatchSize
			return r.patches != side*side
		})
	}
	switch len(readings) {
	case 0:
		f.fail("%d positions are no square of patches, with %s before them or without; models of ours take square images", rows, printable.Count(m.Prefix(), "token"))
		return
	case 1:
	default:
		if f.err == nil {
			f.err = fmt.Errorf("%w what the %d positions are of: %d patches or %d: give %v", ErrAsk, rows, readings[0].patches, readings[1].patches, input.ImageSize)
		}
		return
	}
	r := readings[0]
	if f.hints.ImageSize == 0 && f.config.imageSize == 0 {
		side := int(math.Round(math.Sqrt(float64(r.patches))))
		f.assume("a square of %d x %d patches, images of %s (%v)", side, side, printable.Count(side*m.PatchSize, "pixel"), input.ImageSize)
	}
	m.AbsPos, m.ImageSize = true, int(math.Round(math.Sqrt(float64(r.patches))))*m.PatchSize
	all := make([]float32, 0, (m.Prefix()+r.patches)*dim)
	all = append(all, positions[:r.before*dim]...)
	all = append(all, make([]float32, (m.Prefix()-r.before)*dim)...)
	all = append(all, positions[r.before*dim:]...)
	f.put("pos_embed", all, 1, m.Tokens(), dim)
	if v.PreNorm {
		f.norm("norm_pre", "norm_pre", dim)
	}
}

// block takes one block, with its layer scales multiplied into what is before them.
func (f *foreign) block(m *space.Model, a *space.Arch, i int) {
	name := func(part string) string { return fmt.Sprintf("blocks.%d.%s", i, part) }
	dim := a.EmbedDim
	f.norm(name("norm1"), name("norm1"), dim)
	f.norm(name("norm2"), name("norm2"), dim)
	width := 0
	if f.has(name("attn.qkv.weight")) {
		width = f.shape(name("attn.qkv.weight"), 2)[0] / 3
		f.copy(name("attn.qkv.weight"), 3*width, dim)
		f.put(name("attn.qkv.bias"), f.bias(name("attn.qkv.bias"), 3*width), 3*width)
	} else {
		width = f.shape(name("attn.q.weight"), 2)[0]
		var weight, bias []float32
		for _, part := range []string{"q", "k", "v"} {
			weight = append(weight, f.values(name("attn."+part+".weight"), false, width, dim)...)
			bias = append(bias, f.bias(name("attn."+part+".bias"), width)...)
		}
		f.put(name("attn.qkv.weight"), weight, 3*width, dim)
		f.put(name("attn.qkv.bias"), bias, 3*width)
	}
	if f.err != nil {
		return
	}
	if m.HeadDim == 0 || width%m.HeadDim != 0 {
		f.fail("block %d has queries of %s, which heads of %d do not divide (%v)", i, printable.Count(width, "feature"), m.HeadDim, input.HeadDim)
		return
	}
	a.NumHeads = append(a.NumHeads, width/m.HeadDim)
	if m.Variant.QKNorm {
		f.norm(name("attn.q_norm"), name("attn.q_norm"), m.HeadDim)
		f.norm(name("attn.k_norm"), name("attn.k_norm"), m.HeadDim)
	}
	hidden := f.shape(name("mlp.fc1.weight"), 2)[0]
	f.copy(name("mlp.fc1.weight"), hidden, dim)
	f.put(name("mlp.fc1.bias"), f.bias(name("mlp.fc1.bias"), hidden), hidden)
	a.MLPRatio = append(a.MLPRatio, ratioOf(dim, hidden))
	for k, out := range []struct {
		part string
		in   int
	}{{"attn.proj", width}, {"mlp.fc2", hidden}} {
		weight, bias := f.values(name(out.part+".weight"), false, dim, out.in), f.bias(name(out.part+".bias"), dim)
		scale := f.values(name(fmt.Sprintf("ls%d.gamma", k+1)), true, dim)
		if scale == nil {
			scale = f.values(name(fmt.Sprintf("gamma_%d", k+1)), true, dim)
		}
		if f.err != nil {
			return
		}
		if scale != nil {
			weight, bias = slices.Clone(weight), slices.Clone(bias)
			for row, s := range scale {
				bias[row] *= s
				for j := range out.in {
					weight[row*out.in+j] *= s
				}
			}
		}
		f.put(name(out.part+".weight"), weight, dim, out.in)
		f.put(name(out.part+".bias"), bias, dim)
	}
}

// ratioOf is the shortest ratio whose hidden width is the given one.
func ratioOf(dim, hidden int) float64 {
	exact := float64(hidden) / float64(dim)
	for scale := 1.0; scale < 1e16; scale *= 10 {
		if r := math.Ceil(exact*scale) / scale; space.Hidden(dim, r) == hidden {
			return r
		}
	}
	return math.Nextafter(exact, math.Inf(1))
}

// classifier takes the last norm, the pooling and the head.
func (f *foreign) classifier(m *space.Model, dim int) {
	v := &m.Variant
	pool := cmp.Or(f.hints.Pool, f.config.pool)
	head := f.own["head.weight"]
	of := f.config.arch // transformers' classes pool in ways that no tensor shows
	attention := f.has("attn_pool.latent")
	siglip := attention && f.family.name != "timm"
	clip := f.family.name == "Hugging Face CLIP or SigLIP" && !attention
	switch {
	case pool != "":
	case f.has("head_dist.weight"):
		pool = space.PoolDistilled
	case len(head.Shape) == 2 && head.Shape[1] == 2*dim:
		pool = space.PoolClassMean
	case siglip && f.has("head.weight"):
		pool = PoolMean
	case attention:
		pool = space.PoolAttention
	case f.has("fc_norm.weight"):
		pool = PoolMean
		f.assume("the mean of the patches (%v)", input.Pool)
	case v.NoClassToken:
		pool = PoolMean
	case clip && of == "" && f.has("head.weight") && f.has("head.bias"): // a classifier, no projection
		pool = PoolMean
	case strings.HasSuffix(of, "ForImageClassification") && clip:
		pool = PoolMean
	default:
		pool = PoolToken
		if of == "" {
			f.assume("the class token (%v)", input.Pool)
		}
	}
	if !slices.Contains(Pools(), pool) {
		f.fail("pooling %q is none of %s (%v)", pool, strings.Join(Pools(), ", "), input.Pool)
	}
	m.GlobalPool = pool == PoolMean
	if !m.GlobalPool && pool != PoolToken {
		v.Pool = pool
	}
	norm := "norm"
	switch {
	case f.has("fc_norm.weight"):
		norm, v.Norm = "fc_norm", space.NormPooled
		if f.has("norm.weight") {
			f.fail("it has both a norm before and one after pooling, which models of ours have not")
		}
	case clip && m.GlobalPool: // CLIPForImageClassification takes the tokens before the last norm
		norm, v.Norm = "", space.NormNone
		f.m.LeftOut = append(f.m.LeftOut, f.drop("norm.")...)
	}
	if norm != "" {
		f.norm(norm, norm, dim)
	}
	if attention && v.Pool == space.PoolAttention {
		f.attentionPool(m, dim)
	} else if attention {
		f.m.LeftOut = append(f.m.LeftOut, f.drop("attn_pool.")...)
	}
	if len(head.Shape) == 0 {
		if v.Pool == space.PoolClassMean || v.Pool == space.PoolDistilled {
			f.fail("pooling %s needs a head, and the file has none", v.Pool)
		}
		f.headless(m, "head", dim)
		return
	}
	m.NumClasses = f.shape("head.weight", 2)[0]
	if v.Pool != space.PoolClassMean {
		f.copy("head.weight", m.NumClasses, dim)
	} else {
		both := f.values("head.weight", false, m.NumClasses, 2*dim)
		var class, mean []float32
		for row := range both {
			if row%(2*dim) == 0 {
				class, mean = append(class, both[row:][:dim]...), append(mean, both[row+dim:][:dim]...)
			}
		}
		f.put("head.weight", class, m.NumClasses, dim)
		f.put("head_mean.weight", mean, m.NumClasses, dim)
	}
	f.put("head.bias", f.bias("head.bias", m.NumClasses), m.NumClasses)
	switch {
	case v.Pool == space.PoolDistilled:
		f.copy("head_dist.weight", m.NumClasses, dim)
		f.put("head_dist.bias", f.bias("head_dist.bias", m.NumClasses), m.NumClasses)
	case f.has("head_dist.weight"):
		f.m.LeftOut = append(f.m.LeftOut, f.drop("head_dist.")...)
	}
}

// headless puts the identity in the place of a head that the file has not, whose outputs are the features.
func (f *foreign) headless(m *space.Model, head string, dim int) {
	m.NumClasses = dim
	unit := make([]float32, dim*dim)
	for i := range dim {
		unit[i*dim+i] = 1
	}
	f.put(head+".weight", unit, dim, dim)
	f.put(head+".bias", make([]float32, dim), dim)
	f.m.Notes = append(f.m.Notes, fmt.Sprintf("the file has no head: the outputs are the %s, by a head of ones; training on images draws a new one", printable.Count(dim, "feature")))
}

// drop names tensors that take no part in the outputs.
func (f *foreign) drop(prefix string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(f.own)) {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}

// attentionPool takes SigLIP's head: the query is what the projection makes of the latent.
func (f *foreign) attentionPool(m *space.Model, dim int) {
	latent := f.values("attn_pool.latent", false, 1, 1, dim)
	var q, qBias, kv, kvBias []float32
	if f.has("attn_pool.in.weight") { // torch's MultiheadAttention: q, k and v in one
		all, bias := f.values("attn_pool.in.weight", false, 3*dim, dim), f.values("attn_pool.in.bias", false, 3*dim)
		if f.err != nil {
			return
		}
		q, kv, qBias, kvBias = all[:dim*dim], all[dim*dim:], bias[:dim], bias[dim:]
	} else {
		q, qBias = f.values("attn_pool.q.weight", false, dim, dim), f.bias("attn_pool.q.bias", dim)
		kv, kvBias = f.values("attn_pool.kv.weight", false, 2*dim, dim), f.bias("attn_pool.kv.bias", 2*dim)
	}
	hidden := f.shape("attn_pool.mlp.fc1.weight", 2)[0]
	if f.err != nil {
		return
	}
	query := make([]float32, dim)
	for o := range query {
		sum := float64(qBias[o])
		for i := range dim {
			sum += float64(q[o*dim+i]) * float64(latent[i])
		}
		query[o] = float32(sum)
	}
	m.Variant.PoolHeads, m.Variant.PoolHidden = dim/m.HeadDim, hidden
	f.put("attn_pool.q", query, dim)
	f.put("attn_pool.kv.weight", kv, 2*dim, dim)
	f.put("attn_pool.kv.bias", kvBias, 2*dim)
	f.copy("attn_pool.proj.weight", dim, dim)
	f.put("attn_pool.proj.bias", f.bias("attn_pool.proj.bias", dim), dim)
	f.norm("attn_pool.norm", "attn_pool.norm", dim)
	f.copy("attn_pool.mlp.fc1.weight", hidden, dim)
	f.put("attn_pool.mlp.fc1.bias", f.bias("attn_pool.mlp.fc1.bias", hidden), hidden)
	f.copy("attn_pool.mlp.fc2.weight", dim, hidden)
	f.put("attn_pool.mlp.fc2.bias", f.bias("attn_pool.mlp.fc2.bias", dim), dim)
}
