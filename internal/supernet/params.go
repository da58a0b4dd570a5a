package supernet

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"prenas/internal/rng"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// Errors of this package.
var (
	// ErrWeights: a set of weights lacks a tensor of the supernet, or has one
	// of another shape or type.
	ErrWeights = errors.New("weights do not fit the space")
)

// Param is one tensor of the shared weights.
type Param struct {
	Name  string
	Shape []int
	// Decay tells whether weight decay applies: to matrices, the head and the
	// relative-position tables, not to vectors, biases, the position embedding
	// and the class token.
	Decay bool
	// Block is the block the tensor belongs to, -1 outside of the blocks.
	Block int

	last   bool // after the last block, of a convolutional network
	dim    int  // embedding dim that alone uses the tensor; 0: all do
	kernel int  // largest kernel that uses the tensor; 0: all do
	start  initialiser
}

// InHead tells whether the tensor belongs to the classifier.
func (p Param) InHead() bool {
	return strings.HasPrefix(p.Name, "head") || strings.HasPrefix(p.Name, "classifier.")
}

// Layer is how far into a network of depth blocks the tensor stands: 0 for what is before
// the blocks, i+1 for block i, depth+1 for what is after them.
func (p Param) Layer(depth int) int {
	switch {
	case p.Block >= 0:
		return p.Block + 1
	case p.last || p.InHead() || strings.HasPrefix(p.Name, "norm.") || strings.HasPrefix(p.Name, "fc_norm.") || strings.HasPrefix(p.Name, "attn_pool."):
		return depth + 1
	}
	return 0
}

// Net is the supernet of a space: its weights' names and shapes, and the
// forward graphs of its architectures.
type Net struct {
	space  *space.Space
	size   space.Arch // of the weights
	params []Param
	index  map[string]int

	scalings map[string]scaling // by the name of what they multiply
}

// New describes the supernet of a valid space.
func New(s *space.Space) *Net { return newNet(s, s.Whole()) }

// Standalone describes the weights of one architecture alone, with nothing around its slices.
// Its space has no choices, and so nothing that is learned for each choice: see Fold.
func Standalone(m space.Model, a space.Arch) *Net {
	return newNet(&space.Space{Name: a.String(), Model: m.Plain()}, a)
}

// newNet has weights of the size of an architecture.
func newNet(s *space.Space, size space.Arch) *Net {
	n := &Net{space: s, size: size, index: map[string]int{}, scalings: map[string]scaling{}}
	if s.Model.IsConv() {
		n.add(ParamsOf(s.Model, size)...)
		if s.Model.Conv.Transform {
			n.add(transformsOf(s)...)
		}
		return n
	}
	for _, p := range ParamsOf(s.Model, size) {
		if s.Model.SwitchNorm && strings.Contains(p.Name, "norm.") {
			n.add(n.switched(p)...)
		} else {
			n.add(p)
		}
	}
	for block := -1; block < size.Depth(); block++ {
		n.addScalings(block)
	}
	return n
}

func (n *Net) add(params ...Param) {
	for _, p := range params {
		n.index[p.Name] = len(n.params)
		n.params = append(n.params, p)
	}
}

