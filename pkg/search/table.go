package search

import (
	"math"
	"slices"

	"prenas/pkg/space"
)

// Table is a quantity that adds up over the parts of an architecture: a sum of
// saliency, parameters, multiply-accumulates, a latency measured per block.
// The total of an architecture of scale e is
//
//	Trunk[e] + Σ over its layers l of Base[e][l] + First[e][l][f] + Second[e][l][s]
//
// for a vision transformer (e indexes the space's EmbedDim, in the file's
// order; f and s its NumHeads and MLPRatio, ascending), and
//
//	Trunk[e] + Σ over its layers l of Base[e][l] + Joint[e][l][f·|s| + s]
//
// for a convolutional network (Resolution; Kernel and Expand), where a kernel
// costs more the more features it has.
type Table struct {
	Trunk  []float64
	Base   [][]float64
	First  [][][]float64
	Second [][][]float64
	Joint  [][][]float64
	second int // second choices, for Joint
}

// ViTParts are the parts of a quantity of vision transformers: of embedding
// dim e, layer l, a number of heads, a ratio.
type ViTParts struct {
	Trunk func(e int) float64
	Block func(e, l int) float64 // whatever the choices
	Heads func(e, l, heads int) float64
	MLP   func(e, l int, ratio float64) float64
}

// Table of the parts.
func (v ViTParts) Table(s *space.Space) *Table {
	g, t := newViTGrid(s), &Table{}
	heads, ratios := ranked(s.NumHeads), ranked(s.MLPRatio)
	for _, e := range g.scales {
		base := make([]float64, g.layers)
		first, second := make([][]float64, g.layers), make([][]float64, g.layers)
		for l := range g.layers {
			base[l] = v.Block(e, l)
			for _, h := range heads {
				first[l] = append(first[l], v.Heads(e, l, h))
			}
			for _, r := range ratios {
				second[l] = append(second[l], v.MLP(e, l, r))
			}
		}
		t.Trunk = append(t.Trunk, v.Trunk(e))
		t.Base, t.First, t.Second = append(t.Base, base), append(t.First, first), append(t.Second, second)
	}
	return t
}

// ConvParts are the parts of a quantity of convolutional networks: of what is
// outside of the units, and of a block.
type ConvParts struct {
	Trunk func(resolution int) float64
	Block func(resolution int, b space.ConvBlock) float64
}

// Table of the parts.
func (c ConvParts) Table(s *space.Space) *Table {
	g := newConvGrid(s)
	t := &Table{second: g.second}
	kernels, expands := ranked(s.Kernel), ranked(s.Expand)
	for _, r := range g.scales {
		joint := make([][]float64, g.layers)
		for l := range g.layers {
			unit, layer := g.unitLayer(l)
			for _, k := range kernels {
				for _, x := range expands {
					value := 0.0 // of what the supernet has not, which no architecture has either
					if choice, has := g.own(unit, layer, space.ConvLayer{Kernel: k, Expand: x}); has {
						value = c.Block(r, s.Model.ConvBlock(r, unit, layer, choice))
					}
					joint[l] = append(joint[l], value)
				}
			}
		}
		t.Trunk, t.Base, t.Joint = append(t.Trunk, c.Trunk(r)), append(t.Base, make([]float64, g.layers)), append(t.Joint, joint)
	}
	return t
}

// Alike tells whether two tables have the same parts, as tables of one space have.
func (t *Table) Alike(o *Table) bool {
	list := func(a, b []float64) bool { return len(a) == len(b) }
	lists := func(a, b [][]float64) bool { return slices.EqualFunc(a, b, list) }
	return list(t.Trunk, o.Trunk) && lists(t.Base, o.Base) && slices.EqualFunc(t.First, o.First, lists) &&
		slices.EqualFunc(t.Second, o.Second, lists) && slices.EqualFunc(t.Joint, o.Joint, lists)
}

// layer is what layer i of a pick adds.
func (t *Table) layer(p pick, i int) float64 {
	e, l := p.scale, p.layers[i]
	if t.Joint != nil {
		return t.Base[e][l] + t.Joint[e][l][p.first[i]*t.second+p.second[i]]
	}
	return t.Base[e][l] + t.First[e][l][p.first[i]] + t.Second[e][l][p.second[i]]
}

