package policy

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"prenas/pkg/space"
)

// The space that README.md shows must be one that search accepts.
func TestSpaceOfTheReadme(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(text)
	if shown == nil {
		t.Fatal("README.md shows no space")
	}
	path := filepath.Join(t.TempDir(), "space.yaml")
	if err := os.WriteFile(path, shown[1], 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := space.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range []space.Arch{s.Smallest(), s.Largest()} {
		if err := s.Check(arch); err != nil {
			t.Error(err)
		}
		size := float64(s.Model.Params(arch)) / 1e6
		t.Logf("%s: %.3f million parameters", arch, size)
	}
	if smallest := float64(s.Model.Params(s.Smallest())) / 1e6; smallest >= s.Interval.Max {
		t.Errorf("no architecture is below INTERVAL's MAX: the smallest has %.3f million", smallest)
	}
	if largest := float64(s.Model.Params(s.Largest())) / 1e6; largest < s.Interval.Max-s.Interval.Step {
		t.Errorf("the last interval is empty: the largest architecture has %.3f million", largest)
	}
}
