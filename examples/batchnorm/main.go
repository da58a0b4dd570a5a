// Command batchnorm shows what it costs to evaluate an architecture of a trained
// convolutional supernet with statistics of its batch norms that are not its own. For
// each architecture of a run it prints top-1 on the test images with
//
//	own         the running statistics that the architecture's steps have left
//	estimated   statistics estimated anew, on training images (prenas eval --recalibrate)
//	of A, B, …  those of another architecture: its first features, and what a norm begins
//	            with, mean 0 and variance 1, where the other has none
//	shared      one set for all, as a supernet of plain batch norm modules has: every
//	            architecture in turn moves the features that it uses
//
//	go run ./examples/batchnorm runs/quickstart-conv
package main

import (
	"context"
	"flag"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"prenas/examples/internal/experiment"
	"prenas/internal/data"
	"prenas/internal/data/load"
	"prenas/internal/data/source"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/rundir"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/internal/train"
	"prenas/pkg/space"
)

func main() {
	batches := flag.Int("batches", 50, "batches of training images that statistics are estimated on")
	images := flag.Int("images", 0, "test images to measure on; 0: all")
	backend := flag.String("backend", "auto", "as in prenas --help")
	experiment.Main("batchnorm", func(ctx context.Context) error {
		if flag.NArg() != 1 {
			return fmt.Errorf("one run directory is needed, there are %d arguments", flag.NArg())
		}
		return show(ctx, flag.Arg(0), *batches, *images, *backend)
	})
}

// trained is a run with everything on the device but statistics.
type trained struct {
	net    *supernet.Net
	archs  []space.Arch
	shared []*tensors.Tensor
	images *train.Images
	set    *data.Dataset
	batch  int
	engine *engine.Engine
}

// first images of a split; 0: all.
type first struct {
	data.Split
	images int
}

func (f first) Len() int {
	if f.images > 0 {
		return min(f.images, f.Split.Len())
	}
	return f.Split.Len()
}

// stats of an architecture by the names of its norms.
type stats map[string][]float32