func (t *Table) total(p pick) float64 {
	sum := t.Trunk[p.scale]
	for i := range p.layers {
		sum += t.layer(p, i)
	}
	return sum
}

// most is the largest part of a pick.
func (t *Table) most(p pick) float64 {
	e, most := p.scale, t.Trunk[p.scale]
	for i, l := range p.layers {
		most = max(most, t.Base[e][l])
		if t.Joint != nil {
			most = max(most, t.Joint[e][l][p.first[i]*t.second+p.second[i]])
		} else {
			most = max(most, t.First[e][l][p.first[i]], t.Second[e][l][p.second[i]])
		}
	}
	return most
}

// ParamsTable counts parameters; its totals are those of space.Model.Params.
func ParamsTable(s *space.Space) *Table {
	m := s.Model
	if m.IsConv() {
		return ConvParts{
			Trunk: func(int) float64 { return float64(m.ConvTrunkParams()) },
			Block: func(_ int, b space.ConvBlock) float64 { return float64(b.Params()) },
		}.Table(s)
	}
	return ViTParts{
		Trunk: func(e int) float64 { return float64(m.TrunkParams(e)) },
		Block: func(e, _ int) float64 { return float64(m.BlockParams(e)) },
		Heads: func(e, _, h int) float64 { return float64(h * m.HeadParams(e)) },
		MLP:   func(e, _ int, r float64) float64 { return float64(m.MLPParams(e, r)) },
	}.Table(s)
}

// MACsTable counts multiply-accumulates; its totals are those of
// space.Model.MACs.
func MACsTable(s *space.Space) *Table {
	m := s.Model
	if m.IsConv() {
		return ConvParts{
			Trunk: func(r int) float64 { return float64(m.ConvTrunkMACs(r)) },
			Block: func(_ int, b space.ConvBlock) float64 { return float64(b.MACs()) },
		}.Table(s)
	}
	return ViTParts{
		Trunk: func(e int) float64 { return float64(m.TrunkMACs(e)) },
		Block: func(int, int) float64 { return 0 },
		Heads: func(e, _, h int) float64 { return float64(int64(h) * m.HeadMACs(e)) },
		MLP:   func(e, _ int, r float64) float64 { return float64(m.MLPMACs(e, r)) },
	}.Table(s)
}

// exact is the table with each value rounded so far that totals are exact: to multiples
// of one power of two, of which the largest total has fewer than 2^52. Then no order of
// addition gives another total, so that architectures of the same parts are equal.
func (t *Table) exact() *Table {
	most := 0.0
	size := func(list []float64) (most float64) {
		for _, v := range list {
			most = max(most, math.Abs(v))
		}
		return most
	}
	for e := range t.Base {
		total := math.Abs(t.Trunk[e])
		for l := range t.Base[e] {
			total += math.Abs(t.Base[e][l])
			if t.Joint != nil {
				total += size(t.Joint[e][l])
			} else {
				total += size(t.First[e][l]) + size(t.Second[e][l])
			}
		}
		most = max(most, total)
	}
	if most == 0 || math.IsInf(most, 0) || math.IsNaN(most) {
		return t
	}
	_, exponent := math.Frexp(most)
	unit := math.Ldexp(1, exponent-52)
	return t.mapped(func(_ int, v float64) float64 { return math.Round(v/unit) * unit })
}

// mapped is the table of f of each part.
func (t *Table) mapped(f func(scale int, v float64) float64) *Table {
	list := func(e int, v []float64) []float64 {
		out := make([]float64, len(v))
		for i := range v {
			out[i] = f(e, v[i])
		}
		return out
	}
	lists := func(v [][][]float64) [][][]float64 {
		var out [][][]float64
		for e := range v {
			layers := make([][]float64, len(v[e]))
			for l := range layers {
				layers[l] = list(e, v[e][l])
			}
			out = append(out, layers)
		}
		return out
	}
	m := &Table{First: lists(t.First), Second: lists(t.Second), Joint: lists(t.Joint), second: t.second}
	for e := range t.Base {
		m.Trunk, m.Base = append(m.Trunk, f(e, t.Trunk[e])), append(m.Base, list(e, t.Base[e]))
	}
	return m
}
