package search

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"prenas/pkg/space"
)

// conv is the family of convolutional networks. Scales are resolutions, and the
// layers of unit u have the numbers from u·depth, with the largest depth.
type conv struct{}

func newConvGrid(s *space.Space) grid {
	deepest := slices.Max(s.Depth)
	g := grid{
		family: conv{}, space: s, scales: s.Resolution, layers: deepest * len(s.Model.Conv.Units),
		first: len(s.Kernel), second: len(s.Expand), joint: true,
	}
	// Every list of the units' depths, the last unit's varying fastest.
	g.stacks = [][]int{nil}
	for u := range s.Model.Conv.Units {
		var longer [][]int
		for _, stack := range g.stacks {
			for _, depth := range s.Depth {
				next := slices.Clone(stack)
				for l := range depth {
					next = append(next, u*deepest+l)
				}
				longer = append(longer, next)
			}
		}
		g.stacks = longer
	}
	return g
}

// unitLayer of a layer's number.
func (g grid) unitLayer(l int) (unit, layer int) {
	deepest := slices.Max(g.space.Depth)
	return l / deepest, l % deepest
}

// convStack tells whether each unit of the supernet has the stack's layers.
func (g grid) convStack(stack int) bool {
	depths := make([]int, len(g.space.Model.Conv.Units))
	for _, l := range g.stacks[stack] {
		u, _ := g.unitLayer(l)
		depths[u]++
	}
	for u, depth := range depths {
		if !slices.Contains(g.space.ConvDepths(u), depth) {
			return false
		}
	}
	return true
}

// convOption tells whether a layer of the supernet has a kernel and an expansion.
func (g grid) convOption(layer, option int) bool {
	kernels, expands := g.space.ConvChoices(g.unitLayer(layer))
	return slices.Contains(kernels, ranked(g.space.Kernel)[option/g.second]) && slices.Contains(expands, ranked(g.space.Expand)[option%g.second])
}

// own is a choice of a layer, or what its block of the supernet has of it where that is less; false
// where there is no such block.
func (g grid) own(unit, layer int, c space.ConvLayer) (space.ConvLayer, bool) {
	if g.space.Blocks == nil {
		return c, true
	}
	if layer >= len(g.space.Blocks[unit]) {
		return c, false
	}
	top := g.space.Blocks[unit][layer]
	return space.ConvLayer{Kernel: min(c.Kernel, top.Kernel), Expand: min(c.Expand, top.Expand)}, true
}

func (conv) toArch(g grid, p pick) space.Arch {
	kernels, expands := ranked(g.space.Kernel), ranked(g.space.Expand)
	a := space.Arch{Resolution: g.scales[p.scale], Units: make([][]space.ConvLayer, len(g.space.Model.Conv.Units))}
	for i, l := range p.layers {
		u, _ := g.unitLayer(l)
		a.Units[u] = append(a.Units[u], space.ConvLayer{Kernel: kernels[p.first[i]], Expand: expands[p.second[i]]})
	}
	return a
}

func (conv) toPick(g grid, a space.Arch) pick {
	kernels, expands := ranked(g.space.Kernel), ranked(g.space.Expand)
	stack := 0
	for _, layers := range a.Units {
		stack = stack*len(g.space.Depth) + slices.Index(g.space.Depth, len(layers))
	}
	p := g.at(slices.Index(g.scales, a.Resolution), stack)
	for _, layers := range a.Units {
		for _, l := range layers {
			p.first = append(p.first, slices.Index(kernels, l.Kernel))
			p.second = append(p.second, slices.Index(expands, l.Expand))
		}
	}
	return p
}

func (conv) choices(g grid, first, second int) Choices {
	return Choices{Kernel: ranked(g.space.Kernel)[first], Expand: ranked(g.space.Expand)[second]}
}

func (conv) name(g grid, layer int) string {
	u, l := g.unitLayer(layer)
	return fmt.Sprintf("%d.%d", u+1, l) // blocks.0 is the one after the stem
}

