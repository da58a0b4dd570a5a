package search

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"

	"prenas/internal/rng"
)

// sampler draws architectures uniformly among those of the whole space whose
// cost is in a range. It counts, for each trunk, slot and rest of the cost, in
// how many ways the slots from there on can make up that rest; drawing walks
// the slots forward, each option as likely as the ways it leaves. So no draw
// is ever thrown away, and an empty range is known to be empty: drawing until
// one fits, as the original does, never ends there.
type sampler struct {
	grid   grid
	trunks []Trunk
	picks  []pick
	ways   [][]map[int64]float64 // [trunk][slot][rest]
}

// maxTotals bounds the different rests of a slot.
const maxTotals = 1_000_000

func newSampler(g grid, cost Cost, limits []Limit) (*sampler, error) {
	s := &sampler{grid: g}
	// The score plays no part; the cost's own table stands in for it.
	s.trunks, s.picks = problem(g, cost.Table, 1, []Cost{cost}, limits)
	for _, t := range s.trunks {
		ways := make([]map[int64]float64, len(t.Slots)+1)
		ways[len(t.Slots)] = map[int64]float64{0: 1}
		for slot := len(t.Slots) - 1; slot >= 0; slot-- {
			ways[slot] = map[int64]float64{}
			// Counts beyond 2^53 are rounded; in a fixed order, always alike.
			for _, rest := range slices.Sorted(maps.Keys(ways[slot+1])) {
				for _, o := range t.Slots[slot] {
					ways[slot][rest+o.Cost[0]] += ways[slot+1][rest]
				}
			}
			if len(ways[slot]) > maxTotals {
				return nil, fmt.Errorf("%w to sample by %s: its blocks have too many different costs; give them in coarser units", ErrTooLarge, cost.Name)
			}
		}
		s.ways = append(s.ways, ways)
	}
	return s, nil
}

// totals are the trunks and totals of one range, and how many architectures
// have each and the ones before.
type totals struct {
	trunk []int
	total []int64
	upTo  []float64
}

func (s *sampler) within(in func(total int64) bool) totals {
	var t totals
	sum := 0.0
	for i, trunk := range s.trunks {
		for _, rest := range slices.Sorted(maps.Keys(s.ways[i][0])) {
			if total := trunk.Cost[0] + rest; in(total) {
				sum += s.ways[i][0][rest]
				t.trunk, t.total, t.upTo = append(t.trunk, i), append(t.total, total), append(t.upTo, sum)
			}
		}
	}
	return t
}

// draw one architecture; there must be some.
func (s *sampler) draw(r *rand.Rand, t totals) pick {
	at := sort.SearchFloat64s(t.upTo, r.Float64()*t.upTo[len(t.upTo)-1])
	i := t.trunk[at]
	trunk, p, rest := s.trunks[i], s.picks[i], t.total[at]-s.trunks[i].Cost[0]
	for slot, options := range trunk.Slots {
		x, chosen := r.Float64()*s.ways[i][slot][rest], -1
		for k, o := range options {
			n := s.ways[i][slot+1][rest-o.Cost[0]]
			if n == 0 {
				continue
			}
			// The last possible option takes what rounding leaves over.
			if chosen = k; x < n {
				break
			}
			x -= n
		}
		o := options[chosen]
		rest -= o.Cost[0]
		p = s.grid.choose(p, slot, o.Choice)
	}
	return p
}

// attempts bounds how often a draw or a child is made anew because it breaks a
// limit.
const attempts = 1000

