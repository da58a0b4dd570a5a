package main

import (
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// widthOf is the columns that a person reads a stream in: what COLUMNS says, else its terminal's; 0: it is no
// terminal, and lines may be of any length.
func widthOf(stream *os.File) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	width, _, err := term.GetSize(int(stream.Fd()))
	if err != nil {
		return 0
	}
	return width
}

const (
	foldIndent = 4 // spaces before what is left of a line
	mostLabel  = 14
)

// fold breaks a line that is wider than width between words, so that a terminal breaks none of them:
// a name or path that is wider by itself has a line of its own. What is left of a line stands under
// the text behind its label, as doctor has them, else is indented. A line that is a command of prenas
// goes on behind a backslash, so that it can be copied.
func fold(line string, width int) string {
	if width <= 0 || utf8.RuneCountInString(line) <= width {
		return line
	}
	indent := foldIndent
	if label, _, is := strings.Cut(line, "  "); is && label != "" && len(label) <= mostLabel {
		text := strings.TrimLeft(line[len(label):], " ")
		if at := len(line) - len(text); at <= mostLabel {
			indent = at
		}
	}
	var b strings.Builder
	column, end := 0, "\n"
	if strings.HasPrefix(strings.TrimLeft(line, " "), "prenas ") {
		end, width = " \\\n", width-2
	}
	for rest := line; rest != ""; {
		word := strings.TrimLeft(rest, " ")
		gap := len(rest) - len(word)
		if at := strings.IndexByte(word, ' '); at >= 0 {
			word = word[:at]
		}
		rest = rest[gap+len(word):]
		size := utf8.RuneCountInString(word)
		if column > indent && word != "" && column+gap+size > width {
			b.WriteString(end + strings.Repeat(" ", indent))
			column, gap = indent, 0
		}
		b.WriteString(strings.Repeat(" ", gap) + word)
		column += gap + size
	}
	return b.String()
}

// folding folds the lines that are written to it.
type folding struct {
	to    io.Writer
	width int
	begun string // of the line that has not ended
}

// Write implements io.Writer.
func (f *folding) Write(p []byte) (int, error) {
	if f.width <= 0 {
		return f.to.Write(p)
	}
	text := f.begun + string(p)
	var out strings.Builder
	for {
		line, after, ended := strings.Cut(text, "\n")
		if !ended {
			f.begun = line
			break
		}
		out.WriteString(fold(line, f.width) + "\n")
		text = after
	}
	_, err := io.WriteString(f.to, out.String())
	return len(p), err
}

// end writes a last line that has no end.
func (f *folding) end() error {
	if f.begun == "" {
		return nil
	}
	_, err := io.WriteString(f.to, fold(f.begun, f.width))
	f.begun = ""
	return err
}