// ParamsOf lists the weights of one architecture alone, of the plain model, in a fixed order. Each is the
// slice that begins at Origin of the weight of the same name of any supernet
// that holds the architecture; a supernet is the architecture of its own size. Blocks have
// the numbers that they have there.
func ParamsOf(m space.Model, a space.Arch) []Param {
	if m.IsConv() {
		return convParams(m, a)
	}
	dim := a.EmbedDim
	var params []Param
	add := func(block int, name string, start initialiser, shape ...int) {
		embedding := name == "pos_embed" || name == "cls_token" || name == "reg_token"
		params = append(params, Param{Name: name, Shape: shape, Decay: len(shape) > 1 && !embedding, Block: block, start: start})
	}

	if !m.Variant.NoClassToken {
		add(-1, "cls_token", truncatedNormal, 1, 1, dim)
	}
	if m.Variant.Registers > 0 {
		add(-1, "reg_token", truncatedNormal, 1, m.Variant.Registers, dim)
	}
	if m.AbsPos {
		add(-1, "pos_embed", truncatedNormal, 1, m.Tokens(), dim)
	}
	// torch's default for a convolution, which the original leaves as it is.
	fanIn := m.Channels * m.PatchSize * m.PatchSize
	kaiming := uniform(1 / math.Sqrt(float64(fanIn)))
	add(-1, "patch_embed_super.proj.weight", kaiming, dim, m.Channels, m.PatchSize, m.PatchSize)
	add(-1, "patch_embed_super.proj.bias", kaiming, dim)
	if m.Variant.PreNorm {
		add(-1, "norm_pre.weight", ones, dim)
		add(-1, "norm_pre.bias", zeros, dim)
	}
	for i := range a.Depth() {
		number, width, hidden := a.Layer(i), a.NumHeads[i]*m.HeadDim, space.Hidden(dim, a.MLPRatio[i])
		block := func(name string, start initialiser, shape ...int) {
			add(number, blockName(number, name), start, shape...)
		}
		block("attn.qkv.weight", truncatedNormal, 3*width, dim)
		if m.QKVBias {
			block("attn.qkv.bias", zeros, 3*width)
		}
		if m.Variant.QKNorm {
			for _, part := range []string{"attn.q_norm", "attn.k_norm"} {
				block(part+".weight", ones, m.HeadDim)
				block(part+".bias", zeros, m.HeadDim)
			}
		}
		if m.RelativePosition {
			for _, table := range relativeTables {
				block(table, truncatedNormal, 2*m.MaxRelativePosition+2, m.HeadDim)
			}
		}
		block("attn.proj.weight", truncatedNormal, dim, width)
		block("attn.proj.bias", zeros, dim)
		block("attn_layer_norm.weight", ones, dim)
		block("attn_layer_norm.bias", zeros, dim)
		block("ffn_layer_norm.weight", ones, dim)
		block("ffn_layer_norm.bias", zeros, dim)
		block("fc1.weight", truncatedNormal, hidden, dim)
		block("fc1.bias", zeros, hidden)
		block("fc2.weight", truncatedNormal, dim, hidden)
		block("fc2.bias", zeros, dim)
	}
	if norm := lastNorm(m); norm != "" {
		add(-1, norm+".weight", ones, dim)
		add(-1, norm+".bias", zeros, dim)
	}
	add(-1, "head.weight", truncatedNormal, m.NumClasses, dim)
	add(-1, "head.bias", zeros, m.NumClasses)
	variantParams(m, dim, func(name string, start initialiser, shape ...int) { add(-1, name, start, shape...) })
	return params
}

// Origin is where the slice of an architecture lies in a weight of a larger shape: at
// index 0 along every axis, and in the middle of convolutions' kernels.
func Origin(slice, whole []int) []int {
	origin := make([]int, len(whole))
	if len(whole) == 4 {
		for axis := 2; axis < 4; axis++ {
			origin[axis] = (whole[axis] - slice[axis]) / 2
		}
	}
	return origin
}

// SliceShapes are the shapes of what an architecture reads of each of Params: the first indices
// along each axis. They are those of the whole tensor where it reads another part, and where it
// reads none.
func (n *Net) SliceShapes(a space.Arch) [][]int {
	shapes := make([][]int, len(n.params))
	for i, p := range n.params {
		shapes[i] = p.Shape
	}
	for _, p := range ParamsOf(n.space.Model, a) {
		i := n.Index(p.Name)
		if i >= 0 && !slices.ContainsFunc(Origin(p.Shape, n.params[i].Shape), func(at int) bool { return at > 0 }) {
			shapes[i] = p.Shape
		}
	}
	return shapes
}

// Places are the numbers that the layers of an architecture have among those of
// a larger one.
func Places(size, a space.Arch) []int {
	var places []int
	for i := range a.NumHeads {
		places = append(places, size.At(a.Layer(i)))
	}
	first := 0
	for u, layers := range a.Units {
		for l := range layers {
			places = append(places, first+l)
		}
		first += len(size.Units[u])
	}
	return places
}

// relativeTables are the tables of relative positions of a block: for keys and
// values, vertical and horizontal.
var relativeTables = []string{
	"attn.rel_pos_embed_k.embeddings_table_v",
	"attn.rel_pos_embed_k.embeddings_table_h",
	"attn.rel_pos_embed_v.embeddings_table_v",
	"attn.rel_pos_embed_v.embeddings_table_h",
}

