package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"prenas/internal/export"
	"prenas/internal/input"
)

// stamp tells whether a file has changed.
type stamp struct {
	path string
	size int64
	time time.Time
}

// family are the models of a folder, as they were when it was last read.
type family struct {
	models  []*model // the most accurate first
	ranking string   // what the order is by, for people
	users   sync.WaitGroup
}

// model by its name.
func (f *family) model(name string) *model {
	i := slices.IndexFunc(f.models, func(m *model) bool { return m.name == name })
	if i < 0 {
		return nil
	}
	return f.models[i]
}

// names of the models, the most accurate first.
func (f *family) names() []string {
	var names []string
	for _, m := range f.models {
		names = append(names, m.name)
	}
	return names
}

// backlog is how long all that waits takes.
func (f *family) backlog() time.Duration {
	var d time.Duration
	for _, m := range f.models {
		d += m.backlog()
	}
	return d
}

// Family is a folder of exported models, open to be asked. It is read anew when it changes.
type Family struct {
	o       Options
	dir     string
	open    func(ctx context.Context, path string) (runner, error)
	compute sync.Mutex // held by whoever computes
	metrics *metrics

	mu      sync.RWMutex
	current *family
	failed  map[string]stamp // files that could not be opened, as they were
	files   []stamp          // that were there when the folder was last read
}

// openFamily opens all models of a folder, or the one of a file.
func openFamily(ctx context.Context, dir string, o Options, m *metrics, open func(context.Context, string) (runner, error)) (*Family, error) {
	f := &Family{o: o, dir: dir, open: open, metrics: m, failed: map[string]stamp{}, current: &family{}}
	files, err := f.list()
	if err != nil {
		return nil, err
	}
	if err := f.read(ctx, files); err != nil {
		return nil, err
	}
	if len(f.current.models) == 0 {
		return nil, fmt.Errorf("%w in %s: it has no .safetensors or .onnx file that can be opened; prenas export RUN %v all %v DIR makes them", ErrFolder, dir, input.Arch, input.Out)
	}
	return f, nil
}

// list is what model files there are. Of a model in both forms the first of safetensors and ONNX
// by name is served under its name, and the other under its whole file name.
func (f *Family) list() ([]stamp, error) {
	info, err := os.Stat(f.dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []stamp{{f.dir, info.Size(), info.ModTime()}}, nil
	}
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, err
	}
	var files []stamp
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext != ".safetensors" && ext != ".onnx" || e.Name()[0] == '.' {
			continue
		}
		path := filepath.Join(f.dir, e.Name())
		info, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			files = append(files, stamp{path, info.Size(), info.ModTime()})
		}
	}
	return files, nil
}

// names of files: without their endings, where that is unambiguous.
func names(files []stamp) map[string]string {
	count := map[string]int{}
	for _, file := range files {
		count[modelName(file.path)]++
	}
	named := map[string]string{}
	for _, file := range files {
		name := modelName(file.path)
		if count[name] > 1 {
			name = filepath.Base(file.path)
		}
		named[file.path] = name
	}
	return named
}

// read makes the files the family. What did not change stays open; a file that cannot be
// opened is logged, and what was served by its name before goes on.
func (f *Family) read(ctx context.Context, files []stamp) error {
	f.files = files
	before, next := f.current, &family{}
	kept := map[*model]bool{}
	named := names(files)
	for _, file := range files {
		name := named[file.path]
		old := before.model(name)
		if old != nil && old.file == file || f.failed[file.path] == file {
			if old != nil {
				next.models, kept[old] = append(next.models, old), true
			}
			continue
		}
		m, err := f.load(ctx, name, file)
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), f.drop(next, kept))
		}
		if err != nil {
			f.failed[file.path] = file
			f.metrics.reload("failed")
			f.o.Log.Error("a model cannot be served", "file", file.path, "error", err.Error())
			if old != nil {
				next.models, kept[old] = append(next.models, old), true
			}
			continue
		}
		next.models = append(next.models, m)
	}
	next.rank()
	f.mu.Lock()
	f.current = next
	f.mu.Unlock()
	before.users.Wait()
	return f.drop(before, kept)
}

