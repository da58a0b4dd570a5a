package space

import (
	"fmt"
	"math"
	"math/big"
	"slices"
)

// Supernet is the size of the shared weights.
type Supernet struct {
	EmbedDim, Depth, NumHeads int
	MLPRatio                  float64
}

// Model is what all architectures of a space have in common.
type Model struct {
	ImageSize, PatchSize, Channels, NumClasses int
	HeadDim                                    int // features of one attention head
	RelativePosition                           bool
	MaxRelativePosition                        int  // distances beyond it count as it
	GlobalPool                                 bool // mean over patches; else the class token
	AbsPos                                     bool // learned absolute positions
	QKVBias                                    bool
}

// DefaultModel is the original's with the flags of its scripts.
func DefaultModel() Model {
	return Model{ImageSize: 224, PatchSize: 16, Channels: 3, NumClasses: 1000, HeadDim: 64,
		RelativePosition: true, MaxRelativePosition: 14, GlobalPool: true, AbsPos: true, QKVBias: true}
}

// Interval divides the sizes of architectures, in millions of parameters, into
// bins [Min, Min+Step), [Min+Step, Min+2·Step), … below Max.
type Interval struct{ Min, Max, Step float64 }

// Space is a set of architectures: every combination of its choices.
type Space struct {
	Name     string
	Supernet Supernet
	// Choices in the order of the file they came from.
	EmbedDim, Depth, NumHeads []int
	MLPRatio                  []float64
	Model                     Model
	// ModelGiven tells that the space file says what the model is; without it,
	// Model is the default, and weights that are given may say otherwise.
	ModelGiven bool
	Interval   Interval // zero where the space has no default
}

// Largest is the architecture of the largest of each choice list. The supernet
// itself may be larger.
func (s *Space) Largest() Arch {
	return uniform(slices.Max(s.EmbedDim), slices.Max(s.Depth), slices.Max(s.NumHeads), slices.Max(s.MLPRatio))
}

// Smallest is the architecture of the smallest of each choice list.
func (s *Space) Smallest() Arch {
	return uniform(slices.Min(s.EmbedDim), slices.Min(s.Depth), slices.Min(s.NumHeads), slices.Min(s.MLPRatio))
}

func uniform(dim, depth, heads int, ratio float64) Arch {
	return Arch{EmbedDim: dim, NumHeads: slices.Repeat([]int{heads}, depth), MLPRatio: slices.Repeat([]float64{ratio}, depth)}
}

// Check reports why an architecture is not of the space.
func (s *Space) Check(a Arch) error {
	refuse := func(key string, value any, choices any) error {
		return fmt.Errorf("%w %s: %s %v is not one of %v of space %s", ErrArch, a, key, value, choices, s.Name)
	}
	if !slices.Contains(s.EmbedDim, a.EmbedDim) {
		return refuse("embed_dim", a.EmbedDim, s.EmbedDim)
	}
	if !slices.Contains(s.Depth, a.Depth()) || len(a.MLPRatio) != a.Depth() {
		return refuse("depth", a.Depth(), s.Depth)
	}
	for i := range a.NumHeads {
		if !slices.Contains(s.NumHeads, a.NumHeads[i]) {
			return refuse("num_heads", a.NumHeads[i], s.NumHeads)
		}
		if !slices.Contains(s.MLPRatio, a.MLPRatio[i]) {
			return refuse("mlp_ratio", a.MLPRatio[i], s.MLPRatio)
		}
	}
	return nil
}

// Validate reports the first value of the space that makes it unusable.
func (s *Space) Validate() error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w %s: %s", ErrSpace, s.Name, fmt.Sprintf(format, args...))
	}
	m := s.Model
	for _, v := range []struct {
		key   string
		value int
		most  int
	}{
		{"IMAGE_SIZE", m.ImageSize, 1 << 13}, {"PATCH_SIZE", m.PatchSize, 1 << 13}, {"CHANNELS", m.Channels, 1 << 10},
		{"NUM_CLASSES", m.NumClasses, 1 << 20}, {"HEAD_DIM", m.HeadDim, 1 << 12}, {"MAX_RELATIVE_POSITION", m.MaxRelativePosition, 1 << 12},
		{"SUPERNET.EMBED_DIM", s.Supernet.EmbedDim, 1 << 16}, {"SUPERNET.DEPTH", s.Supernet.Depth, 1 << 10}, {"SUPERNET.NUM_HEADS", s.Supernet.NumHeads, 1 << 10},
	} {
		if v.value < 1 || v.value > v.most {
			return refuse("%s is %d, it must be from 1 to %d", v.key, v.value, v.most)
		}
	}
	if m.ImageSize%m.PatchSize != 0 {
		return refuse("IMAGE_SIZE %d is not a multiple of PATCH_SIZE %d", m.ImageSize, m.PatchSize)
	}
	if err := choices(s, "EMBED_DIM", s.EmbedDim, s.Supernet.EmbedDim); err != nil {
		return err
	}
	if err := choices(s, "DEPTH", s.Depth, s.Supernet.Depth); err != nil {
		return err
	}
	if err := choices(s, "NUM_HEADS", s.NumHeads, s.Supernet.NumHeads); err != nil {
		return err
	}
	if r := s.Supernet.MLPRatio; !(r > 0 && r <= 64) {
		return refuse("SUPERNET.MLP_RATIO is %v, it must be above 0 and at most 64", r)
	}
	if err := choices(s, "MLP_RATIO", s.MLPRatio, s.Supernet.MLPRatio); err != nil {
		return err
	}
	if dim, ratio := slices.Min(s.EmbedDim), slices.Min(s.MLPRatio); Hidden(dim, ratio) < 1 {
		return refuse("MLP_RATIO %v of EMBED_DIM %d leaves no hidden unit", ratio, dim)
	}
	return nil
}

// choices checks one list of choices against the supernet's size.
func choices[T int | float64](s *Space, key string, list []T, supernet T) error {
	if len(list) == 0 {
		return fmt.Errorf("%w %s: SEARCH_SPACE.%s has no choices", ErrSpace, s.Name, key)
	}
	for i, c := range list {
		if !(c > 0) || math.IsInf(float64(c), 0) {
			return fmt.Errorf("%w %s: SEARCH_SPACE.%s has the choice %v, it must be above 0", ErrSpace, s.Name, key, c)
		}
		if c > supernet {
			return fmt.Errorf("%w %s: SEARCH_SPACE.%s has the choice %v, larger than the supernet's %v", ErrSpace, s.Name, key, c, supernet)
		}
		if slices.Contains(list[:i], c) {
			return fmt.Errorf("%w %s: SEARCH_SPACE.%s has the choice %v twice", ErrSpace, s.Name, key, c)
		}
	}
	return nil
}

// Size is the number of architectures in the space: for each width and depth,
// every combination of heads and ratio in every layer.
func (s *Space) Size() *big.Int {
	perLayer := big.NewInt(int64(len(s.NumHeads) * len(s.MLPRatio)))
	total := new(big.Int)
	for _, depth := range s.Depth {
		total.Add(total, new(big.Int).Exp(perLayer, big.NewInt(int64(depth)), nil))
	}
	return total.Mul(total, big.NewInt(int64(len(s.EmbedDim))))
}
