package audit

import (
	"testing"

	"prenas/internal/fsys"
)

// The published benchmark can be read, and its baselines are those of docs/audit.md.
func TestPublishedBenchmark(t *testing.T) {
	b, err := Read(fsys.OS, "../../examples/audit/fashion-mnist.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Correlate(b, nil, 1, b.Draw)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		name             string
		all, within, rho float64
	}{{Params, 0.57, 0.27, 0.79}, {MACs, 0.56, 0.26, 0.78}, {OneRun, 0.59, 0.38, 0.78}} {
		r := c.Rows[i]
		near := func(got, want float64) bool { return got > want-0.005 && got < want+0.005 }
		if r.Proxy != want.name || !near(r.Tau.Value, want.all) || !near(r.TauWithin.Value, want.within) || !near(r.Rho.Value, want.rho) {
			t.Errorf("%s: tau %.3f, within %.3f, rho %.3f; want %+v", r.Proxy, r.Tau.Value, r.TauWithin.Value, r.Rho.Value, want)
		}
	}
}
