package main

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFold(t *testing.T) {
	for _, c := range []struct {
		line, want string
		width      int
	}{
		{"a short line", "a short line", 12},
		{"a line of words", "a line of words", 0},
		{"a line of some words", "a line of\n    some\n    words", 10},
		{"GPU         none: there is nothing", "GPU         none:\n            there is\n            nothing", 22},
		{"   1.5  22  e128-h4x2_2-r2x2_3", "   1.5  22\n    e128-h4x2_2-r2x2_3", 24},
		{"to /a/path/that/is/wide ends", "to /a/path/that/is/wide\n    ends", 10},
		{"äöü äöü äöü", "äöü äöü\n    äöü", 8},
		{"  prenas search --space s.yaml --out c.json", "  prenas search \\\n    --space s.yaml \\\n    --out c.json", 21},
		{"fam has\n  0.08  e16-h2_1-r0.5x2\n  or all of them", "fam has\n  0.08  e16-h2_1-r0.5x2\n  or all of them", 24},
		{"ends with spaces   ", "ends with\n    spaces   ", 12},
	} {
		if got := fold(c.line, c.width); got != c.want {
			t.Errorf("%q in %d columns:\n%s\nwant\n%s", c.line, c.width, got, c.want)
		}
	}
}

func FuzzFold(f *testing.F) {
	f.Add("train loss  1.25 of e128-h4x2_2-r2x2_3 in /some/where", 20)
	f.Add("AMX         the processor has it", 24)
	f.Fuzz(func(t *testing.T, line string, width int) {
		if !utf8.ValidString(line) || strings.Contains(line, "\n") || width < 1 || width > 200 {
			return
		}
		got := fold(line, width)
		if a, b := strings.Fields(line), strings.Fields(strings.ReplaceAll(got, " \\\n", "\n")); strings.Join(a, " ") != strings.Join(b, " ") {
			t.Errorf("words changed: %q", got)
		}
		for _, part := range strings.Split(got, "\n") {
			if utf8.RuneCountInString(strings.TrimRight(part, " ")) > width && len(strings.Split(strings.Trim(part, " "), " ")) > 1 && width > 2*mostLabel {
				t.Errorf("%q is wider than %d", part, width)
			}
		}
	})
}

// Lines that come in pieces are folded whole, and the last needs no end.
func TestFoldingWriter(t *testing.T) {
	var out strings.Builder
	w := folding{to: &out, width: 10}
	for _, piece := range []string{"a line ", "of words\nanother", " one of words"} {
		if _, err := w.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	if want := "a line of\n    words\nanother\n    one of\n    words"; out.String() != want {
		t.Errorf("%q", out.String())
	}
}

func TestABarFitsItsLine(t *testing.T) {
	for _, c := range []struct {
		before string
		total  int64
		counts bool
	}{
		{"train  epoch 12/100  loss 0.123  1234 images/s", 11904, false},
		{"evaluate", 10000, true},
		{"download  bytes", 63_000_000, true},
	} {
		width, counts := barRoom(80, c.before, c.total)
		line := len(c.before) + len(" 100% || [59m59s:59m59s]") + width
		if counts {
			line += len(fmt.Sprintf(" (%d/%d)", c.total, c.total))
		}
		if counts != c.counts || width < 8 || line > 80 {
			t.Errorf("%q: %d columns, counts %v", c.before, width, counts)
		}
	}
}

// In a narrow terminal a bar keeps its room, at the cost of the last parts of the detail.
func TestABarKeepsItsRoom(t *testing.T) {
	for width, want := range map[int]string{
		90: "train  epoch 12/100  loss 0.123  1234 images/s",
		80: "train  epoch 12/100  loss 0.123",
		60: "train  epoch 12/100",
		50: "train",
		20: "train",
	} {
		if got := barText(width, "train", "epoch 12/100  loss 0.123  1234 images/s"); got != want {
			t.Errorf("%d columns: %q, want %q", width, got, want)
		}
	}
}

// A row is never broken between a number and its title, nor within one, however narrow the terminal.
func TestTablesFitTheTerminal(t *testing.T) {
	results := table{head: []string{"MACs M", "95 % interval", "top-5 %", "architecture"}}
	results.add("0.2029", "55.20 to 95.30", "100.00", "e24-h2x2-r2x2")
	results.add("12.5", "-", "", "e16-h1-r2")
	for width, want := range map[string]string{
		"60": "MACs M   95 % interval  top-5 %  architecture\n0.2029  55.20 to 95.30   100.00  e24-h2x2-r2x2\n  12.5               -           e16-h1-r2\n",
		"40": "MACs M   95 % interval  top-5 %\n    architecture\n0.2029  55.20 to 95.30   100.00\n    e24-h2x2-r2x2\n  12.5               -\n    e16-h1-r2\n",
		"30": "e24-h2x2-r2x2\n  MACs M 0.2029,\n  95 % interval 55.20 to 95.30,\n  top-5 % 100.00\ne16-h1-r2\n  MACs M 12.5,\n  95 % interval -\n",
	} {
		t.Setenv("COLUMNS", width)
		var text strings.Builder
		if err := results.print(&text); err != nil {
			t.Fatal(err)
		}
		if text.String() != want {
			t.Errorf("%s columns:\n%s\nwant\n%s", width, text.String(), want)
		}
	}
}
