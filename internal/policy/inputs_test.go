package policy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// otherFlags are flags of other programs that a sentence tells of.
var otherFlags = []string{"--gpus", "--mpi"}

// Rooms have no flags: an error names an input by a constant of package input, and the program
// writes it as its reader gives it.
func TestRoomsKnowNoFlags(t *testing.T) {
	flag := regexp.MustCompile(`--[a-z][a-z-]*`)
	for _, f := range goFiles(t) {
		folder := path.Dir(f.path)
		room, _ := roomOf(folder)
		if top, _, _ := strings.Cut(f.path, "/"); top != "internal" && top != "pkg" || strings.HasSuffix(f.path, "_test.go") || slices.Contains(fixtures, room) {
			continue
		}
		for _, text := range literals(t, f) {
			if !strings.Contains(text, " ") {
				continue // an argument of a program that is started
			}
			for _, found := range flag.FindAllString(text, -1) {
				if !slices.Contains(otherFlags, found) {
					t.Errorf("%s: %q has %s: write it by a name of package input and %%v, or wrap the name by %%w", f.path, text, found)
				}
			}
		}
	}
}

// literals are the texts in a Go file, but for paths of imports and tags.
func literals(t *testing.T, f file) (all []string) {
	parsed, err := parser.ParseFile(token.NewFileSet(), f.path, f.text, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			n.Tag = nil
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				text, err := strconv.Unquote(n.Value)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, text)
			}
		}
		return true
	})
	return all
}