// Space of the supernet.
func (n *Net) Space() *space.Space { return n.space }

// Params lists the shared weights in a fixed order.
func (n *Net) Params() []Param { return n.params }

// Bytes of all weights in float32. A float does not overflow.
func (n *Net) Bytes() float64 {
	bytes := 0.0
	for _, p := range n.params {
		size := 4.0
		for _, d := range p.Shape {
			size *= float64(d)
		}
		bytes += size
	}
	return bytes
}

// ImageBytes of so many images as a model of the space takes them, in float32.
func ImageBytes(m space.Model, images int) float64 {
	return 4 * float64(images) * float64(m.Channels) * float64(m.ImageSize) * float64(m.ImageSize)
}

// Index of a weight in Params; -1 if the supernet has none of that name.
func (n *Net) Index(name string) int {
	if i, ok := n.index[name]; ok {
		return i
	}
	return -1
}

// Uses tells for each of Params whether it takes part in the computation of a.
func (n *Net) Uses(a space.Arch) []bool {
	used := make([]bool, len(n.params))
	kernels := map[int]int{-1: 0} // by block; of a vision transformer 0
	layers := slices.Concat(a.Units...)
	for i, place := range Places(n.size, a) {
		if a.IsConv() {
			kernels[place] = layers[i].Kernel
		} else {
			kernels[a.Layer(i)] = 0
		}
	}
	for i, p := range n.params {
		kernel, there := kernels[p.Block]
		used[i] = there && (p.dim == 0 || p.dim == a.EmbedDim) && (p.kernel == 0 || kernel <= p.kernel)
	}
	return used
}

// Check reports the first weight that is missing or of another shape or type.
func (n *Net) Check(weights map[string]tensorfile.Tensor) error {
	for _, p := range n.params {
		t, ok := weights[p.Name]
		if !ok {
			return fmt.Errorf("%w %s: tensor %q is missing", ErrWeights, n.space.Name, p.Name)
		}
		if !slices.Equal(t.Shape, p.Shape) {
			return fmt.Errorf("%w %s: tensor %q has shape %v, the space needs %v", ErrWeights, n.space.Name, p.Name, t.Shape, p.Shape)
		}
	}
	return nil
}

// Init draws the weights at initialisation from the seed: linear weights,
// embeddings and tables from a normal distribution of deviation 0.02 cut at
// ±2, zero biases, norms of weight 1, and the patch convolution with torch's
// default, uniform in ±1/√fan_in (Kaiming with a = √5).
func (n *Net) Init(seed uint64) map[string]tensorfile.Tensor {
	weights := make(map[string]tensorfile.Tensor, len(n.params))
	for _, p := range n.params {
		weights[p.Name] = p.Init(seed)
	}
	return weights
}

// Init draws the tensor at initialisation from the seed.
func (p Param) Init(seed uint64) tensorfile.Tensor {
	size := 1
	for _, d := range p.Shape {
		size *= d
	}
	values := make([]float32, size)
	p.start(values, seed, p.Name)
	return tensorfile.FromFloat32(p.Shape, values)
}

// initialiser fills the values of one tensor, drawing from (seed, name).
type initialiser func(values []float32, seed uint64, name string)

func zeros([]float32, uint64, string) {}

func ones(values []float32, _ uint64, _ string) {
	for i := range values {
		values[i] = 1
	}
}

// truncatedNormal has deviation 0.02; the cut at ±2, a hundred deviations out,
// is timm's trunc_normal_ as the original calls it.
func truncatedNormal(values []float32, seed uint64, name string) {
	r := rng.New(seed, "init "+name)
	for i := range values {
		values[i] = float32(math.Max(-2, math.Min(2, 0.02*r.NormFloat64())))
	}
}

func uniform(bound float64) initialiser {
	return func(values []float32, seed uint64, name string) {
		r := rng.New(seed, "init "+name)
		for i := range values {
			values[i] = float32(bound * (2*r.Float64() - 1))
		}
	}
}

// blockName is the name of a weight of block i.
func blockName(i int, name string) string {
	return fmt.Sprintf("blocks.%d.%s", i, name)
}
