package job

import (
	"cmp"
	"context"
	"fmt"
	"reflect"

	"prenas/internal/audit"
	"prenas/internal/data"
	"prenas/internal/data/source"
	"prenas/internal/engine"
	"prenas/internal/fsys"
	"prenas/internal/input"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
	"prenas/internal/tensorfile"
	"prenas/internal/train"
	"prenas/pkg/space"
)

// AuditOptions of Audit.
type AuditOptions struct {
	Engine    *engine.Engine
	Benchmark string // file to report on as it is; empty: make it first, in Out

	Space   *space.Space
	Inherit []string // run directories of supernets to take weights from; empty: train from scratch
	Data    string   // empty with Inherit: what the runs were trained on
	Recipe  recipe.Recipe
	Images  int // training images of an epoch; 0: all
	Archs   int
	Seeds   int
	Seed    uint64 // of the architectures, the held-out cut, and the first of training
	Workers int
	Out     string

	Resamples int
	Log       func(string)
	Fetch     func(done, total int64)
	Progress  func(done, total int) // of trainings
	Scoring   func(done, total int) // of architectures, by proxies
}

// Audit trains architectures of a space, or measures them with inherited
// weights, keeps what they reach in a benchmark file, and reports how well each
// proxy orders them.
func Audit(ctx context.Context, o AuditOptions) (audit.Correlations, error) {
	var b *audit.Benchmark
	var err error
	if o.Benchmark == "" && o.Engine.Ranks().First() {
		release, err := holdFile(input.Out, o.Out)
		if err != nil {
			return audit.Correlations{}, err
		}
		defer release()
	}
	switch {
	case o.Benchmark != "":
		if b, err = audit.Read(fsys.OS, o.Benchmark); err != nil {
			err = fmt.Errorf("%w: %w", input.Benchmark, err)
		}
	case len(o.Inherit) > 0:
		b, err = o.inherited(ctx)
	default:
		b, err = o.trained(ctx)
	}
	if err != nil {
		return audit.Correlations{}, err
	}
	proxies, err := auditProxies(ctx, o.Engine, b, o.Workers, o.Log, o.Scoring)
	if err != nil {
		return audit.Correlations{}, err
	}
	return audit.Correlate(b, proxies, o.Resamples, b.Draw)
}

// images opens the data set. The seed draws which images are held out.
func (o AuditOptions) images(ctx context.Context, r recipe.Recipe, cut uint64) (*data.Dataset, rundir.DataSummary, error) {
	set, err := source.Open(ctx, o.Data, source.Options{Seed: cut, HeldOut: r.Holdout, Stratify: r.Stratify, Log: o.Log, Progress: o.Fetch})
	if err != nil {
		return nil, rundir.DataSummary{}, err
	}
	if set.HeldOut.Len() == 0 {
		return nil, rundir.DataSummary{}, fmt.Errorf("%w %s: no image is held out to measure on; set holdout in the recipe", input.Data, o.Data)
	}
	return set, rundir.DataSummary{Source: o.Data, Digest: set.Digest, Train: set.Train.Len(), HeldOut: set.HeldOut.Len()}, nil
}

// source makes the images of a data set in the order, and augmented, as a seed draws it.
func (o AuditOptions) source(set *data.Dataset, s *space.Space, r recipe.Recipe) func(seed uint64) (train.Source, error) {
	r.SkipBadImages = false // a benchmark file does not say which images were left out
	return func(seed uint64) (train.Source, error) {
		images, err := train.NewImages(set, s.Model, r, seed, o.Workers)
		if err != nil {
			return nil, fmt.Errorf("%w %s: %w", input.Data, o.Data, err)
		}
		return images, nil
	}
}

// interval of parameters that a space names.
func interval(s *space.Space) (space.Interval, error) {
	if s.Interval == (space.Interval{}) {
		return s.Interval, fmt.Errorf("space %s has no INTERVAL, within which architectures are drawn and compared: add one to its file", s.Name)
	}
	return s.Interval, nil
}

// trained makes a benchmark by training each architecture from scratch, or goes on with one.
func (o AuditOptions) trained(ctx context.Context) (*audit.Benchmark, error) {
	within, err := interval(o.Space)
	if err != nil {
		return nil, err
	}
	if err := checkChannels(o.Space.Model, ""); err != nil {
		return nil, err
	}
	set, summary, err := o.images(ctx, o.Recipe, o.Seed)
	if err != nil {
		return nil, err
	}
	if o.Space, _, err = ofImages(o.Space, nil, set.Classes, false, o.Log); err != nil {
		return nil, fmt.Errorf("%w %s: %w", input.Data, o.Data, err)
	}
	b, err := audit.Plan(o.header(within, summary), o.Archs)
	if err != nil {
		return nil, err
	}
	run := o.run()
	run.Source = o.source(set, o.Space, o.Recipe)
	return b, audit.Run(ctx, b, run)
}

