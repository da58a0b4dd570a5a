package search

import (
	"math"
	"math/big"
	"slices"
	"strconv"

	"prenas/pkg/space"
)

// vit is the family of vision transformers.
type vit struct{}

func newViTGrid(s *space.Space) grid {
	g := grid{family: vit{}, space: s, scales: s.EmbedDim, layers: slices.Max(s.Depth), first: len(s.NumHeads), second: len(s.MLPRatio)}
	deepest := s.Keeps(g.layers)
	for _, depth := range s.Depth {
		var stack []int
		for _, block := range s.Keeps(depth) {
			stack = append(stack, slices.Index(deepest, block))
		}
		g.stacks = append(g.stacks, stack)
	}
	return g
}

// blockOf is the number that a layer has in the supernet.
func blockOf(g grid, layer int) int { return g.space.Keeps(g.layers)[layer] }

// ranked are the choices of a layer, ascending.
func ranked[T int | float64](list []T) []T { return slices.Sorted(slices.Values(list)) }

func (vit) toArch(g grid, p pick) space.Arch {
	heads, ratios := ranked(g.space.NumHeads), ranked(g.space.MLPRatio)
	a := space.Arch{EmbedDim: g.scales[p.scale], NumHeads: make([]int, len(p.first)), MLPRatio: make([]float64, len(p.second))}
	for i := range p.first {
		a.NumHeads[i], a.MLPRatio[i] = heads[p.first[i]], ratios[p.second[i]]
	}
	return a.Keeping(g.space.Keeps(len(p.layers)))
}

func (vit) toPick(g grid, a space.Arch) pick {
	heads, ratios := ranked(g.space.NumHeads), ranked(g.space.MLPRatio)
	p := g.at(slices.Index(g.scales, a.EmbedDim), slices.Index(g.space.Depth, a.Depth()))
	for i := range a.NumHeads {
		p.first = append(p.first, slices.Index(heads, a.NumHeads[i]))
		p.second = append(p.second, slices.Index(ratios, a.MLPRatio[i]))
	}
	return p
}

func (vit) choices(g grid, first, second int) Choices {
	return Choices{NumHeads: ranked(g.space.NumHeads)[first], MLPRatio: ranked(g.space.MLPRatio)[second]}
}

func (vit) name(g grid, layer int) string { return strconv.Itoa(blockOf(g, layer)) }

func (vit) arrange(_ string, t Tensor) Tensor { return t }

func (vit) weigh(_ grid, t *Table) *Table { return t }

func (vit) widest(g grid) int { return slices.Index(g.scales, slices.Max(g.scales)) }

func (vit) scores(ScoreMethod) error { return nil }

func (vit) tensors(g grid, add func(layer int, name string, rows, cols []int)) {
	s, m := g.space, g.space.Model
	embed, one := ranked(g.scales), []int{1}
	patch := []int{m.Channels * m.PatchSize * m.PatchSize}
	// The original cuts the head's bias by the embedding dim.
	bias := slices.DeleteFunc(withLast(embed, m.NumClasses), func(c int) bool { return c > m.NumClasses })
	add(-1, "patch_embed_super.proj.weight", embed, patch)
	add(-1, "patch_embed_super.proj.bias", embed, one)
	add(-1, "norm.weight", embed, one)
	add(-1, "norm.bias", embed, one)
	add(-1, "head.weight", []int{m.NumClasses}, embed)
	add(-1, "head.bias", bias, one)

	var inner, qkv, hidden []int
	for _, h := range ranked(s.NumHeads) {
		inner, qkv = append(inner, h*m.HeadDim), append(qkv, 3*h*m.HeadDim)
	}
	for _, e := range g.scales {
		for _, r := range s.MLPRatio {
			hidden = append(hidden, space.Hidden(e, r))
		}
	}
	hidden = ascending(hidden)
	// Block scores divide by the sum over all rows of the supernet, beyond the
	// largest choice too: one more cut.
	allQKV := withLast(qkv, 3*s.Supernet.NumHeads*m.HeadDim)
	allHidden := withLast(hidden, space.Hidden(s.Supernet.EmbedDim, s.Supernet.MLPRatio))
	for l := range g.layers {
		add(l, "attn.qkv.weight", allQKV, embed)
		if m.QKVBias {
			add(l, "attn.qkv.bias", qkv, one)
		}
		add(l, "attn.proj.weight", embed, inner)
		add(l, "attn.proj.bias", embed, one)
		add(l, "attn_layer_norm.weight", embed, one)
		add(l, "attn_layer_norm.bias", embed, one)
		add(l, "fc1.weight", allHidden, embed)
		add(l, "fc1.bias", hidden, one)
		add(l, "fc2.weight", embed, allHidden)
		add(l, "fc2.bias", embed, one)
		add(l, "ffn_layer_norm.weight", embed, one)
		add(l, "ffn_layer_norm.bias", embed, one)
	}
}

