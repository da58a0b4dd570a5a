package main

import (
	"bytes"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// columns is the width that tables keep within where they can: the usual width of a terminal.
const columns = 80

// table has rows of numbers, each followed by a name, which may be long.
type table struct {
	head []string // titles of the numbers, then of the name
	rows [][]string
}

func (t *table) add(row ...string) { t.rows = append(t.rows, row) }

// print writes the table with numbers aligned right. Where a row is wider than a terminal, names get
// lines of their own, so that no name is broken in the middle.
func (t *table) print(w io.Writer) error {
	text, widest := t.text(true)
	if widest > columns {
		text, _ = t.text(false)
	}
	_, err := w.Write(text)
	return err
}

// text is the table, and the width of its widest line.
func (t *table) text(beside bool) (text []byte, widest int) {
	var lines bytes.Buffer
	tabs := tabwriter.NewWriter(&lines, 0, 0, 2, ' ', tabwriter.AlignRight)
	last := len(t.head) - 1
	for _, row := range append([][]string{t.head}, t.rows...) {
		// Writes to a buffer do not fail.
		_, _ = io.WriteString(tabs, strings.Join(row[:last], "\t")+"\t")
		if beside {
			_, _ = io.WriteString(tabs, "  "+row[last])
		}
		_, _ = io.WriteString(tabs, "\n")
	}
	_ = tabs.Flush()
	out := strings.Split(strings.TrimSuffix(lines.String(), "\n"), "\n")
	// Spaces before every number of the first column are left out.
	margin := len(out[0])
	for _, line := range out {
		margin = min(margin, len(line)-len(strings.TrimLeft(line, " ")))
	}
	var result bytes.Buffer
	for i, line := range out {
		line = strings.TrimRight(line[margin:], " ")
		widest = max(widest, utf8.RuneCountInString(line))
		result.WriteString(line + "\n")
		if beside {
			continue
		}
		if name := append([][]string{t.head}, t.rows...)[i][last]; name != "" {
			result.WriteString("    " + name + "\n")
		}
	}
	return result.Bytes(), widest
}
