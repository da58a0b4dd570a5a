package space

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Reduced is a search space cut down to what its candidates use: for each
// embedding dim the depths, and for each layer the heads and ratios, that some
// candidate of that dim has. A layer is a block of the supernet; one that no candidate keeps
// has no choices. All lists ascend. It is the original's
// candidates_to_choices, and what its training takes.
type Reduced struct {
	EmbedDim []int               `json:"embed_dim"`
	MLPRatio map[int][][]float64 `json:"mlp_ratio"` // by embedding dim, then layer
	NumHeads map[int][][]int     `json:"num_heads"` // by embedding dim, then layer
	Depth    map[int][]int       `json:"depth"`     // by embedding dim
}

// Choices is the reduced space of the candidates.
func (c Candidates) Choices() Reduced {
	r := Reduced{MLPRatio: map[int][][]float64{}, NumHeads: map[int][][]int{}, Depth: map[int][]int{}}
	for _, bin := range c {
		for _, cand := range bin.Candidates {
			a := cand.Arch
			r.Depth[a.EmbedDim] = insert(r.Depth[a.EmbedDim], a.Depth())
			r.NumHeads[a.EmbedDim] = insertEach(r.NumHeads[a.EmbedDim], a.NumHeads, a.Layer)
			r.MLPRatio[a.EmbedDim] = insertEach(r.MLPRatio[a.EmbedDim], a.MLPRatio, a.Layer)
		}
	}
	r.EmbedDim = slices.Sorted(maps.Keys(r.Depth))
	return r
}

// depths that an architecture of an embedding dim may have.
func (s *Space) depths(dim int) []int {
	if s.Reduced == nil {
		return s.Depth
	}
	return s.Reduced.Depth[dim]
}

// layer are the heads and the ratios that a block of the supernet may have at an embedding dim.
func (s *Space) layer(dim, l int) (heads []int, ratios []float64) {
	if s.Reduced == nil {
		return s.NumHeads, s.MLPRatio
	}
	return s.Reduced.NumHeads[dim][l], s.Reduced.MLPRatio[dim][l]
}

// Has tells whether architectures of an embedding dim may have so many layers.
func (s *Space) Has(dim, depth int) bool { return slices.Contains(s.depths(dim), depth) }

// HasHeads tells whether a layer of an embedding dim may have so many heads.
func (s *Space) HasHeads(dim, l, heads int) bool {
	if s.Reduced != nil && l >= len(s.Reduced.NumHeads[dim]) {
		return false
	}
	list, _ := s.layer(dim, l)
	return slices.Contains(list, heads)
}

// HasRatio tells whether a layer of an embedding dim may have an MLP ratio.
func (s *Space) HasRatio(dim, l int, ratio float64) bool {
	if s.Reduced != nil && l >= len(s.Reduced.MLPRatio[dim]) {
		return false
	}
	_, list := s.layer(dim, l)
	return slices.Contains(list, ratio)
}

// validate refuses choices of a dim or a layer that the space has not, or that are missing.
func (r *Reduced) validate(s *Space) error {
	if r == nil {
		return nil
	}
	for _, dim := range s.EmbedDim {
		depths, heads, ratios := r.Depth[dim], r.NumHeads[dim], r.MLPRatio[dim]
		if len(depths) == 0 {
			return impossible("SEARCH_SPACE.DEPTH has no depth of EMBED_DIM %d", dim)
		}
		deepest := slices.Max(depths)
		if deepest < 1 || deepest > s.Supernet.Depth {
			return impossible("SEARCH_SPACE.DEPTH has %d at EMBED_DIM %d; it must be from 1 to the supernet's %d", deepest, dim, s.Supernet.Depth)
		}
		keeps := s.Keeps(deepest)
		if lists := keeps[len(keeps)-1] + 1; len(heads) != lists || len(ratios) != lists {
			return impossible("SEARCH_SPACE: EMBED_DIM %d has blocks up to number %d, but NUM_HEADS lists %d and MLP_RATIO %d", dim, lists-1, len(heads), len(ratios))
		}
		for _, l := range keeps {
			if len(heads[l]) == 0 || len(ratios[l]) == 0 {
				return impossible("SEARCH_SPACE: EMBED_DIM %d has no choice of NUM_HEADS or MLP_RATIO in layer %d", dim, l)
			}
		}
	}
	for _, keys := range [][]int{slices.Collect(maps.Keys(r.Depth)), slices.Collect(maps.Keys(r.NumHeads)), slices.Collect(maps.Keys(r.MLPRatio))} {
		for _, dim := range keys {
			if !slices.Contains(s.EmbedDim, dim) {
				return impossible("SEARCH_SPACE has choices of EMBED_DIM %d, which is not one of %v", dim, s.EmbedDim)
			}
		}
	}
	return nil
}

// unions sets the lists of a reduced space: all that any dim and any layer has, ascending.
func (s *Space) unions() {
	s.Depth, s.NumHeads, s.MLPRatio = nil, nil, nil
	for _, dim := range s.EmbedDim {
		for _, depth := range s.Reduced.Depth[dim] {
			s.Depth = insert(s.Depth, depth)
		}
		for _, heads := range s.Reduced.NumHeads[dim] {
			for _, h := range heads {
				s.NumHeads = insert(s.NumHeads, h)
			}
		}
		for _, ratios := range s.Reduced.MLPRatio[dim] {
			for _, r := range ratios {
				s.MLPRatio = insert(s.MLPRatio, r)
			}
		}
	}
}

