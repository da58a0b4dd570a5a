package fsys_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"prenas/internal/fsys"
)

func TestPathsOfOneFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(
		os.Mkdir(at("real"), 0o755), os.Symlink("real", at("link")), os.WriteFile(at("real/w"), nil, 0o644),
		os.Link(at("real/w"), at("hard")), os.Symlink("real/w", at("soft")), os.WriteFile(at("other"), nil, 0o644),
	); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		a, b         string
		same, within bool
	}{
		{"real/w", "link/w", true, true},
		{"real/w", "hard", true, false},
		{"real/w", "soft", true, true},
		{"real/w", "other", false, false},
		{"link/new", "real/new", true, true},
		{"link/new", "real/old", false, false},
		{"link/new/deep", "real", false, true},
		{"real", "link/new", false, false},
		{"link/../real", "link", true, true},
		{"realm", "real", false, false},
	} {
		if got := fsys.Same(at(c.a), at(c.b)); got != c.same {
			t.Errorf("%s and %s are the same: %v", c.a, c.b, got)
		}
		if got := fsys.Within(at(c.a), at(c.b)); got != c.within {
			t.Errorf("%s is within %s: %v", c.a, c.b, got)
		}
	}
	t.Chdir(dir)
	if !fsys.Within("real/x", ".") || fsys.Within("..", ".") || !fsys.Same("./real", at("link")) {
		t.Error("relative paths")
	}
}
