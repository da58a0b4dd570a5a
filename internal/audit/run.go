package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/internal/train"
	"prenas/pkg/search"
	"prenas/pkg/space"
)

// Plan draws the architectures of an audit, n of them; none has a result yet.
func Plan(h Header, n int) (*Benchmark, error) {
	h.Format = format
	if err := h.check(); err != nil {
		return nil, err
	}
	drawn, err := search.Uniform(h.Space, h.Interval, n, h.Draw)
	if err != nil {
		return nil, err
	}
	b := &Benchmark{Header: h}
	for _, a := range slices.Concat(drawn...) {
		b.Archs = append(b.Archs, Trained{
			Arch: a.String(), Params: h.Space.Model.Params(a), MACs: h.Space.Model.MACs(a), Results: []Result{}, arch: a,
		})
	}
	return b, nil
}

// Options of Run.
type Options struct {
	Engine *engine.Engine
	FS     fsys.FS
	Out    string // benchmark file; one of the same audit is continued
	// Source of the images of a seed: their order and augmentation.
	Source func(seed uint64) (train.Source, error)
	// Inherited weights of a seed, by name; nil trains every architecture from
	// scratch.
	Inherited func(seed uint64) (map[string]tensorfile.Tensor, error)
	Log       func(string)
	Progress  func(done, total int) // updates trained, or architectures measured
}

// maxModels is how many architectures one program trains at once, at most. More gain nothing on a
// CPU, and an audit that is stopped loses what the program was training.
const maxModels = 8

// Run gets the results that the planned benchmark lacks, and writes its file after each chunk of
// them. Seeds come one after the other, so an audit that was stopped has whole seeds. Several ranks
// share the trainings; the first one reads and writes the file.
func Run(ctx context.Context, b *Benchmark, o Options) error {
	if err := b.begin(o); err != nil {
		return err
	}
	if o.Inherited != nil {
		return b.measure(ctx, o)
	}
	return b.train(ctx, o)
}