// insertEach puts each value into the set of its layer.
func insertEach[T int | float64](sets [][]T, values []T, layer func(i int) int) [][]T {
	for i, v := range values {
		for layer(i) >= len(sets) {
			sets = append(sets, nil)
		}
		sets[layer(i)] = insert(sets[layer(i)], v)
	}
	return sets
}

func insert[T int | float64](set []T, v T) []T {
	at, found := slices.BinarySearch(set, v)
	if found {
		return set
	}
	return slices.Insert(set, at, v)
}

// WriteYAML writes the reduced space of s as the text of a space file
// whose SEARCH_SPACE is per embedding dim, with what else the space's file says:
//
//	SUPERNET:
//	  EMBED_DIM: 256
//	  ...
//	SEARCH_SPACE:
//	  EMBED_DIM: [192, 216]
//	  DEPTH: {192: [12], 216: [12]}
//	  NUM_HEADS: {192: [[4], [3, 4], ...], ...}
//	  MLP_RATIO: {192: [[4], [3.5, 4], ...], ...}
//	MODEL: ...
//	INTERVAL: {MIN: 5, MAX: 12, STEP: 1}
func (r Reduced) WriteYAML(w io.Writer, s *Space) error {
	super := s.Supernet
	doc := mapping(
		"SUPERNET", mapping(
			"EMBED_DIM", numeral(super.EmbedDim), "DEPTH", numeral(super.Depth),
			"NUM_HEADS", numeral(super.NumHeads), "MLP_RATIO", numeral(super.MLPRatio)),
		"SEARCH_SPACE", mapping(
			"EMBED_DIM", flow(r.EmbedDim, numeral),
			"DEPTH", byDim(r.EmbedDim, r.Depth, numeral),
			"NUM_HEADS", byDim(r.EmbedDim, r.NumHeads, func(l []int) *yaml.Node { return flow(l, numeral) }),
			"MLP_RATIO", byDim(r.EmbedDim, r.MLPRatio, func(l []float64) *yaml.Node { return flow(l, numeral) })),
	)
	if s.Layers != nil {
		choices := doc.Content[3]
		choices.Content = append(choices.Content, mapping("LAYERS", flow(s.Layers, numeral)).Content...)
	}
	if s.ModelGiven {
		doc.Content = append(doc.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "MODEL"}, s.modelNode())
	}
	if i := s.Interval; i != (Interval{}) {
		doc.Content = append(doc.Content, mapping("INTERVAL", mapping("MIN", numeral(i.Min), "MAX", numeral(i.Max), "STEP", numeral(i.Step))).Content...)
	}
	text, err := yaml.Marshal(doc)
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

// modelNode is a transformer's MODEL block. A number of classes that nobody gave and that no
// images said is left to the images.
func (s *Space) modelNode() *yaml.Node {
	m := s.Model
	value := func(v any) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)} }
	keys := []any{
		"IMAGE_SIZE", value(m.ImageSize), "PATCH_SIZE", value(m.PatchSize), "CHANNELS", value(m.Channels), "HEAD_DIM", value(m.HeadDim), "RELATIVE_POSITION", value(m.RelativePosition),
	}
	if s.ClassesGiven || m.NumClasses != DefaultModel().NumClasses {
		keys = append(keys, "NUM_CLASSES", value(m.NumClasses))
	}
	if m.RelativePosition {
		keys = append(keys, "MAX_RELATIVE_POSITION", value(m.MaxRelativePosition))
	}
	keys = append(keys, "GLOBAL_POOL", value(m.GlobalPool), "ABS_POS", value(m.AbsPos), "QKV_BIAS", value(m.QKVBias))
	for _, own := range []struct {
		key string
		on  bool
	}{{"SWITCH_LN", m.SwitchNorm}, {"SCALE_ATTN", m.ScaleAttn}, {"SCALE_MLP", m.ScaleMLP}, {"SCALE_EMBED", m.ScaleEmbed}} {
		if own.on {
			keys = append(keys, own.key, value(true))
		}
	}
	for _, own := range m.VariantKeys() {
		keys = append(keys, own.Key, value(own.Value))
	}
	return mapping(keys...)
}

func mapping(keysAndNodes ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(keysAndNodes); i += 2 {
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: keysAndNodes[i].(string)}
		n.Content = append(n.Content, key, keysAndNodes[i+1].(*yaml.Node))
	}
	return n
}

func byDim[T any](dims []int, lists map[int][]T, item func(T) *yaml.Node) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, dim := range dims {
		n.Content = append(n.Content, numeral(dim), flow(lists[dim], item))
	}
	return n
}

func flow[T any](items []T, item func(T) *yaml.Node) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, v := range items {
		n.Content = append(n.Content, item(v))
	}
	return n
}

func numeral[T int | float64](v T) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatFloat(float64(v), 'f', -1, 64)}
}
