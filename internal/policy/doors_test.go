package policy

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// doors are the rooms through which alone something is done, and what does it: files are
// opened where pipes and devices are refused, programs started where they are isolated,
// goroutines started where a panic has an end.
var doors = []struct {
	what  string
	calls *regexp.Regexp
	rooms []string
}{
	{"open files with fsys.OpenRegular, fsys.ReadText or fsys.ReadFile",
		regexp.MustCompile(`\bos\.(Open|OpenFile|ReadFile)\([^"]`), // but for what the system has in /proc
		[]string{"internal/fsys", "internal/faults", "internal/fixture", "internal/pytools"}},
	{"start programs with foreign.Run",
		regexp.MustCompile(`\b(exec\.Command(Context)?|os\.StartProcess|syscall\.(Exec|ForkExec))\(`),
		[]string{"internal/foreign", "internal/faults", "internal/pytools", "internal/ranks/rankstest"}},
	{"start goroutines with crash.Go, so that a panic ends with a sentence and a code of its own",
		regexp.MustCompile(`(?m)^\s*go (func\b|[\w.]+\()`),
		[]string{"internal/crash", "internal/browser", "internal/faults"}},
}

func TestDoors(t *testing.T) {
	for _, f := range goFiles(t) {
		top, _, _ := strings.Cut(f.path, "/")
		if strings.HasSuffix(f.path, "_test.go") || !slices.Contains([]string{"cmd", "internal", "pkg"}, top) {
			continue
		}
		for _, door := range doors {
			if found := door.calls.Find(f.text); found != nil && !slices.Contains(door.rooms, path.Dir(f.path)) {
				t.Errorf("%s has %s: %s", f.path, found, door.what)
			}
		}
	}
}
