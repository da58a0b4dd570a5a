// Package importance sorts what slices of a network cut, most important first, and changes nothing
// that the whole computes.
//
// Slices of a supernet are the first rows and columns of its weights, and of shallower ones some
// blocks are left out. In a network that was trained as one, the first are any. Hidden units of
// an MLP, heads of a layer and features of the embedding may stand in any order, as long as all
// weights that read or write them have the same one; so they are sorted by what they are worth
// (see proxy.Units), and each slice keeps what matters most. The features of a head could be
// sorted too, but no slice cuts a head. Blocks have an order by what the outputs lose without
// them. Of a convolutional network slices cut the hidden features of its blocks.
package importance

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"prenas/internal/printable"
	"prenas/internal/proxy"
	"prenas/internal/tensorfile"
	"prenas/pkg/space"
)

// ErrModel: a model whose units cannot be sorted.
var ErrModel = errors.New("cannot be sorted by importance")

// Order returns the weights of a supernet, by its names, with units in the order of their worth,
// most first. The arguments stay as they are.
func Order(s *space.Space, weights map[string]tensorfile.Tensor, worth proxy.Units) (map[string]tensorfile.Tensor, error) {
	if s.Model.IsConv() || !s.Model.IsPlain() {
		return nil, fmt.Errorf("%w: only vision transformers without norms or factors of each choice (SWITCH_LN, SCALE_*) are", ErrModel)
	}
	top, size := s.Supernet, s.Model.HeadDim
	hidden := space.Hidden(top.EmbedDim, top.MLPRatio)
	if len(worth.Embed) != top.EmbedDim || len(worth.Heads) != top.Depth || len(worth.Hidden) != top.Depth {
		return nil, fmt.Errorf("%w: worth is of %s and %s, the supernet has %d and %d", ErrModel, printable.Count(len(worth.Embed), "feature"), printable.Count(len(worth.Heads), "block"), top.EmbedDim, top.Depth)
	}
	o, err := newOrder(weights)
	if err != nil {
		return nil, err
	}
	for block := range top.Depth {
		name := func(part string) string { return fmt.Sprintf("blocks.%d.%s", block, part) }
		if len(worth.Heads[block]) != top.NumHeads || len(worth.Hidden[block]) != hidden {
			return nil, fmt.Errorf("%w: worth is of %s and %s in block %d, the supernet has %d and %d", ErrModel, printable.Count(len(worth.Heads[block]), "head"), printable.Count(len(worth.Hidden[block]), "hidden unit"), block, top.NumHeads, hidden)
		}
		o.sort(worth.Hidden[block], axis{name("fc1.weight"), 0, 1}, axis{name("fc1.bias"), 0, 1}, axis{name("fc2.weight"), 1, 1})
		// Rows of qkv are interleaved: those of a head are together.
		o.sort(worth.Heads[block], axis{name("attn.qkv.weight"), 0, 3 * size}, axis{name("attn.qkv.bias"), 0, 3 * size}, axis{name("attn.proj.weight"), 1, size})
	}
	var embedding []axis
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		if at := embeddingAxis(name); at >= 0 {
			embedding = append(embedding, axis{name, at, 1})
		}
	}
	o.sort(worth.Embed, embedding...)
	return o.tensors(), nil
}

// embeddingAxis is the axis of a weight along which the features of the embedding lie; -1
// for weights that have none.
func embeddingAxis(name string) int {
	part := name
	if rest, ok := strings.CutPrefix(name, "blocks."); ok {
		_, part, _ = strings.Cut(rest, ".")
	}
	switch part {
	case "cls_token", "reg_token", "pos_embed":
		return 2
	case "attn.qkv.weight", "fc1.weight", "head.weight", "head_dist.weight", "head_mean.weight", "attn_pool.kv.weight", "attn_pool.fc1.weight":
		return 1
	case "patch_embed_super.proj.weight", "patch_embed_super.proj.bias", "attn.proj.weight", "attn.proj.bias", "fc2.weight", "fc2.bias",
		"attn_layer_norm.weight", "attn_layer_norm.bias", "ffn_layer_norm.weight", "ffn_layer_norm.bias",
		"norm.weight", "norm.bias", "fc_norm.weight", "fc_norm.bias", "norm_pre.weight", "norm_pre.bias",
		"attn_pool.proj.weight", "attn_pool.proj.bias", "attn_pool.norm.weight", "attn_pool.norm.bias", "attn_pool.fc2.weight", "attn_pool.fc2.bias":
		return 0
	}
	return -1
}

// axis of a weight along which units lie, each of so many indices.
type axis struct {
	name string
	axis int
	each int
}

type order struct {
	values map[string][]float32
	shapes map[string][]int
}

// sort puts units into the order of their worth, along all of the axes at once. Of equal ones the
// first stays first.
func (o *order) sort(worth []float64, axes ...axis) {
	place := make([]int, len(worth)) // where a unit goes
	for to, unit := range descending(worth) {
		place[unit] = to
	}
	for _, a := range axes {
		values := slices.Clone(o.values[a.name])
		o.walk(a, func(unit, at, length int) {
			to := at + (place[unit]-unit)*length
			copy(values[to:][:length], o.values[a.name][at:][:length])
		})
		if len(values) > 0 {
			o.values[a.name] = values
		}
	}
}

// descending are the indices of values, of the largest first.
func descending(values []float64) []int {
	from := make([]int, len(values))
	for i := range from {
		from[i] = i
	}
	slices.SortStableFunc(from, func(a, b int) int { return cmp.Compare(values[b], values[a]) })
	return from
}

// walk visits the runs of values of each unit along an axis; of a weight that there is not,
// none.
func (o *order) walk(a axis, visit func(unit, at, length int)) {
	shape := o.shapes[a.name]
	if len(shape) <= a.axis {
		return
	}
	inner := a.each
	for _, d := range shape[a.axis+1:] {
		inner *= d
	}
	units := shape[a.axis] / a.each
	for at := 0; at < len(o.values[a.name]); at += inner {
		visit(at/inner%units, at, inner)
	}
}