// goOn takes over the results that the file has, and writes the file.
func (b *Benchmark) goOn(o Options) error {
	had, err := Read(o.FS, o.Out)
	switch {
	case err == nil:
		if err := b.same(had); err != nil {
			return fmt.Errorf("%s: %w; name another file", o.Out, err)
		}
		b.Archs = had.Archs
		o.Log(fmt.Sprintf("going on with %s: %d of %d results are there", o.Out, len(b.Archs)*len(b.Seeds)-b.missing(), len(b.Archs)*len(b.Seeds)))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return b.Write(o.FS, o.Out)
}

// done keeps what the architectures at some places of the benchmark reached with a seed.
func (b *Benchmark) done(seed uint64, which []int, scores []evaluate.Score) {
	for k, i := range which {
		n := float64(scores[k].Images)
		b.Archs[i].Results = append(b.Archs[i].Results, Result{Seed: seed, Top1: float64(scores[k].Top1) / n, Loss: scores[k].Loss})
	}
}

// trainingGroup are architectures that one program trains, several at a time. They have the same
// embedding dim and depth. The program is as large as the largest of them, not as the space, so it
// computes little that is masked away.
type trainingGroup struct {
	archs    []int // places in the benchmark
	models   int   // trained at once
	net      *supernet.Net
	training *train.Standalone
}

func (b *Benchmark) groups() []*trainingGroup {
	type key struct{ dim, depth, arch int }
	alike := map[key][]int{}
	for i, t := range b.Archs {
		k := key{dim: t.arch.EmbedDim, depth: t.arch.Depth()}
		if b.Space.Model.IsConv() { // each is trained by a program of its own
			k = key{arch: i}
		}
		alike[k] = append(alike[k], i)
	}
	var groups []*trainingGroup
	for _, archs := range alike {
		g := &trainingGroup{archs: archs, net: supernet.New(b.enclosing(archs))}
		chunks := (len(archs) + maxModels - 1) / maxModels
		g.models = (len(archs) + chunks - 1) / chunks
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(x, y *trainingGroup) int { return cmp.Compare(x.archs[0], y.archs[0]) })
	return groups
}

// enclosing is the space with the smallest supernet that holds the architectures.
func (b *Benchmark) enclosing(archs []int) *space.Space {
	s := *b.Space
	if s.Model.IsConv() { // its blocks differ in size, so weights are sliced out of the whole supernet
		return &s
	}
	s.Supernet = space.Supernet{}
	for _, i := range archs {
		a := b.Archs[i].arch
		s.Supernet.EmbedDim = max(s.Supernet.EmbedDim, a.EmbedDim)
		s.Supernet.Depth = max(s.Supernet.Depth, a.Layer(a.Depth()-1)+1)
		s.Supernet.NumHeads = max(s.Supernet.NumHeads, slices.Max(a.NumHeads))
		s.Supernet.MLPRatio = max(s.Supernet.MLPRatio, slices.Max(a.MLPRatio))
	}
	return &s
}

// chunk is what one rank trains, or measures, at once: architectures of one group.
type chunk struct {
	group int
	archs []int // places in the benchmark
}

// train trains what has no result yet.
func (b *Benchmark) train(ctx context.Context, o Options) error {
	groups := b.groups()
	defer func() {
		for _, g := range groups {
			if g.training != nil {
				g.training.Close()
			}
		}
	}()
	for k, seed := range b.Seeds {
		source, err := o.Source(seed)
		if err != nil {
			return err
		}
		var chunks []chunk
		for number, g := range groups {
			left := slices.DeleteFunc(slices.Clone(g.archs), func(i int) bool { return len(b.Archs[i].Results) > k })
			for archs := range slices.Chunk(left, g.models) {
				chunks = append(chunks, chunk{number, archs})
			}
		}
		// Every training has as many updates, at each of which the ranks meet.
		err = b.share(ctx, o, seed, chunks, b.updates(), func(ctx context.Context, own chunk, together int, met func()) ([]evaluate.Score, error) {
			return b.trainChunk(ctx, o, groups, own, together, source, seed, met)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// updates is the number of updates of each training.
func (b *Benchmark) updates() int { return max(1, b.Images/b.Recipe.Batch*b.Recipe.Epochs) }

// trainChunk trains the architectures of a chunk with one seed, and returns what each reaches on
// the held-out images. Its program is compiled when the first chunk of its group is trained.
// Together is how many architectures all ranks train meanwhile.
func (b *Benchmark) trainChunk(ctx context.Context, o Options, groups []*trainingGroup, own chunk, together int, source train.Source, seed uint64, met func()) ([]evaluate.Score, error) {
	g := groups[own.group]
	if g.training == nil {
		if !b.Space.Model.IsConv() {
			o.Log(fmt.Sprintf("compiling program %d of %d", own.group+1, len(groups)))
		}
		var err error
		if g.training, err = train.NewStandalone(o.Engine, g.net, b.Recipe, g.models, b.Images); err != nil {
			return nil, err
		}
	}
	archs := make([]space.Arch, g.models)
	for m := range archs {
		archs[m] = b.Archs[own.archs[min(m, len(own.archs)-1)]].arch // an empty place trains the last once more
	}
	total := len(b.Archs) * len(b.Seeds) * b.updates()
	before := total - b.missing()*b.updates()
	scores, err := g.training.Train(ctx, archs, source, seed, func(done, _ int) {
		o.Progress(before+done*together, total)
		met()
	})
	if err != nil {
		return nil, fmt.Errorf("seed %d: %w", seed, err)
	}
	return scores[:len(own.archs)], nil
}

// measure measures architectures with inherited weights.
func (b *Benchmark) measure(ctx context.Context, o Options) error {
	net := supernet.New(b.Space)
	total := len(b.Archs) * len(b.Seeds)
	for k, seed := range b.Seeds {
		source, err := o.Source(seed)
		if err != nil {
			return err
		}
		weights, err := o.Inherited(seed)
		if err != nil {
			return err
		}
		if err := b.measureSeed(ctx, o, net, k, weights, source, total); err != nil {
			return err
		}
	}
	return nil
}

// measureSeed measures the architectures that lack a result of the k-th seed, with the weights of
// the supernet of that seed. total is the number of results of the whole benchmark.
func (b *Benchmark) measureSeed(ctx context.Context, o Options, net *supernet.Net, k int, weights map[string]tensorfile.Tensor, source train.Source, total int) error {
	inherited, err := train.NewInherited(o.Engine, net, weights, source, b.Recipe.Batch)
	if err != nil {
		return err
	}
	defer inherited.Close()
	var chunks []chunk
	for i, t := range b.Archs {
		if len(t.Results) <= k {
			chunks = append(chunks, chunk{archs: []int{i}})
		}
	}
	return b.share(ctx, o, b.Seeds[k], chunks, 1, func(ctx context.Context, own chunk, together int, met func()) ([]evaluate.Score, error) {
		t := b.Archs[own.archs[0]]
		score, err := inherited.Measure(ctx, t.arch)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Arch, err)
		}
		o.Progress(total-b.missing()+together, total)
		met()
		return []evaluate.Score{score}, nil
	})
}
