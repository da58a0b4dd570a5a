package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestPage(t *testing.T) {
	const text = "# Title\n\n    $ prenas search\n    a   0.5  e16-h1-r2\n    took 1m0.5s\n    $ prenas train &\n\nText of `x`.\n\n    not a command\n"
	p := parse(text)
	if p.String() != text {
		t.Errorf("written again it is\n%s", p.String())
	}
	c := p.commands()
	if len(c) != 2 || c[0].line != "prenas search" || len(c[0].printed) != 2 || c[1].line != "prenas train &" || len(c[1].printed) != 0 {
		t.Fatalf("commands %v", c)
	}
	if missing := c[0].missing("other\na 12.25\n    i28-d3x3-k5_3-x6\ntook 3h12m7s\n", nil); len(missing) > 0 {
		t.Errorf("other values are missing: %q", missing)
	}
	if missing := c[0].missing("a b 12.25 e16-h1-r2\ntook 1m0.5s", nil); !slices.Equal(missing, []string{"a   0.5  e16-h1-r2"}) {
		t.Errorf("missing is %q", missing)
	}
	if missing := c[0].missing("took 1m0.5s", []string{"e16"}); len(missing) > 0 {
		t.Errorf("%q are missing, and were not to be looked at", missing)
	}
}

// The page is in the form in which -write writes it, and goes from the images to a model that answers.
func TestTutorial(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "tutorial.md"))
	if err != nil {
		t.Fatal(err)
	}
	p := parse(string(text))
	if p.String() != string(text) {
		t.Error("docs/tutorial.md is not as -write writes it")
	}
	var lines []string
	for _, c := range p.commands() {
		lines = append(lines, c.line)
	}
	for _, want := range []string{"prenas data info", "prenas spaces suggest", "prenas search", "prenas train", "prenas eval", "prenas export", "prenas predict", "prenas serve"} {
		if !slices.ContainsFunc(lines, func(line string) bool { return len(line) > len(want) && line[:len(want)] == want }) {
			t.Errorf("docs/tutorial.md has no %s", want)
		}
	}
	for _, picture := range pictures {
		if info, err := os.Stat(filepath.Join("..", "..", "docs", picture.file)); err != nil || info.Size() > 150<<10 {
			t.Errorf("docs/%s: %v, %v", picture.file, info, err)
		}
	}
}