// sample searches each bin by drawing a population at random and, for
// Evolution, breeding it.
func (r *run) sample() error {
	var s *sampler
	for bin := range r.bins.count {
		var err error
		in := func(total int64) bool { return r.bins.of(float64(total)/r.cost.Unit) == bin }
		if r.cost.Peak {
			count, limit := r.bins.peakIn(bin, r.cost)
			in = func(total int64) bool { return total >= 1 }
			s, err = newSampler(r.grid, count, append(slices.Clone(r.options.Limits), limit))
		} else if s == nil {
			s, err = newSampler(r.grid, r.cost, r.options.Limits)
		}
		if err != nil {
			return err
		}
		t := s.within(in)
		if len(t.total) == 0 {
			continue
		}
		b := &breeder{run: r, bin: bin, random: rng.New(r.options.Seed, string(r.options.Method), uint64(bin)), seen: map[string]bool{}}
		b.draw = func() pick { return s.draw(b.random, t) }
		b.most = t.upTo[len(t.upTo)-1]
		err = b.populate()
		if r.options.Method == Evolution {
			for i := 0; i < r.options.Generations && err == nil; i++ {
				err = b.generation()
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) withinLimits(p pick) bool {
	for _, l := range r.options.Limits {
		if l.Cost.of(p) > l.AtMost*l.Cost.Unit {
			return false
		}
	}
	return true
}

// breeder is the evolution in one bin. As in AutoFormer no architecture is scored twice: one
// that was seen is made anew.
type breeder struct {
	*run
	bin     int
	random  *rand.Rand
	draw    func() pick // any architecture of the bin, some of which may break a limit
	most    float64     // architectures that it can draw
	dry     bool        // it draws none that was not seen before
	seen    map[string]bool
	born    []pick   // to be scored
	parents []scored // best first
}

// fresh draws an architecture of the bin that was not seen before. Where none was found once,
// none is looked for again.
func (b *breeder) fresh() (p pick, ok bool) {
	if !b.dry {
		p, ok = b.child(b.draw, attempts)
		b.dry = !ok
	}
	return p, ok
}

func (b *breeder) populate() error {
	for range b.options.Population {
		if p, ok := b.fresh(); ok {
			b.bear(p)
		}
	}
	return b.cull()
}

// bear takes an architecture that was not seen before.
func (b *breeder) bear(p pick) {
	b.seen[b.grid.arch(p).String()] = true
	b.born = append(b.born, p)
}

// cull scores what was born and keeps the best as parents.
func (b *breeder) cull() error {
	scores, err := b.score(b.born)
	if err != nil {
		return err
	}
	for i, p := range b.born {
		b.report.Enumerated++
		b.report.Bins[b.bin].Members++
		b.offer(b.bin, p, scores[i])
		b.parents = append(b.parents, scored{p, scores[i]})
	}
	b.born = nil
	slices.SortStableFunc(b.parents, func(x, y scored) int { return cmp.Compare(y.score, x.score) })
	b.parents = b.parents[:min(len(b.parents), b.options.Select)]
	return nil
}

// generation makes mutants and crossings of the present parents, in turn. A child that does not
// fit the bin and the limits, or was seen before, is made anew; where none comes to fit, one is
// drawn at random.
func (b *breeder) generation() error {
	if len(b.parents) == 0 {
		return nil
	}
	parent := func() pick { return b.parents[b.random.IntN(len(b.parents))].pick }
	mutant := func() pick { return b.mutate(parent()) }
	crossing := func() pick { return b.cross(parent(), parent()) }
	for i := range max(b.options.Mutation, b.options.Crossover) {
		if i < b.options.Mutation {
			b.breed(mutant)
		}
		if i < b.options.Crossover {
			b.breed(crossing)
		}
	}
	return b.cull()
}

func (b *breeder) breed(make func() pick) {
	p, ok := b.child(make, attempts/10)
	if !ok {
		p, ok = b.fresh()
	}
	if ok {
		b.bear(p)
	}
}

// child is the first of some that make makes that fits.
func (b *breeder) child(make func() pick, attempts int) (pick, bool) {
	for range attempts {
		if float64(len(b.seen)) >= b.most {
			break
		}
		p := make()
		if b.grid.has(p) && b.bins.of(b.cost.of(p)/b.cost.Unit) == b.bin && b.withinLimits(p) && !b.seen[b.grid.arch(p).String()] {
			return p, true
		}
	}
	return pick{}, false
}

func (b *breeder) mutate(p pick) pick {
	scale, stack := p.scale, p.stack
	if b.random.Float64() < b.options.TrunkProb {
		scale = b.random.IntN(len(b.grid.scales))
	}
	if b.random.Float64() < b.options.TrunkProb {
		stack = b.random.IntN(len(b.grid.stacks))
	}
	child := b.grid.at(scale, stack)
	child.first, child.second = p.inherited(child.layers)
	for i, first := range child.first {
		if first < 0 {
			child.first[i], child.second[i] = b.random.IntN(b.grid.first), b.random.IntN(b.grid.second)
		}
	}
	for i := range child.layers {
		if b.random.Float64() < b.options.GeneProb {
			child.first[i] = b.random.IntN(b.grid.first)
		}
		if b.random.Float64() < b.options.GeneProb {
			child.second[i] = b.random.IntN(b.grid.second)
		}
	}
	return child
}

// inherited are the choices of p for some layers; -1 for those it has not.
func (p pick) inherited(layers []int) (first, second []int) {
	for _, l := range layers {
		if at, found := slices.BinarySearch(p.layers, l); found {
			first, second = append(first, p.first[at]), append(second, p.second[at])
		} else {
			first, second = append(first, -1), append(second, -1)
		}
	}
	return first, second
}

// cross takes the depths of x and each gene from either; layers that y lacks
// are x's.
func (b *breeder) cross(x, y pick) pick {
	child := b.grid.at(x.scale, x.stack)
	child.first, child.second = slices.Clone(x.first), slices.Clone(x.second)
	if b.random.IntN(2) == 1 {
		child.scale = y.scale
	}
	first, second := y.inherited(x.layers)
	for i := range first {
		if first[i] < 0 {
			continue
		}
		if b.random.IntN(2) == 1 {
			child.first[i] = first[i]
		}
		if b.random.IntN(2) == 1 {
			child.second[i] = second[i]
		}
	}
	return child
}
