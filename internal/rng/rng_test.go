package rng

import "testing"

// The first draws are pinned: a change would silently change every run.
func TestStreamsArePinned(t *testing.T) {
	if got, want := New(1, "init").Uint64(), uint64(8486828272682067988); got != want {
		t.Fatalf("first draw is %d, want %d", got, want)
	}
}

func TestStreamsAreApart(t *testing.T) {
	seen := map[uint64]string{}
	for name, v := range map[string]uint64{
		"seed 1":          New(1, "a").Uint64(),
		"seed 2":          New(2, "a").Uint64(),
		"purpose b":       New(1, "b").Uint64(),
		"index 0":         New(1, "a", 0).Uint64(),
		"index 1":         New(1, "a", 1).Uint64(),
		"index 0,0":       New(1, "a", 0, 0).Uint64(),
		"purpose a\\x00":  New(1, "a\x00\x00\x00\x00\x00\x00\x00\x00").Uint64(),
		"index 0 again b": New(1, "b", 0).Uint64(),
	} {
		if other, dup := seen[v]; dup {
			t.Errorf("streams %q and %q draw the same number", name, other)
		}
		seen[v] = name
	}
}

func TestStreamRepeats(t *testing.T) {
	a, b := New(7, "order", 3), New(7, "order", 3)
	for range 100 {
		if a.Uint64() != b.Uint64() {
			t.Fatal("the same name gives different numbers")
		}
	}
}
