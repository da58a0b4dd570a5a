package supernet

import (
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"

	"prenas/pkg/space"
)

// A space's MODEL block can give each choice a learned factor for every feature
// (SCALE_ATTN, SCALE_MLP, SCALE_EMBED), so that slices which share weights need
// not share their size. A table has a row for each choice and as many columns
// as the largest has features:
//
//	embed_scaling.scalings     tokens before the first block     by embed_dim
//	attn.qk_scaling.scalings   queries                           by heads
//	attn.v_scaling.scalings    values                            by heads
//	embed_scaling1.scalings    attention's branch, after proj    by embed_dim
//	mlp_scaling.scalings       hidden units, before GELU         by hidden width
//	embed_scaling2.scalings    MLP's branch, after fc2           by embed_dim
//
// Each factor stands behind a product with a weight, so the graph multiplies it
// into the weight and its bias, which are smaller than the activations, and Fold
// does the same for good.

// scaleStart is where all factors begin.
const scaleStart = 1e-4

func scales(values []float32, _ uint64, _ string) {
	for i := range values {
		values[i] = scaleStart
	}
}

// chooser is what picks a table's row.
type chooser int

const (
	byEmbedDim chooser = iota
	byHeads
	byHidden
)

// rows are the sizes that a space's choices have, table row by table row. Of two
// equal ones the first row is taken; the other stands as 0, which nothing has.
func (by chooser) rows(s *space.Space) []int {
	switch by {
	case byEmbedDim:
		return s.EmbedDim
	case byHeads:
		return s.NumHeads
	}
	var hidden []int
	for _, dim := range s.EmbedDim {
		for _, ratio := range s.MLPRatio {
			width := space.Hidden(dim, ratio)
			if slices.Contains(hidden, width) {
				width = 0
			}
			hidden = append(hidden, width)
		}
	}
	return hidden
}

// size is what an architecture has in a block that it keeps.
func (by chooser) size(a space.Arch, block int) int {
	switch by {
	case byEmbedDim:
		return a.EmbedDim
	case byHeads:
		return a.NumHeads[a.At(block)]
	}
	return space.Hidden(a.EmbedDim, a.MLPRatio[a.At(block)])
}

// scaling is what multiplies a weight.
type scaling struct {
	by    chooser
	block int // -1 outside of the blocks
	axis  int // of the weight, along which its output features lie
	// tables are one, or of qkv three, for queries, keys and values, whose rows
	// alternate; an empty name is a table of ones.
	tables []string
}

// addScalings adds the tables of a block, or with -1 those outside of the blocks, to the
// network, and notes what each weight is multiplied with.
func (n *Net) addScalings(block int) {
	s, m := n.space, n.space.Model
	table := func(by chooser, name string) string {
		if block >= 0 {
			name = blockName(block, name)
		}
		width := slices.Max(by.rows(s))
		if by == byHeads {
			width *= m.HeadDim
		}
		n.add(Param{Name: name, Shape: []int{len(by.rows(s)), width}, Decay: true, Block: block, start: scales})
		return name
	}
	layer := func(by chooser, name string, tables ...string) {
		for _, part := range []string{".weight", ".bias"} {
			n.scalings[blockName(block, name+part)] = scaling{by, block, 0, tables}
		}
	}
	switch {
	case block < 0 && m.ScaleEmbed:
		start := []string{table(byEmbedDim, "embed_scaling.scalings")}
		for name, axis := range map[string]int{"patch_embed_super.proj.weight": 0, "patch_embed_super.proj.bias": 0, "cls_token": 2, "pos_embed": 2} {
			n.scalings[name] = scaling{byEmbedDim, block, axis, start}
		}
	case block >= 0:
		if m.ScaleAttn {
			layer(byHeads, "attn.qkv", table(byHeads, "attn.qk_scaling.scalings"), "", table(byHeads, "attn.v_scaling.scalings"))
		}
		if m.ScaleEmbed {
			layer(byEmbedDim, "attn.proj", table(byEmbedDim, "embed_scaling1.scalings"))
			layer(byEmbedDim, "fc2", table(byEmbedDim, "embed_scaling2.scalings"))
		}
		if m.ScaleMLP {
			layer(byHidden, "fc1", table(byHidden, "mlp_scaling.scalings"))
		}
	}
}