// drop stops the models of a family that nobody asks, but those that are kept.
func (f *Family) drop(old *family, kept map[*model]bool) error {
	var failed error
	for _, m := range old.models {
		if !kept[m] {
			failed = errors.Join(failed, m.stop())
		}
	}
	return failed
}

// load opens a model, gets it ready and measures it.
func (f *Family) load(ctx context.Context, name string, file stamp) (*model, error) {
	r, err := f.open(ctx, file.path)
	if err != nil {
		return nil, err
	}
	m := newModel(name, file, r, f.o, &f.compute, f.metrics)
	if err := m.measure(ctx); err != nil {
		return nil, errors.Join(err, m.stop())
	}
	f.metrics.reload("opened")
	f.o.Log.Info("serving", "model", name, "arch", m.Info().Arch, "parameters", m.Info().Parameters, "top1", accuracy(m.Info()),
		"latency_ms", milliseconds(m.batches.expect(1)), "batch", m.batch, "batch_latency_ms", milliseconds(m.batches.expect(m.batch)))
	return m, nil
}

func accuracy(i export.Info) any {
	if i.Accuracy == nil {
		return "not measured"
	}
	return i.Accuracy.Top1
}

// rank orders the models by accuracy, where all were measured on the same images, else by their
// number of parameters; equals by name.
func (f *family) rank() {
	f.ranking = "accuracy"
	for _, m := range f.models {
		a, first := m.Info().Accuracy, f.models[0].Info()
		switch {
		case a == nil:
			f.ranking = "parameters, since " + m.name + " has no measured accuracy: run prenas eval before prenas export"
		case first.Accuracy != nil && (a.Split != first.Accuracy.Split || a.Images != first.Accuracy.Images || m.Info().Data != first.Data):
			f.ranking = "parameters, since " + m.name + " and " + f.models[0].name + " were not measured on the same images"
		default:
			continue
		}
		break
	}
	slices.SortStableFunc(f.models, func(a, b *model) int {
		x, y := a.Info(), b.Info()
		if f.ranking == "accuracy" {
			if by := cmp.Compare(y.Accuracy.Top1, x.Accuracy.Top1); by != 0 {
				return by
			}
			return cmp.Compare(x.Parameters, y.Parameters)
		}
		return cmp.Or(cmp.Compare(y.Parameters, x.Parameters), cmp.Compare(a.name, b.name))
	})
}

// acquire is the family as it is now, which stays open until release is called.
func (f *Family) acquire() (_ *family, release func()) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	current := f.current
	current.users.Add(1)
	return current, current.users.Done
}

// watch reads the folder anew when it has changed and is at rest: when two looks at it, every
// apart, agree. It ends with ctx.
func (f *Family) watch(ctx context.Context, every time.Duration) {
	last, changed := f.files, false // as it was read: what changed meanwhile is a change
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		files, err := f.list()
		if err != nil {
			if !changed {
				f.o.Log.Error("the folder cannot be read; its models are served on", "folder", f.dir, "error", err.Error())
			}
			changed = true
			last = nil
			continue
		}
		if !slices.Equal(files, last) {
			last, changed = files, true
			continue
		}
		if !changed {
			continue
		}
		changed = false
		if len(files) == 0 {
			f.o.Log.Error("the folder has no model any more; its models are served on", "folder", f.dir)
			continue
		}
		if err := f.read(ctx, files); err != nil && ctx.Err() == nil {
			f.o.Log.Error("the folder was read anew, with errors", "folder", f.dir, "error", err.Error())
		}
	}
}

// close stops all models, once the requests in flight have ended.
func (f *Family) close() error {
	f.mu.Lock()
	last := f.current
	f.current = &family{}
	f.mu.Unlock()
	last.users.Wait()
	return f.drop(last, nil)
}
