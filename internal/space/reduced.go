package space

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"gopkg.in/yaml.v3"

	"prenas/internal/fsys"
)

// Reduced is a search space cut down to what its candidates use: for each
// embedding dim the depths, and for each layer the heads and ratios, that some
// candidate of that dim has. All lists ascend. It is the original's
// candidates_to_choices.
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
			r.NumHeads[a.EmbedDim] = insertEach(r.NumHeads[a.EmbedDim], a.NumHeads)
			r.MLPRatio[a.EmbedDim] = insertEach(r.MLPRatio[a.EmbedDim], a.MLPRatio)
		}
	}
	r.EmbedDim = slices.Sorted(maps.Keys(r.Depth))
	return r
}

func insertEach[T int | float64](sets [][]T, values []T) [][]T {
	for i, v := range values {
		if i == len(sets) {
			sets = append(sets, nil)
		}
		sets[i] = insert(sets[i], v)
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

// WriteYAML writes the reduced space, whole or not at all, as a space file
// whose SEARCH_SPACE is per embedding dim:
//
//	SUPERNET:
//	  EMBED_DIM: 256
//	  ...
//	SEARCH_SPACE:
//	  EMBED_DIM: [192, 216]
//	  DEPTH: {192: [12], 216: [12]}
//	  NUM_HEADS: {192: [[4], [3, 4], ...], ...}
//	  MLP_RATIO: {192: [[4], [3.5, 4], ...], ...}
func (r Reduced) WriteYAML(fs fsys.FS, path string, super Supernet) error {
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
	text, err := yaml.Marshal(doc)
	if err != nil {
		return fmt.Errorf("reduced space %s: %w", path, err)
	}
	return fsys.WriteAtomic(fs, path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
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
