package search

import "prenas/internal/space"

// maxEnumerated is the most architectures that the enumeration visits: some
// seconds of work. The published spaces have up to 57,918.
const maxEnumerated = 50_000_000

// isomers are the architectures that the original's search looks at: for each
// embedding dim and depth, one for each split of the ratios and each split of
// the heads, their layers allocated by block scores.
type isomers struct {
	grid       grid
	heads, mlp *BlockScores
	all        bool // every split, not only the original's
}

// half is one split of heads or of ratios with what it adds to every table.
type half struct {
	choice []int
	sums   []float64
}

// visit calls yield for each isomer in the original's order: embedding dims
// and depths in the file's order, splits of ratios, splits of heads. totals
// are those of the additive tables, in their order; it is overwritten by the
// next call.
//
// An isomer's total is that of its dim and depth, plus one sum that only its
// ratios make, plus one that only its heads make, so a visit costs two
// additions for each table.
func (s isomers) visit(tables []*Table, yield func(p pick, totals []float64)) {
	totals := make([]float64, len(tables))
	for e := range s.grid.embed {
		for d, depth := range s.grid.depth {
			fixed := make([]float64, len(tables))
			for k, t := range tables {
				fixed[k] = t.Trunk[e]
				for l := range depth {
					fixed[k] += t.Base[e][l]
				}
			}
			mlp := s.halves(s.mlp, e, depth, tables, func(t *Table) [][]float64 { return t.MLP[e] })
			heads := s.halves(s.heads, e, depth, tables, func(t *Table) [][]float64 { return t.Heads[e] })
			for _, m := range mlp {
				for _, h := range heads {
					for k := range totals {
						totals[k] = fixed[k] + m.sums[k] + h.sums[k]
					}
					yield(pick{embed: e, depth: d, heads: h.choice, mlp: m.choice}, totals)
				}
			}
		}
	}
}

func (s isomers) halves(b *BlockScores, e, depth int, tables []*Table, part func(*Table) [][]float64) []half {
	rankings := b.rankings(e, depth)
	splits := space.Splits(len(rankings), depth, s.all)
	halves := make([]half, len(splits))
	for i, counts := range splits {
		h := half{choice: isomer(rankings, counts), sums: make([]float64, len(tables))}
		for k, t := range tables {
			layers := part(t)
			for l, c := range h.choice {
				h.sums[k] += layers[l][c]
			}
		}
		halves[i] = h
	}
	return halves
}

// enumerate visits all isomers and keeps the best of each bin.
func (r *run) enumerate(heads, mlp *BlockScores) {
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
	s := isomers{grid: r.grid, heads: heads, mlp: mlp, all: r.options.AllSplits}
	s.visit(tables, func(p pick, totals []float64) {
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
		r.report.Bins[bin].Members++
		r.offer(bin, p, r.scores.Method.finish(totals[0], count))
	})
}
