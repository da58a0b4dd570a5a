package nearest

import (
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	for _, c := range []struct {
		written string
		known   []string
		want    string
		edits   int
	}{
		{"epoch", []string{"batch", "epochs", "seed"}, "epochs", 1},
		{"seed", []string{"seed"}, "seed", 0},
		{"xa", []string{"b", "a"}, "a", 1},
		{"a", []string{"c", "b"}, "b", 1}, // equally near: by the alphabet
		{"anything", nil, "", 0},
		{strings.Repeat("x", 1<<20), []string{"x"}, "x", longest - 1},
	} {
		if got, edits := Name(c.written, c.known); got != c.want || edits != c.edits {
			t.Errorf("Name(%.20q, %q) = %q, %d, want %q, %d", c.written, c.known, got, edits, c.want, c.edits)
		}
	}
}
