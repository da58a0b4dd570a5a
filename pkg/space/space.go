package space

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
)

// Ratio is the width of an MLP's hidden layer over the embedding dim.
type Ratio = float64

// Supernet is the size of the shared weights; every architecture's weights
// are slices of them. Depth is the layers of each unit where there are units.
type Supernet struct {
	EmbedDim int     `json:"embed_dim,omitzero"`
	Depth    int     `json:"depth"`
	NumHeads int     `json:"num_heads,omitzero"`
	MLPRatio float64 `json:"mlp_ratio,omitzero"`

	Kernel int     `json:"kernel,omitzero"`
	Expand float64 `json:"expand,omitzero"`
}

// Model is what all architectures of a space have in common: image and classes,
// and for a vision transformer the rest here, for a convolutional network Conv.
type Model struct {
	ImageSize           int  `json:"image_size"` // of the largest resolution
	PatchSize           int  `json:"patch_size"`
	Channels            int  `json:"channels"`
	NumClasses          int  `json:"num_classes"`
	HeadDim             int  `json:"head_dim"`              // features of one attention head
	RelativePosition    bool `json:"relative_position"`     // 2-D relative positions for keys and values
	MaxRelativePosition int  `json:"max_relative_position"` // distances are clamped to this, in patches
	GlobalPool          bool `json:"global_pool"`           // classify the mean of the patch tokens, not the class token
	AbsPos              bool `json:"abs_pos"`               // add a learned position to each token
	QKVBias             bool `json:"qkv_bias"`

	// What each choice learns for itself; see package supernet.
	SwitchNorm bool `json:"switch_norm,omitzero"` // a LayerNorm for each embedding dim
	ScaleAttn  bool `json:"scale_attn,omitzero"`  // factors of queries and values, for each number of heads
	ScaleMLP   bool `json:"scale_mlp,omitzero"`   // factors of hidden units, for each width
	ScaleEmbed bool `json:"scale_embed,omitzero"` // factors of both branches and of the tokens, for each embedding dim

	// Variant is what transformers of other training codes have.
	Variant Variant `json:"variant,omitzero"`

	Conv ConvModel `json:"conv,omitzero"`
}

// IsConv tells the family.
func (m Model) IsConv() bool { return len(m.Conv.Units) > 0 }

// Side of the images that an architecture takes, in pixels.
func (m Model) Side(a Arch) int {
	if m.IsConv() {
		return a.Resolution
	}
	return m.ImageSize
}

// Plain is the model without what each choice learns for itself: what a single
// architecture is, and what scores are of.
func (m Model) Plain() Model {
	m.SwitchNorm, m.ScaleAttn, m.ScaleMLP, m.ScaleEmbed, m.Conv.Transform = false, false, false, false, false
	return m
}

// IsPlain tells whether no choice learns anything for itself.
func (m Model) IsPlain() bool {
	return !m.SwitchNorm && !m.ScaleAttn && !m.ScaleMLP && !m.ScaleEmbed && !m.Conv.Transform
}

// DefaultModel is the original's model with the flags that its scripts use.
func DefaultModel() Model {
	return Model{
		ImageSize: 224, PatchSize: 16, Channels: 3, NumClasses: 1000, HeadDim: 64,
		RelativePosition: true, MaxRelativePosition: 14,
		GlobalPool: true, AbsPos: true, QKVBias: true,
	}
}

// Interval cuts a range of parameter counts into budgets; all three are in
// millions of parameters. The zero Interval means that none was given.
type Interval struct {
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
	Step float64 `json:"step"`
}

