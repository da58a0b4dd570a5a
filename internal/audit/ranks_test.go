package audit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"prenas/internal/engine"
	"prenas/internal/ranks"
	"prenas/internal/supernet"
	"prenas/internal/tensorfile"
)

// onRanks runs an audit of 12 architectures on n ranks, each a goroutine. stop is asked of the last one by each of its
// progresses.
func onRanks(t *testing.T, n int, out string, inherited bool, stop func() bool) []error {
	t.Helper()
	errs := make([]error, n)
	var all sync.WaitGroup
	for r, w := range ranks.Together(time.Minute, n) {
		o := options(t, out)
		e, err := engine.Open(t.Context(), engine.Options{Backend: "go", Ranks: w})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Close)
		o.Engine = e
		h := header()
		if inherited {
			h.Inherit = true
			net := supernet.New(h.Space)
			o.Inherited = func(seed uint64) (map[string]tensorfile.Tensor, error) { return net.Init(seed), nil }
		}
		b, err := Plan(h, 12)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if r == n-1 && stop != nil {
			o.Progress = func(int, int) {
				if stop() {
					cancel()
				}
			}
		}
		all.Go(func() {
			defer cancel()
			errs[r] = Run(ctx, b, o)
			if errs[r] == nil && b.missing() > 0 {
				t.Errorf("rank %d misses %d results", r, b.missing())
			}
		})
	}
	all.Wait()
	return errs
}

// Any number of ranks makes the file that one process makes, cut or uncut.
func TestRanksMakeOneBenchmark(t *testing.T) {
	for _, inherited := range []bool{false, true} {
		if inherited && testing.Short() {
			continue
		}
		dir := t.TempDir()
		one, several := filepath.Join(dir, "one.jsonl"), filepath.Join(dir, "several.jsonl")
		if err := onRanks(t, 1, one, inherited, nil)[0]; err != nil {
			t.Fatal(err)
		}
		progresses := 0
		for r, err := range onRanks(t, 3, several, inherited, func() bool { progresses++; return progresses == 4 }) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("rank %d was stopped with the others, and ended with %v", r, err)
			}
		}
		for r, err := range onRanks(t, 2, several, inherited, nil) {
			if err != nil {
				t.Errorf("rank %d: %v", r, err)
			}
		}
		want, err := os.ReadFile(one)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(several); err != nil || !bytes.Equal(got, want) {
			t.Errorf("inherited %v: %v\n%s\nof one process:\n%s", inherited, err, got, want)
		}
	}
}
