package main

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/spf13/pflag"

	"prenas/internal/input"
)

// Every input that an error can name is a flag of some command.
func TestInputsAreFlags(t *testing.T) {
	flags := map[string]bool{}
	for _, c := range allCommands(newRoot()) {
		for _, set := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
			set.VisitAll(func(f *pflag.Flag) { flags["--"+f.Name] = true })
		}
	}
	parsed, err := parser.ParseFile(gotoken.NewFileSet(), filepath.Join("..", "..", "internal", "input", "input.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(parsed, func(n ast.Node) bool {
		c, is := n.(*ast.ValueSpec)
		if !is || len(c.Values) == 0 {
			return true
		}
		text, err := strconv.Unquote(c.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		if name := input.Name(text); !flags[name.String()] {
			t.Errorf("input %s: there is no flag %v", c.Names[0], name)
		}
		return true
	})
	if found == 0 {
		t.Error("package input names nothing")
	}
}