// Space is a supernet and the choices that architectures are made of. The
// lists are in the file's order, which is the order of enumeration.
type Space struct {
	Name     string    `json:"name"`
	Supernet Supernet  `json:"supernet"`
	EmbedDim []int     `json:"embed_dim,omitempty"`
	Depth    []int     `json:"depth"`
	NumHeads []int     `json:"num_heads,omitempty"`
	MLPRatio []float64 `json:"mlp_ratio,omitempty"`
	// Layers are all blocks of the supernet of vision transformers, most important first:
	// an architecture of so many layers keeps the first so many of them, in the order that
	// they have in the supernet. nil: the first blocks are kept.
	Layers []int `json:"layers,omitempty"`
	Model  Model `json:"model"`

	// Of a convolutional space: Depth are the layers that a unit may have, each
	// unit by itself, and the other lists above are empty.
	Resolution []int     `json:"resolution,omitempty"`
	Kernel     []int     `json:"kernel,omitempty"`
	Expand     []float64 `json:"expand,omitempty"`
	// Blocks are those of a convolutional supernet whose blocks differ, by unit: each chooses
	// among what is in the lists and not above its own. nil: all are as Supernet says.
	Blocks [][]ConvLayer `json:"blocks,omitempty"`

	// Reduced, where it is not nil, leaves of the choices above, which are all that any
	// layer has, those of a dim and of a layer.
	Reduced *Reduced `json:"reduced,omitempty"`

	// ModelGiven tells that the space file says what the model is; without it,
	// Model is the default, and weights that are given may say otherwise.
	ModelGiven bool `json:"model_given"`
	// ClassesGiven tells that a file of the user's says NUM_CLASSES; without it, images say
	// how many there are.
	ClassesGiven bool     `json:"classes_given,omitempty"`
	Interval     Interval `json:"interval"`
}

// Largest is the architecture of the largest choice of every list. It may be
// smaller than the supernet (tiny: 240 of 256 wide).
func (s *Space) Largest() Arch {
	if s.Model.IsConv() {
		return s.convOf(slices.Max(s.Resolution), slices.Max[[]int], slices.Max[[]float64])
	}
	return s.keeping(uniform(slices.Max(s.EmbedDim), slices.Max(s.Depth), slices.Max(s.NumHeads), slices.Max(s.MLPRatio)))
}

// Smallest is the architecture of the smallest choice of every list.
func (s *Space) Smallest() Arch {
	if s.Model.IsConv() {
		return s.convOf(slices.Min(s.Resolution), slices.Min[[]int], slices.Min[[]float64])
	}
	return s.keeping(uniform(slices.Min(s.EmbedDim), slices.Min(s.Depth), slices.Min(s.NumHeads), slices.Min(s.MLPRatio)))
}

// Whole is the architecture of the supernet's own size.
func (s *Space) Whole() Arch {
	top := s.Supernet
	if s.Model.IsConv() {
		if s.Blocks != nil {
			return Arch{Resolution: s.Model.ImageSize, Units: s.Blocks}
		}
		return s.convUniform(s.Model.ImageSize, top.Depth, top.Kernel, top.Expand)
	}
	return uniform(top.EmbedDim, top.Depth, top.NumHeads, top.MLPRatio)
}

// Draw picks an architecture, each choice uniformly and by itself.
func (s *Space) Draw(r *rand.Rand) Arch {
	if s.Model.IsConv() {
		return s.drawConv(r)
	}
	a := Arch{EmbedDim: anyOf(r, s.EmbedDim)}
	for _, l := range s.Keeps(anyOf(r, s.depths(a.EmbedDim))) {
		heads, ratios := s.layer(a.EmbedDim, l)
		a.NumHeads = append(a.NumHeads, anyOf(r, heads))
		a.MLPRatio = append(a.MLPRatio, anyOf(r, ratios))
	}
	return s.keeping(a)
}

// Keeps are the blocks of the supernet, ascending, that a vision transformer of so many
// layers has.
func (s *Space) Keeps(depth int) []int {
	if s.Layers != nil {
		return slices.Sorted(slices.Values(s.Layers[:depth]))
	}
	first := make([]int, depth)
	for l := range first {
		first[l] = l
	}
	return first
}

// keeping is the architecture with its layers at the blocks that the space keeps of so many.
func (s *Space) keeping(a Arch) Arch { return a.Keeping(s.Keeps(a.Depth())) }

func anyOf[T any](r *rand.Rand, choices []T) T { return choices[r.IntN(len(choices))] }

