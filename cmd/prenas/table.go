package main

import (
	"bytes"
	"cmp"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// columns is the width that tables keep within where nothing says another: the usual width of a terminal.
const columns = 80

// table has rows of numbers, each followed by a name, which may be long.
type table struct {
	head []string // titles of the numbers, then of the name
	rows [][]string
}

func (t *table) add(row ...string) { t.rows = append(t.rows, row) }

// print writes the table with numbers aligned right. Where a row is wider than the terminal, names get
// lines of their own, so that no name is broken in the middle. Where the numbers alone are wider, each has its
// title beside it.
func (t *table) print(w io.Writer) error {
	width := cmp.Or(widthOf(os.Stdout), columns)
	text, widest := t.text(true)
	if widest > width {
		text, widest = t.text(false)
	}
	if widest > width && t.numbers() > width {
		text = t.list(width)
	}
	_, err := w.Write(text)
	return err
}

// numbers is the width of the rows without their names.
func (t *table) numbers() int {
	short := table{head: append(slices.Clone(t.head[:len(t.head)-1]), "")}
	for _, row := range t.rows {
		short.add(append(slices.Clone(row[:len(row)-1]), "")...)
	}
	_, widest := short.text(true)
	return widest
}

// list is the rows as names, each above its numbers with their titles, as many to a line as it takes.
func (t *table) list(width int) []byte {
	var b bytes.Buffer
	last := len(t.head) - 1
	for _, row := range t.rows {
		b.WriteString(row[last] + "\n")
		line := ""
		for i, value := range row[:last] {
			if value == "" {
				continue
			}
			pair := t.head[i] + " " + value
			switch {
			case line == "":
				line = "  " + pair
			case utf8.RuneCountInString(line+", "+pair+",") > width:
				b.WriteString(line + ",\n")
				line = "  " + pair
			default:
				line += ", " + pair
			}
		}
		b.WriteString(line + "\n")
	}
	return b.Bytes()
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
