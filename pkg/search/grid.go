package search

import (
	"cmp"
	"slices"

	"prenas/pkg/space"
)

// grid is a space as the search walks it, whatever the family. An architecture is
//
//	                 vision transformer        convolutional network
//	a scale          embedding dim             resolution
//	a stack          the d layers kept         the first d layers of each unit
//	two choices      heads, MLP ratio          kernel, expansion
//	of each layer    that add up               that act together
//
// Scales and stacks are in the file's order, choices ascending. Layers have the
// number they have in the deepest stack.
type grid struct {
	family
	space  *space.Space
	scales []int
	stacks [][]int
	layers int // of the deepest stack
	first  int // first choices that a layer has
	second int
	joint  bool // what a layer is worth is no sum over its two choices
}

// family is what the search has to know of one kind of space.
type family interface {
	// toArch and toPick translate architectures of the space.
	toArch(g grid, p pick) space.Arch
	toPick(g grid, a space.Arch) pick
	// tensors tells add every scored tensor and where the space's choices cut
	// it, as a matrix; layer -1 are those outside of the layers.
	tensors(g grid, add func(layer int, name string, rows, cols []int))
	// choices by their indices.
	choices(g grid, first, second int) Choices
	// name of a layer in the names of its tensors, after "blocks.".
	name(g grid, layer int) string
	// arrange orders a tensor's columns so that slices are corners.
	arrange(name string, t Tensor) Tensor
	// table adds up, over the slices that an architecture uses, what value says
	// of a weight's corner [:rows, :cols].
	table(u *Sums, m ScoreMethod, value func(c *prefixSums, rows, cols int) float64) *Table
	// weigh turns the table of a sum of saliency into that of a score.
	weigh(g grid, t *Table) *Table
	// block is what choice j of a layer adds over choice j-1, at a scale.
	block(u *Sums, m BlockMethod, first bool, scale, j, layer int) float64
	// widest is the index of the scale that block methods with _max_dim rank at.
	widest(g grid) int
	// scores tells whether a score method is defined for the family.
	scores(m ScoreMethod) error
}

func newGrid(s *space.Space) grid {
	if s.Model.IsConv() {
		return newConvGrid(s)
	}
	return newViTGrid(s)
}

// pick is an architecture as indices into the grid.
type pick struct {
	scale, stack  int
	layers        []int // those of the stack, shared
	first, second []int // choices, one for each of layers
}

func (g grid) arch(p pick) space.Arch { return g.toArch(g, p) }

// pick of an architecture that the space contains.
func (g grid) pick(a space.Arch) pick { return g.toPick(g, a) }

// prefix of the names of a layer's tensors.
func (g grid) prefix(layer int) string { return "blocks." + g.name(g, layer) + "." }

// at is the pick of a scale and a stack that has no choices yet.
func (g grid) at(scale, stack int) pick {
	return pick{scale: scale, stack: stack, layers: g.stacks[stack]}
}

func (p pick) same(o pick) bool {
	return p.scale == o.scale && p.stack == o.stack && slices.Equal(p.first, o.first) && slices.Equal(p.second, o.second)
}

// hasStack, hasOption and has leave out what a reduced space has not, or a supernet of blocks that differ: a stack at a scale,
// an option of a layer's slot, a whole pick.
func (g grid) hasStack(scale, stack int) bool {
	if g.joint {
		return g.convStack(stack)
	}
	return g.space.Reduced == nil || g.space.Has(g.scales[scale], len(g.stacks[stack]))
}

func (g grid) hasOption(scale, layer, slot, option int) bool {
	switch {
	case g.joint:
		return g.convOption(layer, option)
	case g.space.Reduced == nil:
		return true
	case slot == 0:
		return g.space.HasHeads(g.scales[scale], blockOf(g, layer), ranked(g.space.NumHeads)[option])
	}
	return g.space.HasRatio(g.scales[scale], blockOf(g, layer), ranked(g.space.MLPRatio)[option])
}

func (g grid) has(p pick) bool {
	return g.space.Reduced == nil && g.space.Blocks == nil || g.space.Check(g.arch(p)) == nil
}

// before tells whether p comes ahead of q: of equal scores that is the better one. The
// order is that of the original's enumeration: scales and stacks as in the file, then the
// fewest layers of the smallest second choice, of the next one and so on, then so for the
// first choices. The original looks at one architecture of the same counts only; of
// several, the one whose last layers have the smaller choices comes first.
func (g grid) before(p, q pick) bool {
	if order := cmp.Or(cmp.Compare(p.scale, q.scale), cmp.Compare(p.stack, q.stack)); order != 0 {
		return order < 0
	}
	order := cmp.Or(compareCounts(p.second, q.second, g.second), compareCounts(p.first, q.first, g.first))
	for i := len(p.layers) - 1; order == 0 && i >= 0; i-- {
		first, second := cmp.Compare(p.first[i], q.first[i]), cmp.Compare(p.second[i], q.second[i])
		if g.joint { // as Solve goes through them
			order = cmp.Or(first, second)
		} else {
			order = cmp.Or(second, first)
		}
	}
	return order < 0
}

// order is what an option of a slot adds to the counts that before compares, as two
// numbers that are compared like them: second choices, first choices.
func (g grid) order(slot, option int) Order {
	place := func(choice, n int) int64 { // the last count follows from the others
		if choice == n-1 {
			return 0
		}
		weight := int64(1)
		for range n - 2 - choice {
			weight *= int64(g.layers + 1)
		}
		return weight
	}
	switch {
	case g.joint:
		return Order{place(option%g.second, g.second), place(option/g.second, g.first)}
	case slot%2 == 0:
		return Order{0, place(option, g.first)}
	}
	return Order{place(option, g.second), 0}
}

// compareCounts compares how often each of n choices is among p and among q, the
// smallest choice first.
func compareCounts(p, q []int, n int) int {
	counts := make([]int, n)
	for i := range p {
		counts[p[i]]++
		counts[q[i]]--
	}
	for _, c := range counts {
		if c != 0 {
			return c
		}
	}
	return 0
}

// slots are the independent decisions of a layer: in each table the options of
// each.
func (g grid) slots(t *Table, scale, layer int) [][]float64 {
	if g.joint {
		return [][]float64{t.Joint[scale][layer]}
	}
	return [][]float64{t.First[scale][layer], t.Second[scale][layer]}
}

// choose adds to a pick what was decided for one more slot.
func (g grid) choose(p pick, slot, option int) pick {
	switch {
	case g.joint:
		p.first, p.second = append(p.first, option/g.second), append(p.second, option%g.second)
	case slot%2 == 0:
		p.first = append(p.first, option)
	default:
		p.second = append(p.second, option)
	}
	return p
}