func uniform(embedDim, depth, heads int, ratio float64) Arch {
	return Arch{
		EmbedDim: embedDim,
		NumHeads: slices.Repeat([]int{heads}, depth),
		MLPRatio: slices.Repeat([]float64{ratio}, depth),
	}
}

// Check reports whether every choice of a is one of the space's. The error
// wraps ErrArch and names the choice that is not.
func (s *Space) Check(a Arch) error {
	bad := func(what string, got any, choices any) error {
		return fmt.Errorf("%w of space %q: %s %v is not one of %v", ErrArch, s.Name, what, got, choices)
	}
	if s.Model.IsConv() != a.IsConv() {
		return fmt.Errorf("%w of space %q: %s is of the other family", ErrArch, s.Name, a)
	}
	if a.IsConv() {
		return s.checkConv(a, bad)
	}
	if len(a.MLPRatio) != len(a.NumHeads) {
		return fmt.Errorf("%w of space %q: %d layers of heads and %d of MLP ratios", ErrArch, s.Name, len(a.NumHeads), len(a.MLPRatio))
	}
	if !slices.Contains(s.EmbedDim, a.EmbedDim) {
		return bad("embedding dim", a.EmbedDim, s.EmbedDim)
	}
	if depths := s.depths(a.EmbedDim); !slices.Contains(depths, a.Depth()) {
		return bad("depth", a.Depth(), depths)
	}
	if keeps := s.Keeps(a.Depth()); !a.Equal(a.Keeping(keeps)) {
		return bad(fmt.Sprintf("%d layers: blocks", a.Depth()), a.Layers, keeps)
	}
	for i := range a.NumHeads {
		heads, ratios := s.layer(a.EmbedDim, a.Layer(i))
		if !slices.Contains(heads, a.NumHeads[i]) {
			return bad(fmt.Sprintf("layer %d: number of heads", i), a.NumHeads[i], heads)
		}
		if !slices.Contains(ratios, a.MLPRatio[i]) {
			return bad(fmt.Sprintf("layer %d: MLP ratio", i), a.MLPRatio[i], ratios)
		}
	}
	return nil
}

// Size is the number of architectures in the space:
// |embed| · Σ over depths of (|heads|·|ratios|)^depth, and of a convolutional
// one |resolution| · (Σ over depths of (|kernel|·|expand|)^depth)^units.
func (s *Space) Size() *big.Int {
	if s.Model.IsConv() {
		return s.convSize()
	}
	total := new(big.Int)
	for _, dim := range s.EmbedDim {
		for _, depth := range s.depths(dim) {
			ways := big.NewInt(1)
			for _, l := range s.Keeps(depth) {
				heads, ratios := s.layer(dim, l)
				ways.Mul(ways, big.NewInt(int64(len(heads)*len(ratios))))
			}
			total.Add(total, ways)
		}
	}
	return total
}

// Bounds of sizes: far above any vision transformer, low enough that no
// product of a few of them overflows an int64.
const (
	maxDim     = 1 << 16
	maxLayers  = 1 << 10
	maxRatio   = 64
	maxPixels  = 1 << 13
	maxClasses = 1 << 24
)

// Validate reports the first reason why no supernet can be built from the
// space, or why one of its choices does not fit the supernet. The error wraps
// ErrSpace.
func (s *Space) Validate() error {
	if err := s.Model.Validate(); err != nil {
		return err
	}
	if s.Model.IsConv() {
		return s.validateConv()
	}
	super := s.Supernet
	for _, c := range []struct {
		key     string
		super   int
		limit   int
		choices []int
	}{
		{"EMBED_DIM", super.EmbedDim, maxDim, s.EmbedDim},
		{"DEPTH", super.Depth, maxLayers, s.Depth},
		{"NUM_HEADS", super.NumHeads, maxLayers, s.NumHeads},
	} {
		if err := validateChoices(c.key, c.super, c.limit, c.choices); err != nil {
			return err
		}
	}
	if err := validateChoices("MLP_RATIO", super.MLPRatio, maxRatio, s.MLPRatio); err != nil {
		return err
	}
	if err := s.validateLayers(); err != nil {
		return err
	}
	if need := super.NumHeads * s.Model.HeadDim; need > super.EmbedDim {
		return impossible("%d heads of %d features need SUPERNET.EMBED_DIM to be at least %d, it is %d",
			super.NumHeads, s.Model.HeadDim, need, super.EmbedDim)
	}
	smallest := s.Smallest()
	if Hidden(smallest.EmbedDim, smallest.MLPRatio[0]) < 1 {
		return impossible("MLP_RATIO %v of EMBED_DIM %d leaves no hidden unit", smallest.MLPRatio[0], smallest.EmbedDim)
	}
	if err := s.validateSize(); err != nil {
		return err
	}
	if err := s.Reduced.validate(s); err != nil {
		return err
	}
	return s.Interval.validate()
}