// arrange puts the taps of a depthwise kernel in rings around its middle, so
// that the k·k taps of a smaller kernel, which lie in the middle, come first.
func (conv) arrange(name string, t Tensor) Tensor {
	if !isDepthwise(name) || len(t.Shape) != 4 {
		return t
	}
	side := t.Shape[3]
	taps := make([]int, t.Shape[2]*side)
	for i := range taps {
		taps[i] = i
	}
	slices.SortStableFunc(taps, func(a, b int) int { return cmp.Compare(ring(a, side), ring(b, side)) })
	rings := Tensor{Shape: t.Shape, Data: make([]float32, len(t.Data))}
	for from := 0; from+len(taps) <= len(t.Data); from += len(taps) {
		for i, tap := range taps {
			rings.Data[from+i] = t.Data[from+tap]
		}
	}
	return rings
}

func isDepthwise(name string) bool {
	const suffix = "conv_dw.weight"
	return len(name) >= len(suffix) && name[len(name)-len(suffix):] == suffix
}

// ring of a tap: its distance from the middle of a kernel.
func ring(tap, side int) int {
	away := func(i int) int { return max(i-side/2, side/2-i) }
	return max(away(tap/side), away(tap%side))
}

// weigh counts the saliency of a network once for each pixel it looks at: a
// score without that would never pay for a larger image. The rule is ours; in
// intervals of parameters, which an image does not cost, it only makes the
// search prefer the largest resolution.
func (conv) weigh(g grid, t *Table) *Table {
	largest := float64(slices.Max(g.scales))
	return t.mapped(func(scale int, v float64) float64 {
		r := float64(g.scales[scale]) / largest
		return v * r * r
	})
}

func (conv) widest(grid) int { return 0 }

func (conv) scores(m ScoreMethod) error {
	if m.base == "entropy" || m.Measured() {
		return fmt.Errorf("%w of scoring %q: it is defined for vision transformers only", ErrMethod, m)
	}
	return nil
}

// outside are the tensors of the trunk with their sizes as matrices.
func (conv) outside(m space.Model) map[string][2]int {
	c, width := m.Conv, m.Conv.FirstWidth()
	all := map[string][2]int{
		"conv_stem.weight": {c.Stem, 9 * m.Channels}, "bn1.weight": {c.Stem, 1}, "bn1.bias": {c.Stem, 1},
		"blocks.0.0.conv_dw.weight": {c.Stem, 9}, "blocks.0.0.bn1.weight": {c.Stem, 1}, "blocks.0.0.bn1.bias": {c.Stem, 1},
		"blocks.0.0.conv_pw.weight": {width, c.Stem}, "blocks.0.0.bn2.weight": {width, 1}, "blocks.0.0.bn2.bias": {width, 1},
		"classifier.weight": {m.NumClasses, c.Pooled()}, "classifier.bias": {m.NumClasses, 1},
	}
	if first := m.ConvBlocks(space.Arch{Resolution: m.ImageSize})[0]; first.Squeeze > 0 {
		all["blocks.0.0.se.conv_reduce.weight"], all["blocks.0.0.se.conv_reduce.bias"] = [2]int{first.Squeeze, c.Stem}, [2]int{first.Squeeze, 1}
		all["blocks.0.0.se.conv_expand.weight"], all["blocks.0.0.se.conv_expand.bias"] = [2]int{c.Stem, first.Squeeze}, [2]int{c.Stem, 1}
	}
	last, norm := "conv_head", "bn2"
	if c.Mix > 0 {
		head := fmt.Sprintf("blocks.%d.0.", len(c.Units)+1)
		last, norm = head+"conv", head+"bn1"
		all["conv_head.weight"] = [2]int{c.Mix, c.Features}
	}
	all[last+".weight"] = [2]int{c.Features, c.Units[len(c.Units)-1].Width}
	all[norm+".weight"], all[norm+".bias"] = [2]int{c.Features, 1}, [2]int{c.Features, 1}
	if c.MixBias {
		all["conv_head.bias"] = [2]int{c.Mix, 1}
	}
	return all
}

// inside calls visit for the slice that a block has of each of its tensors;
// norm tells of a batch norm's.
func (conv) inside(b space.ConvBlock, visit func(name string, rows, cols int, norm bool)) {
	visit("conv_pw.weight", b.Hidden, b.In, false)
	visit("bn1.weight", b.Hidden, 1, true)
	visit("bn1.bias", b.Hidden, 1, true)
	visit("conv_dw.weight", b.Hidden, b.Kernel*b.Kernel, false)
	visit("bn2.weight", b.Hidden, 1, true)
	visit("bn2.bias", b.Hidden, 1, true)
	if b.Squeeze > 0 {
		visit("se.conv_reduce.weight", b.Squeeze, b.Hidden, false)
		visit("se.conv_reduce.bias", b.Squeeze, 1, false)
		visit("se.conv_expand.weight", b.Hidden, b.Squeeze, false)
		visit("se.conv_expand.bias", b.Hidden, 1, false)
	}
	visit("conv_pwl.weight", b.Out, b.Hidden, false)
	visit("bn3.weight", b.Out, 1, true)
	visit("bn3.bias", b.Out, 1, true)
}