func (vit) table(u *Sums, method ScoreMethod, value func(c *prefixSums, rows, cols int) float64) *Table {
	m := u.grid.space.Model
	return ViTParts{
		Trunk: func(e int) float64 {
			if method.attnMLP {
				return 0
			}
			bias := min(e, m.NumClasses)
			if method.FullHeadBias {
				bias = m.NumClasses
			}
			return value(u.outer["patch_embed_super.proj.weight"], e, m.Channels*m.PatchSize*m.PatchSize) +
				value(u.outer["patch_embed_super.proj.bias"], e, 1) +
				value(u.outer["norm.weight"], e, 1) +
				value(u.outer["norm.bias"], e, 1) +
				value(u.outer["head.weight"], m.NumClasses, e) +
				value(u.outer["head.bias"], bias, 1)
		},
		Block: func(e, l int) float64 {
			b := u.layers[l]
			sum := value(b["attn.proj.bias"], e, 1) + value(b["fc2.bias"], e, 1)
			if !method.attnMLP {
				sum += value(b["attn_layer_norm.weight"], e, 1) + value(b["attn_layer_norm.bias"], e, 1) +
					value(b["ffn_layer_norm.weight"], e, 1) + value(b["ffn_layer_norm.bias"], e, 1)
			}
			return sum
		},
		Heads: func(e, l, h int) float64 {
			b, inner := u.layers[l], h*m.HeadDim
			sum := value(b["attn.qkv.weight"], 3*inner, e) + value(b["attn.proj.weight"], e, inner)
			if m.QKVBias {
				sum += value(b["attn.qkv.bias"], 3*inner, 1)
			}
			return sum
		},
		MLP: func(e, l int, r float64) float64 {
			b, hidden := u.layers[l], space.Hidden(e, r)
			return value(b["fc1.weight"], hidden, e) + value(b["fc1.bias"], hidden, 1) + value(b["fc2.weight"], e, hidden)
		},
	}.Table(u.grid.space)
}

// block of heads or of the MLP: the rows of qkv, or the rows of fc1 and the
// columns of fc2, between the choice below and this one, cut to e inputs.
//
//	     e                        fc2   hidden_(j-1)   hidden_j
//	┌────────┬───┐                   ┌──────┬────────┬───┐
//	│        │   │                   │      │████████│   │
//	├────────┤   │ 192·h_(j-1)     e ├──────┴────────┘   │
//	│████████│   │                   │                   │
//	├────────┘   │ 192·h_j           └───────────────────┘
//	└────────────┘
func (vit) block(u *Sums, method BlockMethod, first bool, scale, j, l int) float64 {
	s := u.grid.space
	b, e, widest := u.layers[l], u.grid.scales[scale], slices.Max(u.grid.scales)
	if first {
		heads, unit := ranked(s.NumHeads), 3*s.Model.HeadDim
		from, to := unit*heads[j-1], unit*heads[j]
		qkv := b["attn.qkv.weight"]
		return method.of(
			func(m measure) float64 { return qkv.at(m, to, e) - qkv.at(m, from, e) },
			func(m measure) float64 { return qkv.at(m, last(qkv.rows), widest) })
	}
	ratios := ranked(s.MLPRatio)
	from, to := space.Hidden(e, ratios[j-1]), space.Hidden(e, ratios[j])
	fc1, fc2 := b["fc1.weight"], b["fc2.weight"]
	return method.of(
		func(m measure) float64 { return fc1.at(m, to, e) - fc1.at(m, from, e) },
		func(m measure) float64 { return fc1.at(m, last(fc1.rows), widest) },
	) + method.of(
		func(m measure) float64 { return fc2.at(m, e, to) - fc2.at(m, e, from) },
		func(m measure) float64 { return fc2.at(m, widest, last(fc2.cols)) })
}