// factors are those of a weight with size output features: row picks a row of a table,
// its first columns, with axes before it that all tables have.
func (s scaling) factors(size int, row func(table string, columns int) *graph.Node) *graph.Node {
	if len(s.tables) == 1 {
		return row(s.tables[0], size)
	}
	var parts []*graph.Node
	var like *graph.Node
	for _, table := range s.tables {
		if table == "" {
			parts = append(parts, nil)
			continue
		}
		like = row(table, size/len(s.tables))
		parts = append(parts, like)
	}
	for i, p := range parts {
		if p == nil {
			parts[i] = graph.OnesLike(like)
		}
	}
	dims := slices.Clone(like.Shape().Dimensions)
	dims[len(dims)-1] = size
	return graph.Reshape(graph.Stack(parts, -1), dims...)
}

// row of the tables that an architecture takes.
func (s scaling) row(sp *space.Space, a space.Arch) int {
	return slices.Index(s.by.rows(sp), s.by.size(a, s.block))
}

// scaled is a slice of a weight times its factors, if it has any.
func (b *builder) scaled(name string, x *graph.Node) *graph.Node {
	s, ok := b.scalings[name]
	if !ok {
		return x
	}
	row, size := s.row(b.space, b.Arch), x.Shape().Dimensions[s.axis]
	f := s.factors(size, func(table string, columns int) *graph.Node {
		return graph.Reshape(graph.Slice(b.weight(table), graph.AxisElem(row), graph.AxisRangeFromStart(columns)), columns)
	})
	dims := slices.Repeat([]int{1}, x.Rank())
	dims[s.axis] = size
	return graph.Mul(x, graph.Reshape(f, dims...))
}

// weight is one of the shared weights [A, ...], times its factors if it has any. Beyond
// the largest choice factors are zero.
func (v *masked) weight(name string) *graph.Node {
	x := v.vit.weight(name)
	s, ok := v.scalings[name]
	if !ok {
		return x
	}
	column := 0
	switch s.by {
	case byHeads:
		column = 1 + s.block
	case byHidden:
		column = 1 + v.space.Supernet.Depth + s.block
	}
	pick := v.oneHot(sizeColumn(v.f.Sizes, column), s.by.rows(v.space))
	size := x.Shape().Dimensions[1+s.axis]
	f := s.factors(size, func(table string, columns int) *graph.Node {
		t := v.vit.weight(table) // [A, rows, columns]
		chosen := graph.ReduceSum(graph.Mul(t, graph.InsertAxes(pick, -1)), 1)
		return v.widen(chosen, columns)
	})
	return graph.Mul(x, v.at(f, 1+s.axis, x.Rank()))
}

// oneHot is float32 [A, len(sizes)]: 1 where a model's size, [A, 1], is the one listed.
func (v *masked) oneHot(size *graph.Node, sizes []int) *graph.Node {
	listed := make([]int32, len(sizes))
	for i, s := range sizes {
		listed[i] = int32(s)
	}
	list := graph.Reshape(graph.Const(size.Graph(), listed), 1, len(sizes))
	dims := []int{v.models, len(sizes)}
	same := graph.Equal(graph.BroadcastToDims(size, dims...), graph.BroadcastToDims(list, dims...))
	return graph.ConvertDType(same, dtypes.Float32)
}

// widen fills [A, columns] with zeros, or cuts it, to another number of columns.
func (v *masked) widen(x *graph.Node, columns int) *graph.Node {
	have := x.Shape().Dimensions[1]
	if have >= columns {
		return graph.Slice(x, graph.AxisRange(), graph.AxisRangeFromStart(columns))
	}
	zeros := graph.Zeros(x.Graph(), x.Shape().Clone())
	zeros = graph.BroadcastToDims(graph.Slice(zeros, graph.AxisRange(), graph.AxisRange(0, 1)), v.models, columns-have)
	return graph.Concatenate([]*graph.Node{x, zeros}, 1)
}
