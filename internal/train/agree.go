package train

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"prenas/internal/data"
	"prenas/internal/data/load"
	"prenas/internal/engine"
	"prenas/internal/ranks"
	"prenas/internal/rundir"
	"prenas/internal/tensorfile"
)

// Several ranks train one run. The first decides, reads and writes; the others do the same updates
// and write nowhere. What one process would take from the time, from a signal or from a file is
// asked of the first, or of all, here.

// world is the ranks of the run; nil: this process alone.
func (o Options) world() *ranks.World { return o.Engine.Ranks() }

// stopped tells whether any rank was asked to stop.
func (t *trainer) stopped(ctx context.Context) (bool, error) {
	return t.world().Any(fmt.Sprintf("update %d", t.progress.Step+1), ctx.Err() != nil)
}

// firstPrecision is the first rank's, which may be timed.
func (o Options) firstPrecision(ctx context.Context) (engine.Precision, error) {
	first, err := o.world().Decided("the choice of precision", func() (string, error) {
		p, err := o.precision(ctx)
		return string(p), err
	})
	return engine.Precision(first), err
}

// same compares what the ranks are to train.
func (t *trainer) same(now rundir.Manifest) error {
	if t.world().Size() == 1 {
		return nil
	}
	recipe, err := json.MarshalIndent(now.Recipe, "", " ")
	if err != nil {
		return err
	}
	return t.world().Same("the start",
		ranks.Fact{What: "seed", Is: fmt.Sprint(now.Seed)},
		ranks.Fact{What: "recipe", Is: string(recipe)},
		ranks.Fact{What: "candidates (their digest)", Is: rundir.Short(now.Candidates)},
		ranks.Fact{What: "images (their digest)", Is: rundir.Short(now.Data.Digest)},
		ranks.Fact{What: "teacher (its digest)", Is: rundir.Short(now.Teacher)})
}

// place is what the others take of the first rank with its state.
type place struct {
	Progress rundir.Progress
	Began    string
	Tensors  []placed
}

type placed struct {
	Name  string
	DType tensorfile.DType
	Shape []int
}

// ofFirst is the state that the first rank gets, and the progress that it belongs to.
func (t *trainer) ofFirst(get func() (rundir.HostState, error)) (rundir.HostState, error) {
	w := t.world()
	if w.Size() == 1 {
		return get()
	}
	var host rundir.HostState
	var text []byte
	if w.First() {
		var err error
		if host, err = get(); err != nil {
			return nil, err
		}
		p := place{Progress: t.progress, Began: t.began}
		for _, name := range slices.Sorted(maps.Keys(host)) {
			p.Tensors = append(p.Tensors, placed{name, host[name].DType, host[name].Shape})
		}
		if text, err = json.Marshal(p); err != nil {
			return nil, err
		}
	}
	text, err := w.Broadcast("the run's state", text)
	if err != nil {
		return nil, err
	}
	var p place
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, err
	}
	if !w.First() {
		host, t.progress, t.began = rundir.HostState{}, p.Progress, p.Began
	}
	for _, of := range p.Tensors {
		values, err := w.Broadcast("tensor "+of.Name, host[of.Name].Data)
		if err != nil {
			return nil, err
		}
		host[of.Name] = tensorfile.Tensor{DType: of.DType, Shape: of.Shape, Data: values}
	}
	return host, nil
}

// alike compares the weights of all ranks, which have had the same updates.
func (t *trainer) alike(host rundir.HostState) error {
	w := t.world()
	if w.Size() == 1 {
		return nil
	}
	own := host.Digest(t.net, t.archs)
	all, err := w.Gather(fmt.Sprintf("the checkpoint of step %d", t.progress.Step), []byte(own))
	if err != nil {
		return err
	}
	for rank, other := range all {
		if string(other) != own {
			return fmt.Errorf("%w in the weights of step %d: %s and %s computed otherwise; the newest checkpoint is of before", ranks.ErrDiffer, t.progress.Step, w.Name(w.Rank()), w.Name(rank))
		}
	}
	return nil
}

// gatherContents has the first rank know the images that the others read.
func (t *trainer) gatherContents(c *data.Contents) error {
	if t.world().Size() == 1 {
		return nil
	}
	var text []byte
	sums, _ := c.Sums()
	for _, sum := range sums {
		text = binary.LittleEndian.AppendUint64(text, sum)
	}
	all, err := t.world().Gather("the digests of images", text)
	if err != nil {
		return err
	}
	for _, other := range all {
		var sums []uint64
		for ; len(other) >= 8; other = other[8:] {
			sums = append(sums, binary.LittleEndian.Uint64(other))
		}
		if err := c.Remember(sums); err != nil {
			return err
		}
	}
	return nil
}

// share of the batches of a rank in an evaluation.
func (o Options) evalShare() load.Share { return load.Every(o.world().Rank(), o.world().Size()) }