// header is that of a benchmark trained from scratch on images.
func (o AuditOptions) header(within space.Interval, images rundir.DataSummary) audit.Header {
	h := audit.Header{
		Space: o.Space, Interval: within, Data: images, Recipe: o.Recipe, Images: images.Train, Draw: o.Seed, Versions: engine.Versions(),
	}
	if o.Images > 0 {
		h.Images = min(h.Images, o.Images)
	}
	for i := range o.Seeds {
		h.Seeds = append(h.Seeds, o.Seed+uint64(i))
	}
	return h
}

// run are the options that both ways to make a benchmark share.
func (o AuditOptions) run() audit.Options {
	return audit.Options{Engine: o.Engine, FS: fsys.OS, Out: o.Out, Log: o.Log, Progress: o.Progress}
}

// inherited makes a benchmark of the weights of supernets, a run directory each, or goes on with
// one.
func (o AuditOptions) inherited(ctx context.Context) (*audit.Benchmark, error) {
	from, err := o.openSupernets()
	if err != nil {
		return nil, err
	}
	o.Data = cmp.Or(o.Data, from.data)
	b, err := audit.Plan(from.header, o.Archs)
	if err != nil {
		return nil, err
	}
	sources, err := o.heldOutImages(ctx, from, b)
	if err != nil {
		return nil, err
	}
	run := o.run()
	run.Source = func(seed uint64) (train.Source, error) { return sources[seed](seed) }
	run.Inherited = func(seed uint64) (map[string]tensorfile.Tensor, error) { return from.weights[seed], nil }
	return b, audit.Run(ctx, b, run)
}

// supernets are the runs whose weights an audit inherits. All have the same space and different
// seeds; recipe, source of images and classes are those of the first.
type supernets struct {
	header  audit.Header
	data    string
	classes classes
	weights map[uint64]map[string]tensorfile.Tensor // by the seed of the run
}

// openSupernets reads the manifests and the weights of the runs.
func (o AuditOptions) openSupernets() (all supernets, err error) {
	all.weights = map[uint64]map[string]tensorfile.Tensor{}
	h := &all.header
	for i, run := range o.Inherit {
		m, err := rundir.ReadManifest(fsys.OS, run)
		if err != nil {
			return all, fmt.Errorf("%w: %w", input.Inherit, err)
		}
		if i == 0 {
			if h.Interval, err = interval(m.Space); err != nil {
				return all, fmt.Errorf("%w %s: %w", input.Inherit, run, err)
			}
			// With the recipe the held-out images are the supernets' own: they were not trained on.
			h.Space, h.Recipe, h.Draw = m.Space, m.Recipe, m.Seed
			all.data, all.classes = m.Data.Source, m.Data.Classes
		}
		if !reflect.DeepEqual(m.Space, h.Space) {
			return all, fmt.Errorf("%w %s: its space is not that of %s", input.Inherit, run, o.Inherit[0])
		}
		if all.weights[m.Seed] != nil {
			return all, fmt.Errorf("%w %s: its seed %d is that of an earlier one", input.Inherit, run, m.Seed)
		}
		h.Seeds = append(h.Seeds, m.Seed)
		if _, err := unfinished(m, run, o.Log); err != nil {
			return all, fmt.Errorf("%w: %w", input.Inherit, err)
		}
		all.weights[m.Seed], _, err = rundir.Weights(fsys.OS, run, m.Space, func(_ string, why error) {
			o.Log(fmt.Sprintf("warning: skipped %v", why))
		})
		if err != nil {
			return all, fmt.Errorf("%w: %w", input.Inherit, err)
		}
	}
	h.Inherit, h.Versions = true, engine.Versions()
	return all, nil
}

// heldOutImages opens the images that each supernet held out, by its seed, and notes them in the
// benchmark.
func (o AuditOptions) heldOutImages(ctx context.Context, from supernets, b *audit.Benchmark) (map[uint64]func(seed uint64) (train.Source, error), error) {
	sources := map[uint64]func(uint64) (train.Source, error){}
	h := from.header
	for _, seed := range h.Seeds {
		set, summary, err := o.images(ctx, h.Recipe, seed)
		if err != nil {
			return nil, err
		}
		b.Data = summary
		if set.HeldOut, err = labelledFor(set.HeldOut, set.Classes, from.classes, h.Space.Model.NumClasses, o.Log); err != nil {
			return nil, fmt.Errorf("%w %s does not suit %s: %w", input.Data, o.Data, o.Inherit[0], err)
		}
		set.Classes = from.classes // as the labels are now
		sources[seed] = o.source(set, h.Space, h.Recipe)
	}
	return sources, nil
}