func show(ctx context.Context, run string, batches, images int, backend string) error {
	e, err := engine.Open(ctx, engine.Options{Backend: backend, Devices: 1, Log: experiment.Say})
	if err != nil {
		return err
	}
	defer e.Close()
	t, own, err := open(ctx, e, run)
	if err != nil {
		return err
	}
	columns := []string{"own", "estimated"}
	sets := [][]stats{own, nil}
	if sets[1], err = t.estimate(ctx, batches); err != nil {
		return err
	}
	for k := range t.archs {
		foreign := make([]stats, len(t.archs))
		for i := range foreign {
			foreign[i] = t.taken(own[k], i)
		}
		columns, sets = append(columns, "of "+string(rune('A'+k))), append(sets, foreign)
	}
	one, err := t.oneForAll(ctx, batches)
	if err != nil {
		return err
	}
	columns, sets = append(columns, "shared"), append(sets, one)

	ev, err := evaluate.New(e, t.net, t.archs, t.batch, 1, engine.Float32)
	if err != nil {
		return err
	}
	defer ev.Close()
	top1 := make([][]float64, len(t.archs))
	for _, set := range sets {
		w := evaluate.Weights{Shared: t.shared}
		for i := range t.archs {
			held, err := t.upload(set[i], i)
			if err != nil {
				return err
			}
			w.Stats = append(w.Stats, held)
		}
		scores, err := ev.Run(ctx, w, t.images.Plain(ctx, first{t.set.Test, images}, t.batch, 1, load.Share{}), nil)
		if err != nil {
			return err
		}
		for i, s := range scores {
			top1[i] = append(top1[i], 100*float64(s.Top1)/float64(s.Images))
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "top-1 %\t")
	for _, c := range columns {
		fmt.Fprint(w, c, "\t")
	}
	fmt.Fprintln(w, "  architecture")
	for i, a := range t.archs {
		fmt.Fprintf(w, "%c\t", 'A'+i)
		for _, v := range top1[i] {
			fmt.Fprintf(w, "%.2f\t", v)
		}
		fmt.Fprintln(w, "  "+a.String())
	}
	return w.Flush()
}

func open(ctx context.Context, e *engine.Engine, run string) (t trained, own []stats, err error) {
	m, err := rundir.ReadManifest(fsys.OS, run)
	if err != nil {
		return t, nil, err
	}
	candidates, err := space.ReadCandidates(filepath.Join(run, "candidates.json"))
	if err != nil {
		return t, nil, err
	}
	if !m.Space.Model.IsConv() {
		return t, nil, fmt.Errorf("%s: space %s has no batch norms", run, m.Space.Name)
	}
	weights, _, err := rundir.Weights(fsys.OS, run, m.Space, func(path string, why error) { fmt.Fprintln(os.Stderr, "skipped", path, why) })
	if err != nil {
		return t, nil, err
	}
	t = trained{net: supernet.New(m.Space), batch: m.Recipe.Batch, engine: e}
	for _, p := range t.net.Params() {
		held, err := e.Upload(weights[p.Name])
		if err != nil {
			return t, nil, err
		}
		t.shared = append(t.shared, held)
	}
	for _, bin := range candidates {
		for _, c := range bin.Candidates {
			t.archs = append(t.archs, c.Arch)
			kept, err := rundir.RunningStats(weights, m.Space.Model, c.Arch)
			if err != nil {
				return t, nil, err
			}
			s := stats{}
			for name, values := range kept {
				if s[name], err = values.Float32s(); err != nil {
					return t, nil, err
				}
			}
			own = append(own, s)
		}
	}
	if t.set, err = source.Open(ctx, m.Data.Source, source.Options{Seed: m.Seed, HeldOut: m.Recipe.Holdout}); err != nil {
		return t, nil, err
	}
	t.set.Mean, t.set.Std = m.Data.Mean, m.Data.Std
	t.images, err = train.NewImages(t.set, m.Space.Model, m.Recipe, m.Seed, 0)
	return t, own, err
}

// params are the statistics of architecture i.
func (t trained) params(i int) []supernet.Param {
	return supernet.Stats(t.net.Space().Model, t.archs[i])
}

// taken are statistics for architecture i out of those of another.
func (t trained) taken(from stats, i int) stats {
	s := stats{}
	for _, p := range t.params(i) {
		values, err := p.Init(0).Float32s()
		if err != nil {
			panic(err) // they are ours
		}
		copy(values, from[p.Name])
		s[p.Name] = values
	}
	return s
}

func (t trained) upload(s stats, i int) ([]*tensors.Tensor, error) {
	var held []*tensors.Tensor
	for _, p := range t.params(i) {
		up, err := t.engine.Upload(tensorfile.FromFloat32(p.Shape, s[p.Name]))
		if err != nil {
			return nil, err
		}
		held = append(held, up)
	}
	return held, nil
}

// estimate is the statistics of each architecture on batches of training images.
func (t trained) estimate(ctx context.Context, batches int) ([]stats, error) {
	c, err := evaluate.NewCalibrator(t.engine, t.net, t.archs, t.batch, engine.Float32)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	seen, err := t.images.Calibration(ctx, batches, t.batch)
	if err != nil {
		return nil, err
	}
	found, err := c.Run(ctx, t.shared, seen)
	if err != nil {
		return nil, err
	}
	all := make([]stats, len(t.archs))
	for i := range all {
		if all[i], err = t.named(found[i], i); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (t trained) named(found []tensorfile.Tensor, i int) (s stats, err error) {
	s = stats{}
	for k, p := range t.params(i) {
		if s[p.Name], err = found[k].Float32s(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// oneForAll has one set of the supernet's size, which each architecture moves in turn, a
// batch each, as a batch norm's momentum of 0.1 does.
func (t trained) oneForAll(ctx context.Context, batches int) ([]stats, error) {
	const momentum = 0.1
	var calibrators []*evaluate.Calibrator
	defer func() {
		for _, c := range calibrators {
			c.Close()
		}
	}()
	for _, a := range t.archs {
		c, err := evaluate.NewCalibrator(t.engine, t.net, []space.Arch{a}, t.batch, engine.Float32)
		if err != nil {
			return nil, err
		}
		calibrators = append(calibrators, c)
	}
	one := stats{}
	for _, p := range supernet.Stats(t.net.Space().Model, t.net.Space().Whole()) {
		values, err := p.Init(0).Float32s()
		if err != nil {
			return nil, err
		}
		one[p.Name] = values
	}
	images, err := t.images.Calibration(ctx, batches*len(t.archs), t.batch)
	if err != nil {
		return nil, err
	}
	turn := 0
	for b, err := range images {
		if err != nil {
			return nil, err
		}
		which := turn % len(t.archs)
		turn++
		var single iter.Seq2[evaluate.Batch, error] = func(yield func(evaluate.Batch, error) bool) { yield(b, nil) }
		found, err := calibrators[which].Run(ctx, t.shared, single)
		if err != nil {
			return nil, err
		}
		seen, err := t.named(found[0], which)
		if err != nil {
			return nil, err
		}
		for name, values := range seen {
			for i, v := range values {
				one[name][i] += momentum * (v - one[name][i])
			}
		}
	}
	all := make([]stats, len(t.archs))
	for i := range all {
		all[i] = t.taken(one, i)
	}
	return all, nil
}
