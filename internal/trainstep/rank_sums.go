package trainstep

import (
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/internal/engine"
	"prenas/internal/ranks"
	"prenas/internal/supernet"
)

// rankSums adds the sums of all ranks along the tree of all parts, and gives all ranks the whole:
//
//	within a host   each rank gets its share of the values, one of as many as its host has ranks, from all of them,
//	                and adds what lies within the host's parts: [branches of its ranks, share] ─► [branches of the host, share]
//	between hosts   each rank gets its share, one of as many as there are ranks, from those of each host that have it,
//	                adds the rest, [branches of all hosts, share] ─► [1, share], and sends it back to them
//	within a host   all shares go to all its ranks
//
// So what a host can add leaves it once, whatever number of ranks it has. A rank that has its host to itself begins between
// hosts, and one host ends within. What adds is a program of the engine and its order is that of the tree, so the result is
// the same for every MPI and network, and for any number of ranks and hosts. Values go through the host's memory.
type rankSums struct {
	engine  *engine.Engine
	world   *ranks.World
	shapes  []shapes.Shape // of the tensors
	runs    [][]span       // of each rank: the branches that it brings
	packed  sheet          // what this rank brings
	within  *withinHost    // nil: this rank has its host to itself
	between *betweenHosts  // nil: there is one host
	whole   []float32
}

// withinHost is a rank's part of what its host adds. Runs are by the host's ranks.
type withinHost struct {
	adder
	sent, got    []ranks.Run // branches
	shares, back []ranks.Run // sums
	own          []float32   // of the sums, where hosts add to them
}

// betweenHosts is a rank's part of what hosts add. Runs are by all ranks.
type betweenHosts struct {
	adder
	sends        sheet
	got          []ranks.Run
	takes        []sheet     // from each host
	landing      []float32   // all of takes, one after the other; they are the rows where each has one
	shares, back []ranks.Run // sums
}