// validateLayers refuses what are not all blocks of the supernet.
func (s *Space) validateLayers() error {
	if s.Layers == nil {
		return nil
	}
	for l := range s.Supernet.Depth {
		if len(s.Layers) != s.Supernet.Depth || !slices.Contains(s.Layers, l) {
			return impossible("SEARCH_SPACE.LAYERS is %v; it must have each block of the supernet once, from 0 to %d", s.Layers, s.Supernet.Depth-1)
		}
	}
	return nil
}

func validateChoices[T int | float64](key string, super, limit T, choices []T) error {
	if !(super > 0 && super <= limit) {
		return impossible("SUPERNET.%s is %v; it must be above 0 and at most %v", key, super, limit)
	}
	if len(choices) == 0 {
		return impossible("SEARCH_SPACE.%s is empty; give at least one choice", key)
	}
	for i, c := range choices {
		switch {
		case !(c > 0):
			return impossible("SEARCH_SPACE.%s has %v; every choice must be above 0", key, c)
		case c > super:
			return impossible("SEARCH_SPACE.%s has %v, more than the supernet's %v", key, c, super)
		case slices.Contains(choices[:i], c):
			return impossible("SEARCH_SPACE.%s has %v twice", key, c)
		}
	}
	return nil
}

// Validate reports the first value that no model can have; the error wraps ErrSpace.
func (m Model) Validate() error {
	if m.IsConv() {
		return m.validateConv()
	}
	for _, v := range []struct {
		key         string
		value, most int
	}{
		{"IMAGE_SIZE", m.ImageSize, maxPixels}, {"PATCH_SIZE", m.PatchSize, maxPixels}, {"CHANNELS", m.Channels, maxLayers},
		{"NUM_CLASSES", m.NumClasses, maxClasses}, {"HEAD_DIM", m.HeadDim, maxDim},
	} {
		if v.value < 1 || v.value > v.most {
			return impossible("MODEL.%s is %d; it must be from 1 to %d", v.key, v.value, v.most)
		}
	}
	if m.ImageSize%m.PatchSize != 0 {
		return impossible("MODEL.IMAGE_SIZE %d is not a multiple of PATCH_SIZE %d", m.ImageSize, m.PatchSize)
	}
	if m.RelativePosition && (m.MaxRelativePosition < 1 || m.MaxRelativePosition > maxPixels) {
		return impossible("MODEL.MAX_RELATIVE_POSITION is %d; it must be from 1 to %d", m.MaxRelativePosition, maxPixels)
	}
	return m.validateVariant()
}

func (i Interval) validate() error {
	if i == (Interval{}) {
		return nil
	}
	for _, v := range []float64{i.Min, i.Max, i.Step} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return impossible("INTERVAL must be finite, it is MIN %v, MAX %v, STEP %v", i.Min, i.Max, i.Step)
		}
	}
	if i.Min < 0 || i.Max <= i.Min || i.Step <= 0 {
		return impossible("INTERVAL needs 0 <= MIN < MAX and STEP > 0, it is MIN %v, MAX %v, STEP %v", i.Min, i.Max, i.Step)
	}
	return nil
}

func impossible(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrSpace}, args...)...)
}