// entropyTable is the original's entropy of a Gaussian network: per layer
// ln(r·d) + ln(64h) + ln(196) + 4·ln(d). The 196 patches are fixed whatever
// the image, and r·d is not truncated.
func entropyTable(s *space.Space) *Table {
	const patches = 196
	return ViTParts{
		Trunk: func(int) float64 { return 0 },
		Block: func(e, _ int) float64 { return math.Log(patches) + 4*math.Log(float64(e)) },
		Heads: func(_, _, h int) float64 { return math.Log(float64(h * s.Model.HeadDim)) },
		MLP:   func(e, _ int, r float64) float64 { return math.Log(r * float64(e)) },
	}.Table(s)
}

// orderedEntropy is the entropy added up as the original does: each layer's four terms
// from left to right, then one layer after the other, from logarithms that are rounded
// correctly, as those of Python nearly always are. Architectures whose products of sizes
// are equal differ in nothing but the rounding of this sum.
func orderedEntropy(s *space.Space) func(p pick) float64 {
	const patches = 196
	heads, ratios := ranked(s.NumHeads), ranked(s.MLPRatio)
	terms := make([][][]float64, len(s.EmbedDim)) // of a layer, by dim, heads and ratio
	for e, dim := range s.EmbedDim {
		for _, h := range heads {
			var row []float64
			for _, r := range ratios {
				row = append(row, ln(r*float64(dim))+ln(float64(s.Model.HeadDim*h))+ln(patches)+4*ln(float64(dim)))
			}
			terms[e] = append(terms[e], row)
		}
	}
	return func(p pick) float64 {
		sum := 0.0
		for i := range p.first {
			sum += terms[p.scale][p.first[i]][p.second[i]]
		}
		return sum
	}
}

// ln is the natural logarithm of a positive number, rounded correctly; math.Log may be
// off by a bit, and not by the same one on every processor.
//
// With x = m·2^e and m from 1/2 to 1, ln x = e·ln 2 + ln m, and both logarithms are
// ln((1+z)/(1-z)) = 2·(z + z³/3 + z⁵/5 + …), for ln 2 with z = 1/3.
func ln(x float64) float64 {
	const bits = 160
	number := func(v float64) *big.Float { return new(big.Float).SetPrec(bits).SetFloat64(v) }
	series := func(m *big.Float) *big.Float { // ln m
		z := new(big.Float).Quo(new(big.Float).Sub(m, number(1)), new(big.Float).Add(m, number(1)))
		square, power, sum := new(big.Float).Mul(z, z), new(big.Float).Add(z, z), new(big.Float).SetPrec(bits)
		for k := 1.0; power.Sign() != 0 && power.MantExp(nil) > -bits; k += 2 {
			sum.Add(sum, new(big.Float).Quo(power, number(k)))
			power.Mul(power, square)
		}
		return sum
	}
	m, e := math.Frexp(x)
	sum := series(number(2))
	sum.Mul(sum, number(float64(e)))
	rounded, _ := sum.Add(sum, series(number(m))).Float64()
	return rounded
}

func last[T any](list []T) T { return list[len(list)-1] }

func ascending(v []int) []int { return slices.Compact(slices.Sorted(slices.Values(v))) }

func withLast(cuts []int, last int) []int { return ascending(append(slices.Clone(cuts), last)) }
