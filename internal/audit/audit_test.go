package audit

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"prenas/internal/data/load"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/recipe"
	"prenas/internal/rng"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
	"prenas/internal/train"
	"prenas/pkg/space"
)

func header() Header {
	r := recipe.Default()
	r.Epochs, r.Batch = 1, 4
	return Header{
		Format: format,
		Space: &space.Space{
			Name: "little", Supernet: space.Supernet{EmbedDim: 12, Depth: 2, NumHeads: 2, MLPRatio: 2},
			EmbedDim: []int{8, 12}, Depth: []int{1, 2}, NumHeads: []int{1, 2}, MLPRatio: []float64{1, 2},
			Model: space.Model{ImageSize: 4, PatchSize: 2, Channels: 1, NumClasses: 3, HeadDim: 4, GlobalPool: true, AbsPos: true},
		},
		Interval: space.Interval{Min: 0.0004, Max: 0.003, Step: 0.0013},
		Recipe:   r, Images: 12, Draw: 1, Seeds: []uint64{0, 1, 2},
	}
}

// little is a source of images that are noise and a hint.
type little struct{ seed uint64 }

func (l little) Counts() (int, int) { return 12, 6 }
func (l little) ClassCounts() []int { return []int{4, 4, 4} }
func (l little) Digest() string     { return "little" }
func (l little) Calibration(_ context.Context, count, size int) (iter.Seq2[evaluate.Batch, error], error) {
	return l.batches("calibration", 0, count, size), nil
}
func (l little) batches(purpose string, epoch, count, size int) iter.Seq2[evaluate.Batch, error] {
	return func(yield func(evaluate.Batch, error) bool) {
		r := rng.New(l.seed, purpose, uint64(epoch))
		for range count {
			b := evaluate.Batch{Images: make([]float32, size*16), Labels: make([]int32, size)}
			for i := range b.Labels {
				b.Labels[i] = r.Int32N(3)
			}
			for i := range b.Images {
				b.Images[i] = float32(r.NormFloat64()) + float32(b.Labels[i/16])
			}
			if !yield(b, nil) {
				return
			}
		}
	}
}
func (l little) Train(_ context.Context, epoch, _, size int, _ load.Share) iter.Seq2[evaluate.Batch, error] {
	return l.batches("train", epoch, 12/size, size)
}
func (l little) HeldOut(context.Context, int, load.Share) iter.Seq2[evaluate.Batch, error] {
	return little{7}.batches("held out", 0, 2, 3)
}

func options(t *testing.T, out string) Options {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Options{Backend: "go"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return Options{
		Engine: e, FS: fsys.OS, Out: out, Log: func(string) {}, Progress: func(int, int) {},
		Source: func(seed uint64) (train.Source, error) { return little{seed}, nil },
	}
}

func plan(t *testing.T, n int) *Benchmark {
	t.Helper()
	b, err := Plan(header(), n)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A run that is cut goes on, and leaves the file that an uncut one does.
func TestRunGoesOn(t *testing.T) {
	dir := t.TempDir()
	uncut, cut := filepath.Join(dir, "uncut.jsonl"), filepath.Join(dir, "cut.jsonl")
	b := plan(t, 12)
	if err := Run(t.Context(), b, options(t, uncut)); err != nil {
		t.Fatal(err)
	}
	if b.missing() != 0 {
		t.Errorf("%d results are missing", b.missing())
	}
	resumed, done := 0, false
	for !done && resumed < 100 {
		ctx, stop := context.WithCancel(t.Context())
		o, updates := options(t, cut), 0
		o.Progress = func(int, int) {
			if updates++; updates == 5 { // amid the second program of this process
				stop()
			}
		}
		err := Run(ctx, plan(t, 12), o)
		stop()
		if done = err == nil; !done {
			resumed++
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
	}
	if resumed < 3 {
		t.Errorf("cut %d times only", resumed)
	}
	want, err := os.ReadFile(uncut)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(cut)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("after %d cuts:\n%s\nuncut:\n%s", resumed, got, want)
	}
}

func TestAnotherAuditIsRefused(t *testing.T) {
	out := filepath.Join(t.TempDir(), "b.jsonl")
	b := plan(t, 4)
	if err := b.Write(fsys.OS, out); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), plan(t, 6), options(t, out)); !errors.Is(err, ErrOther) {
		t.Errorf("other architectures: %v", err)
	}
	h := header()
	h.Recipe.Epochs = 2
	other, err := Plan(h, 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), other, options(t, out)); !errors.Is(err, ErrOther) {
		t.Errorf("another recipe: %v", err)
	}
	if _, err := Correlate(b, nil, 10, 1); !errors.Is(err, ErrIncomplete) {
		t.Errorf("without results: %v", err)
	}
}