func (f conv) tensors(g grid, add func(layer int, name string, rows, cols []int)) {
	s := g.space
	outside := f.outside(s.Model)
	for _, name := range sortedKeys(outside) {
		add(-1, name, []int{outside[name][0]}, []int{outside[name][1]})
	}
	// The supernet's own choice too: block scores divide by sums over all of it.
	kernels, expands := append(ranked(s.Kernel), s.Supernet.Kernel), append(ranked(s.Expand), s.Supernet.Expand)
	for l := range g.layers {
		unit, layer := g.unitLayer(l)
		rows, cols := map[string][]int{}, map[string][]int{}
		for _, k := range kernels {
			for _, x := range expands {
				c, has := g.own(unit, layer, space.ConvLayer{Kernel: k, Expand: x})
				if !has {
					continue
				}
				b := s.Model.ConvBlock(s.Model.ImageSize, unit, layer, c)
				f.inside(b, func(name string, r, c int, _ bool) {
					rows[name], cols[name] = append(rows[name], r), append(cols[name], c)
				})
			}
		}
		for _, name := range sortedKeys(rows) {
			add(l, name, ascending(rows[name]), ascending(cols[name]))
		}
	}
}

func (f conv) table(u *Sums, method ScoreMethod, value func(c *prefixSums, rows, cols int) float64) *Table {
	s := u.grid.space
	trunk := 0.0
	if !method.attnMLP {
		outside := f.outside(s.Model)
		for _, name := range sortedKeys(outside) {
			trunk += value(u.outer[name], outside[name][0], outside[name][1])
		}
	}
	deepest := slices.Max(s.Depth)
	return ConvParts{
		Trunk: func(int) float64 { return trunk },
		Block: func(_ int, b space.ConvBlock) float64 {
			sum := 0.0
			f.inside(b, func(name string, rows, cols int, norm bool) {
				if !norm || !method.attnMLP {
					sum += value(u.layers[b.Unit*deepest+b.Layer][name], rows, cols)
				}
			})
			return sum
		},
	}.Table(s)
}

// block of a kernel: the ring of taps that it adds to the depthwise weights. Of
// an expansion: the rows of conv_pw and the columns of conv_pwl that it adds,
// like those of a transformer's MLP.
func (conv) block(u *Sums, method BlockMethod, first bool, _, j, l int) float64 {
	s, b := u.grid.space, u.layers[l]
	unit, layer := u.grid.unitLayer(l)
	kernels, expands := ranked(s.Kernel), ranked(s.Expand)
	most, has := u.grid.own(unit, layer, space.ConvLayer{Kernel: last(kernels), Expand: last(expands)})
	if !has {
		return 0
	}
	hidden := func(expand float64) int {
		return s.Model.ConvBlock(s.Model.ImageSize, unit, layer, space.ConvLayer{Kernel: 1, Expand: min(expand, most.Expand)}).Hidden
	}
	if first {
		side := func(j int) int { return min(kernels[j], most.Kernel) }
		dw := b["conv_dw.weight"]
		rows, from, to := hidden(last(expands)), side(j-1)*side(j-1), side(j)*side(j)
		return method.of(
			func(m measure) float64 { return dw.at(m, rows, to) - dw.at(m, rows, from) },
			func(m measure) float64 { return dw.at(m, last(dw.rows), last(dw.cols)) })
	}
	from, to := hidden(expands[j-1]), hidden(expands[j])
	pw, pwl := b["conv_pw.weight"], b["conv_pwl.weight"]
	in, out := last(pw.cols), last(pwl.rows)
	return method.of(
		func(m measure) float64 { return pw.at(m, to, in) - pw.at(m, from, in) },
		func(m measure) float64 { return pw.at(m, last(pw.rows), in) },
	) + method.of(
		func(m measure) float64 { return pwl.at(m, out, to) - pwl.at(m, out, from) },
		func(m measure) float64 { return pwl.at(m, out, last(pwl.cols)) })
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
