package trainstep

import (
	"fmt"

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
//	exchange   each rank gets its piece of the values from every rank
//	add        along the tree, by a program: [ranks·branches, piece] ─► [piece]
//	gather     all pieces to every rank
//
// As many bytes are moved as by a ring. What adds is a program of the engine and its order is ours, so
// the result is the same for every MPI, network and number of ranks. Values go through
// the host's memory.
type rankSums struct {
	engine *engine.Engine
	world  *ranks.World
	add    *engine.Program
	shapes []shapes.Shape // of the tensors
	runs   [][]span       // of each rank: the branches that it brings
	most   int            // branches of a rank
	piece  int            // values
	parts  []float32      // what is sent: [ranks, branches, piece]
	own    []float32      // what is got: the same
	whole  []float32      // [ranks, piece]
}

func newRankSums(e *engine.Engine, all span, tensors []shapes.Shape) (*rankSums, error) {
	w := e.Ranks()
	r := &rankSums{engine: e, world: w, shapes: tensors}
	n := w.Size()
	for rank := range n {
		run := all.within(span{rank * all.to / n, (rank + 1) * all.to / n})
		r.runs, r.most = append(r.runs, run), max(r.most, len(run))
	}
	values := 0
	for _, s := range tensors {
		values += s.Size()
	}
	r.piece = (values + n - 1) / n
	rows := n * r.most
	r.parts, r.own, r.whole = make([]float32, rows*r.piece), make([]float32, rows*r.piece), make([]float32, n*r.piece)
	var err error
	r.add, err = e.Compile("sums of ranks", []shapes.Shape{shapes.Make(dtypes.Float32, rows, r.piece)}, func(in []*graph.Node) []*graph.Node {
		given := map[span]*graph.Node{}
		for rank, run := range r.runs {
			for k, branch := range run {
				given[branch] = graph.Slice(in[0], graph.AxisElem(rank*r.most+k))
			}
		}
		return []*graph.Node{sum(all, given, func(a, b *graph.Node) *graph.Node { return graph.Add(a, b) })}
	})
	return r, err
}

// sum of what this rank has of the tree, which it frees, and of what the others have.
func (r *rankSums) sum(where string, own []partial[[]*tensors.Tensor]) ([]partial[[]*tensors.Tensor], error) {
	for k, branch := range own {
		at := 0
		for _, t := range branch.value {
			if err := t.ConstFlatData(func(flat any) { at = r.pack(k, at, flat.([]float32)) }); err != nil {
				return nil, err
			}
			if err := t.FinalizeAll(); err != nil {
				return nil, err
			}
		}
	}
	if err := r.world.Exchange(where, r.parts, r.own); err != nil {
		return nil, err
	}
	in, err := r.engine.Put(r.own, r.world.Size()*r.most, r.piece)
	if err != nil {
		return nil, err
	}
	out, err := r.add.Run([]*tensors.Tensor{in})
	if err != nil {
		return nil, err
	}
	var failed error
	if err := out[0].ConstFlatData(func(flat any) { failed = r.world.GatherValues(where, flat.([]float32), r.whole) }); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	if err := r.add.Free(in, out[0]); err != nil {
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

// pack puts values, which begin at a place of branch k, where they are sent from.
func (r *rankSums) pack(k, at int, values []float32) (next int) {
	for len(values) > 0 {
		rank, within := at/r.piece, at%r.piece
		n := copy(r.parts[(rank*r.most+k)*r.piece+within:][:r.piece-within], values)
		values, at = values[n:], at+n
	}
	return at
}

func (r *rankSums) close() { r.add.Close() }

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
	slices := max(u.run.share.Slices, 1)
	all = meanOf(all, batch, slices)
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