func newRankSums(e *engine.Engine, all span, tensors []shapes.Shape) (*rankSums, error) {
	w := e.Ranks()
	r := &rankSums{engine: e, world: w, shapes: tensors}
	values := 0
	for _, s := range tensors {
		values += s.Size()
	}
	r.whole = make([]float32, max(values, w.Size())) // no share is empty
	for rank := range w.Size() {
		r.runs = append(r.runs, r.branches(all, ranks.Run{From: rank, To: rank + 1}))
	}
	var ofHosts [][]span
	own := 0
	for i, h := range w.Hosts() {
		ofHosts = append(ofHosts, r.branches(all, h))
		if h.From <= w.Rank() && w.Rank() < h.To {
			own = i
		}
	}
	err := r.openWithin(w.Hosts()[own], ofHosts[own])
	if err == nil {
		err = r.openBetween(all, ofHosts, own)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// branches of the tree of all parts that lie within those of some ranks.
func (r *rankSums) branches(all span, of ranks.Run) []span {
	n := r.world.Size()
	return all.within(span{of.From * all.to / n, of.To * all.to / n})
}

// openWithin prepares what a host's ranks add to branches.
func (r *rankSums) openWithin(host ranks.Run, branches []span) (err error) {
	own, n := r.world.Rank()-host.From, host.To-host.From
	r.packed = newSheet(len(r.runs[r.world.Rank()]), cut(span{0, len(r.whole)}, n))
	if n == 1 {
		return nil
	}
	in := &withinHost{sent: r.packed.blocks(), back: sheet{1, r.packed.cuts, nil}.blocks()}
	width := in.back[own].To - in.back[own].From
	var rows []span
	for rank := host.From; rank < host.To; rank++ {
		from := len(rows) * width
		rows = append(rows, r.runs[rank]...)
		in.got = append(in.got, ranks.Run{From: from, To: len(rows) * width})
		in.shares = append(in.shares, ranks.Run{From: 0, To: width})
	}
	in.own = make([]float32, width)
	in.adder, err = newAdder(r.engine, "sums within a host", rows, branches, width)
	r.within = in
	return err
}

// openBetween prepares what hosts add of their branches; own is the number of this rank's host.
func (r *rankSums) openBetween(all span, branches [][]span, own int) (err error) {
	hosts := r.world.Hosts()
	if len(hosts) == 1 {
		return nil
	}
	values := span{0, len(r.whole)}
	owned := cut(values, r.world.Size()) // of all values, by all ranks
	mine := span{owned[r.world.Rank()], owned[r.world.Rank()+1]}
	b := &betweenHosts{}
	at, most := 0, 0
	for i, h := range hosts {
		have := cut(values, h.To-h.From) // of all values, by the ranks of the host
		takes := sheet{len(branches[i]), mine.clamp(have), nil}
		for _, block := range takes.blocks() {
			b.got = append(b.got, ranks.Run{From: at + block.From, To: at + block.To})
		}
		b.shares = append(b.shares, sheet{1, takes.cuts, nil}.blocks()...)
		b.takes = append(b.takes, takes)
		at, most = at+takes.size(), max(most, takes.rows)
		if i == own {
			k := r.world.Rank() - h.From
			b.sends = newSheet(takes.rows, span{have[k], have[k+1]}.clamp(owned))
			b.back = sheet{1, b.sends.cuts, nil}.blocks()
		}
	}
	b.adder, err = newAdder(r.engine, "sums between hosts", slices.Concat(branches...), []span{all}, mine.to-mine.from)
	if b.landing = b.rows; most > 1 {
		b.landing = make([]float32, len(b.rows))
	}
	if r.within == nil {
		r.packed = b.sends
	}
	r.between = b
	return err
}

// sum of what this rank has of the tree, which it frees, and of what the others have.
func (r *rankSums) sum(where string, own []partial[[]*tensors.Tensor]) ([]partial[[]*tensors.Tensor], error) {
	for k, branch := range own {
		at := 0
		for _, t := range branch.value {
			if err := t.ConstFlatData(func(flat any) { at = r.packed.put(k, at, flat.([]float32)) }); err != nil {
				return nil, err
			}
			if err := t.FinalizeAll(); err != nil {
				return nil, err
			}
		}
	}
	if _, err := r.world.Any(where, false); err != nil { // the ranks meet
		return nil, err
	}
	add := r.addWithin
	if r.within == nil {
		add = func(where string) error { return r.addBetween(where, r.whole) }
	}
	if err := add(where); err != nil {
		return nil, err
	}
	var sums []*tensors.Tensor
	at := 0
	for _, s := range r.shapes {
		// A tensor may keep what it is made of, and the next update writes there.
		t, err := r.engine.Put(append([]float32(nil), r.whole[at:at+s.Size()]...), s.Dimensions...)
		if err != nil {
			return nil, err
		}
		sums, at = append(sums, t), at+s.Size()
	}
	return []partial[[]*tensors.Tensor]{{value: sums}}, nil
}

// addWithin adds what the host's ranks have packed, has other hosts' added, and gets the whole.
func (r *rankSums) addWithin(where string) error {
	in := r.within
	if err := r.world.Exchange(where, ranks.OfHost, r.packed.values, in.sent, in.rows, in.got); err != nil {
		return err
	}
	return in.sum(r.engine, func(sums []float32) error {
		if r.between != nil {
			for k := range r.between.sends.rows {
				r.between.sends.put(k, r.between.sends.cuts[0], sums[k*len(in.own):][:len(in.own)])
			}
			if err := r.addBetween(where, in.own); err != nil {
				return err
			}
			sums = in.own
		}
		return r.world.Exchange(where, ranks.OfHost, sums, in.shares, r.whole, in.back)
	})
}

// addBetween adds what is in the sheets of all ranks, and gets the sums of what this one's holds.
func (r *rankSums) addBetween(where string, sums []float32) error {
	b := r.between
	if err := r.world.Exchange(where, ranks.All, b.sends.values, b.sends.blocks(), b.landing, b.got); err != nil {
		return err
	}
	if len(b.landing) > 0 && &b.landing[0] != &b.rows[0] {
		rows, landed := b.rows, b.landing
		for _, s := range b.takes {
			s.values = landed[:s.size()]
			for k := range s.rows {
				rows = rows[s.row(k, rows):]
			}
			landed = landed[s.size():]
		}
	}
	return b.sum(r.engine, func(own []float32) error {
		return r.world.Exchange(where, ranks.All, own, b.shares, sums, b.back)
	})
}

func (r *rankSums) close() {
	if r.within != nil {
		r.within.close()
	}
	if r.between != nil {
		r.between.close()
	}
}

// hostBytes is the most that a host sends to the others for one sum.
func (r *rankSums) hostBytes(all span) (most int64) {
	hosts, owned := r.world.Hosts(), cut(span{0, len(r.whole)}, r.world.Size())
	for _, h := range hosts {
		own := owned[h.To] - owned[h.From]
		sent := len(r.branches(all, h))*(len(r.whole)-own) + (len(hosts)-1)*own
		most = max(most, 4*int64(sent))
	}
	return most
}

// adder adds rows of values along the tree.
type adder struct {
	program *engine.Program // [rows, width] ─► [sums, width]
	rows    []float32
	width   int
}

// newAdder of rows that are branches of the tree, to sums that are.
func newAdder(e *engine.Engine, name string, rows, sums []span, width int) (adder, error) {
	a := adder{rows: make([]float32, len(rows)*width), width: width}
	var err error
	a.program, err = e.Compile(name, []shapes.Shape{shapes.Make(dtypes.Float32, len(rows), width)}, func(in []*graph.Node) []*graph.Node {
		given := map[span]*graph.Node{}
		for k, branch := range rows {
			given[branch] = graph.Slice(in[0], graph.AxisElem(k))
		}
		var out []*graph.Node
		for _, branch := range sums {
			out = append(out, sum(branch, given, func(a, b *graph.Node) *graph.Node { return graph.Add(a, b) }))
		}
		return []*graph.Node{graph.Concatenate(out, 0)}
	})
	return a, err
}

// sum of the rows, which may be used until use returns.
func (a *adder) sum(e *engine.Engine, use func(sums []float32) error) error {
	in, err := e.Put(a.rows, len(a.rows)/a.width, a.width)
	if err != nil {
		return err
	}
	out, err := a.program.Run([]*tensors.Tensor{in})
	if err != nil {
		return err
	}
	var failed error
	if err := out[0].ConstFlatData(func(flat any) { failed = use(flat.([]float32)) }); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	return a.program.Free(in, out[0])
}

func (a *adder) close() {
	if a.program != nil {
		a.program.Close()
	}
}

// gather is what the parts of all ranks reported, in their order.
func (u *accumulator) gather(where string, own []report, turns []int) ([]report, error) {
	stats := make([][]supernet.Param, len(turns)) // of what moves
	for k, which := range turns {
		if g := u.gradients[which]; g.move != nil {
			stats[k] = supernet.Stats(u.net.Space().Model, g.arch)
		}
	}
	var values []float32
	for _, r := range own {
		values = append(values, r.loss)
		for _, t := range r.seen {
			if err := t.ConstFlatData(func(flat any) { values = append(values, flat.([]float32)...) }); err != nil {
				return nil, err
			}
			if err := t.FinalizeAll(); err != nil {
				return nil, err
			}
		}
	}
	w := u.run.engine.Ranks()
	all := make([]float32, len(values)*w.Size())
	if err := w.GatherValues(where, values, all); err != nil {
		return nil, err
	}
	// What slices of a batch saw is the batch's by its mean.
	batch := 0 // values of all turns
	for _, s := range stats {
		batch++
		for _, p := range s {
			batch += shapes.Make(dtypes.Float32, p.Shape...).Size()
		}
	}
	all = meanOf(all, batch, max(u.run.share.Slices, 1))
	var reports []report
	for range u.run.recipe.Accumulate {
		for k := range turns {
			r := report{loss: all[0]}
			all = all[1:]
			for _, p := range stats[k] {
				n := shapes.Make(dtypes.Float32, p.Shape...).Size()
				t, err := u.run.engine.Put(append([]float32(nil), all[:n]...), p.Shape...)
				if err != nil {
					return nil, fmt.Errorf("statistic %s: %w", p.Name, err)
				}
				r.seen, all = append(r.seen, t), all[n:]
			}
			reports = append(reports, r)
		}
	}
	return reports, nil
}

// meanOf rows of so many values, each the mean of so many rows in a row.
func meanOf(all []float32, row, of int) []float32 {
	if of == 1 {
		return all
	}
	means := make([]float32, len(all)/of)
	for i := range means {
		total := 0.0
		for k := range of {
			total += float64(all[(i/row*of+k)*row+i%row])
		}
		means[i] = float32(total / float64(of))
	}
	return means
}
