package search

import "prenas/internal/space"

// Table is a quantity that adds up over the parts of an architecture: a sum of
// saliency, parameters, multiply-accumulates, a latency measured per block.
// The total of an architecture is
//
//	Trunk[e] + Σ over its layers l of Base[e][l] + Heads[e][l][h] + MLP[e][l][r]
//
// e indexes the space's EmbedDim (file's order); h and r index its NumHeads
// and MLPRatio in ascending order.
type Table struct {
	Trunk []float64
	Base  [][]float64
	Heads [][][]float64
	MLP   [][][]float64
}

// NewTable makes a table from the parts' values. block is what a block costs
// whatever its choices, of layer l at embedding dim e.
func NewTable(s *space.Space, trunk func(e int) float64, block func(e, l int) float64,
	heads func(e, l, heads int) float64, mlp func(e, l int, ratio float64) float64) *Table {
	g, t := newGrid(s), &Table{}
	for _, e := range g.embed {
		base := make([]float64, g.layers())
		headRows, mlpRows := make([][]float64, g.layers()), make([][]float64, g.layers())
		for l := range g.layers() {
			base[l] = block(e, l)
			for _, h := range g.heads {
				headRows[l] = append(headRows[l], heads(e, l, h))
			}
			for _, r := range g.ratios {
				mlpRows[l] = append(mlpRows[l], mlp(e, l, r))
			}
		}
		t.Trunk = append(t.Trunk, trunk(e))
		t.Base = append(t.Base, base)
		t.Heads = append(t.Heads, headRows)
		t.MLP = append(t.MLP, mlpRows)
	}
	return t
}

func (t *Table) total(p pick) float64 {
	sum := t.Trunk[p.embed]
	for l := range p.heads {
		sum += t.Base[p.embed][l] + t.Heads[p.embed][l][p.heads[l]] + t.MLP[p.embed][l][p.mlp[l]]
	}
	return sum
}

// ParamsTable counts parameters; its totals are those of space.Model.Params.
func ParamsTable(s *space.Space) *Table {
	m := s.Model
	return NewTable(s,
		func(e int) float64 { return float64(m.TrunkParams(e)) },
		func(e, _ int) float64 { return float64(m.BlockParams(e)) },
		func(e, _, h int) float64 { return float64(h * m.HeadParams(e)) },
		func(e, _ int, r float64) float64 { return float64(m.MLPParams(e, r)) })
}

// MACsTable counts multiply-accumulates; its totals are those of
// space.Model.MACs.
func MACsTable(s *space.Space) *Table {
	m := s.Model
	return NewTable(s,
		func(e int) float64 { return float64(m.TrunkMACs(e)) },
		func(int, int) float64 { return 0 },
		func(e, _, h int) float64 { return float64(int64(h) * m.HeadMACs(e)) },
		func(e, _ int, r float64) float64 { return float64(m.MLPMACs(e, r)) })
}

// mapped is the table of f of each part.
func (t *Table) mapped(f func(float64) float64) *Table {
	list := func(v []float64) []float64 {
		out := make([]float64, len(v))
		for i := range v {
			out[i] = f(v[i])
		}
		return out
	}
	m := &Table{Trunk: list(t.Trunk)}
	for e := range t.Base {
		m.Base = append(m.Base, list(t.Base[e]))
		heads, mlp := make([][]float64, len(t.Heads[e])), make([][]float64, len(t.MLP[e]))
		for l := range heads {
			heads[l], mlp[l] = list(t.Heads[e][l]), list(t.MLP[e][l])
		}
		m.Heads, m.MLP = append(m.Heads, heads), append(m.MLP, mlp)
	}
	return m
}
