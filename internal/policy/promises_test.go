package policy

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What docs/reliability.md says to show a promise exists: tests by their names, scripts of
// commands by theirs.
func TestPromisesNameTheirTests(t *testing.T) {
	text, err := os.ReadFile(path.Join(root, "docs", "reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := files(t)
	var tests []string
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	for _, f := range all {
		if strings.HasSuffix(f.path, "_test.go") {
			for _, name := range function.FindAllSubmatch(f.text, -1) {
				tests = append(tests, string(name[1]))
			}
		}
	}
	for _, name := range regexp.MustCompile("`(Test\\w+)`").FindAllSubmatch(text, -1) {
		if !slices.Contains(tests, string(name[1])) {
			t.Errorf("docs/reliability.md: there is no %s", name[1])
		}
	}
	scripts := regexp.MustCompile("scripts? ((?:`\\w+`(?:, )?)+)").FindAllSubmatch(text, -1)
	if len(scripts) == 0 {
		t.Error("docs/reliability.md: no promise is shown by a script")
	}
	for _, list := range scripts {
		for _, name := range regexp.MustCompile("`(\\w+)`").FindAllSubmatch(list[1], -1) {
			script := "cmd/prenas/testdata/script/" + string(name[1]) + ".txtar"
			if !slices.ContainsFunc(all, func(f file) bool { return f.path == script }) {
				t.Errorf("docs/reliability.md: there is no %s", script)
			}
		}
	}
}
