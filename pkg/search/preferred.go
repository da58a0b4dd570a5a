package search

import "prenas/pkg/space"

// maxEnumerated is the most architectures that the enumeration visits: some
// seconds of work. The published spaces have up to 57,918.
const maxEnumerated = 50_000_000

// isomers are the architectures that the original's search looks at: for each
// scale and stack, one for each split of the second choices (ratios) and each
// split of the first (heads), their layers allocated by block scores.
type isomers struct {
	grid          grid
	first, second *BlockScores
	all           bool // every split, not only the original's
}

// half is one split of first or of second choices with what it adds to every
// table.
type half struct {
	choice []int
	sums   []float64
}

// visit calls yield for each isomer in the original's order: embedding dims
// and depths in the file's order, splits of ratios, splits of heads. totals
// are those of the additive tables, in their order; it is overwritten by the
// next call.
//
// A transformer's total is that of its dim and depth, plus one sum that only its
// ratios make, plus one that only its heads make, so a visit costs two
// additions for each table; where the choices of a layer act together, one for
// each layer.
func (s isomers) visit(tables []*Table, yield func(p pick, totals []float64)) {
	totals := make([]float64, len(tables))
	for e := range s.grid.scales {
		for d, layers := range s.grid.stacks {
			fixed := make([]float64, len(tables))
			for k, t := range tables {
				fixed[k] = t.Trunk[e]
				for _, l := range layers {
					fixed[k] += t.Base[e][l]
				}
			}
			seconds := s.halves(s.second, e, layers, tables, func(t *Table) [][][]float64 { return t.Second })
			firsts := s.halves(s.first, e, layers, tables, func(t *Table) [][][]float64 { return t.First })
			p := s.grid.at(e, d)
			for _, m := range seconds {
				for _, h := range firsts {
					p.first, p.second = h.choice, m.choice
					for k, t := range tables {
						totals[k] = fixed[k] + m.sums[k] + h.sums[k]
						if t.Joint != nil {
							totals[k] += t.jointly(p)
						}
					}
					yield(p, totals)
				}
			}
		}
	}
}

// jointly is what the choices of a pick add that act together.
func (t *Table) jointly(p pick) float64 {
	sum, joint := 0.0, t.Joint[p.scale]
	for i, l := range p.layers {
		sum += joint[l][p.first[i]*t.second+p.second[i]]
	}
	return sum
}

func (s isomers) halves(b *BlockScores, e int, layers []int, tables []*Table, part func(*Table) [][][]float64) []half {
	rankings := b.rankings(e, layers)
	splits := space.Splits(len(rankings), len(layers), s.all)
	halves := make([]half, len(splits))
	for i, counts := range splits {
		h := half{choice: isomer(rankings, counts), sums: make([]float64, len(tables))}
		for k, t := range tables {
			if p := part(t); p != nil {
				for at, c := range h.choice {
					h.sums[k] += p[e][layers[at]][c]
				}
			}
		}
		halves[i] = h
	}
	return halves
}

// enumerate visits all isomers and keeps the best of each bin.
func (r *run) enumerate(first, second *BlockScores) {
	// The score's sums first, then the interval's cost, then the limits'. A
	// peak does not add up and is looked up for what is left.
	tables := []*Table{r.scores.sum, r.cost.Table}
	at := map[int]int{} // limit -> table
	for i, l := range r.options.Limits {
		if !l.Cost.Peak {
			at[i] = len(tables)
			tables = append(tables, l.Cost.Table)
		}
	}
	counts := -1
	if r.scores.count != nil {
		counts = len(tables)
		tables = append(tables, r.scores.count)
	}
	s := isomers{grid: r.grid, first: first, second: second, all: r.options.AllSplits}
	s.visit(tables, func(p pick, totals []float64) {
		if !r.grid.has(p) {
			return
		}
		r.report.Enumerated++
		cost := totals[1]
		if r.cost.Peak {
			cost = r.cost.of(p)
		}
		bin := r.bins.of(cost / r.cost.Unit)
		if bin < 0 {
			return
		}
		for i, l := range r.options.Limits {
			var total float64
			if k, additive := at[i]; additive {
				total = totals[k]
			} else {
				total = l.Cost.of(p)
			}
			if total > l.AtMost*l.Cost.Unit {
				return
			}
		}
		count := 1.0
		if counts >= 0 {
			count = totals[counts]
		}
		score := r.scores.Method.finish(totals[0], count)
		if r.scores.ordered != nil {
			score = r.scores.ordered(p)
		}
		r.report.Bins[bin].Members++
		r.offer(bin, p, score)
	})
}