// Inherited weights are measured as evaluate measures them.
func TestInheritedWeights(t *testing.T) {
	h := header()
	h.Inherit = true
	b, err := Plan(h, 6)
	if err != nil {
		t.Fatal(err)
	}
	net := supernet.New(h.Space)
	o := options(t, filepath.Join(t.TempDir(), "b.jsonl"))
	o.Inherited = func(seed uint64) (map[string]tensorfile.Tensor, error) { return net.Init(seed), nil }
	if err := Run(t.Context(), b, o); err != nil {
		t.Fatal(err)
	}
	ev, err := evaluate.New(o.Engine, net, b.Arches(), 3, 1, engine.Float32)
	if err != nil {
		t.Fatal(err)
	}
	defer ev.Close()
	for k, seed := range h.Seeds {
		state, err := hold(o.Engine, net, seed)
		if err != nil {
			t.Fatal(err)
		}
		scores, err := ev.Run(t.Context(), evaluate.Weights{Shared: state}, little{}.HeldOut(t.Context(), 3, load.Share{}), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range scores {
			got := b.Archs[i].Results[k]
			if got.Top1 != float64(s.Top1)/float64(s.Images) || !(math.Abs(got.Loss-s.Loss) <= 1e-5) {
				t.Errorf("%s, seed %d: %+v, want %+v", b.Archs[i].Arch, seed, got, s)
			}
		}
	}
}

func TestBenchmarkFileIsRead(t *testing.T) {
	b := filled(t)
	path := filepath.Join(t.TempDir(), "b.jsonl")
	if err := b.Write(fsys.OS, path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(fsys.OS, path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, b) {
		t.Errorf("read %+v, wrote %+v", got, b)
	}
	if _, err := Read(fsys.OS, path+".no"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for name, broken := range map[string]string{
		"empty":                   "",
		"no architecture":         lines[0],
		"another format":          strings.Replace(string(text), `"format":1`, `"format":2`, 1),
		"an unknown key":          strings.Replace(string(text), `"macs"`, `"flops"`, 1),
		"a wrong count":           strings.Replace(string(text), `"params":`, `"params":1`, 1),
		"an architecture twice":   strings.Join([]string{lines[0], lines[1], lines[1]}, "\n"),
		"another seed":            strings.Replace(string(text), `{"seed":0,"top1"`, `{"seed":5,"top1"`, 1),
		"an impossible accuracy":  strings.Replace(string(text), `"top1":0.`, `"top1":7.`, 1),
		"a line that is cut":      string(text[:len(text)-9]),
		"two values in one line":  lines[0] + "{}\n" + lines[1],
		"an unknown architecture": strings.Replace(string(text), `"arch":"e8`, `"arch":"e9`, 1),
	} {
		if broken == string(text) {
			t.Fatalf("%s: nothing was broken", name)
		}
		if _, err := parse([]byte(broken)); !errors.Is(err, ErrBenchmark) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	b, err := Plan(header(), 3)
	if err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(f.TempDir(), "b.jsonl")
	if err := b.Write(fsys.OS, path); err != nil {
		f.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("{}\n{}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := parse(text); err != nil && !errors.Is(err, ErrBenchmark) {
			t.Errorf("%v does not wrap ErrBenchmark", err)
		}
	})
}
