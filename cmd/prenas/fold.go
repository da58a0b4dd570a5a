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
	mostLabel  = 20
)

// fold breaks each line of a text that is wider than width between words, so that a terminal breaks none of them:
// a name or path that is wider by itself has a line of its own. What is left of a line stands under
// the text behind its label, as doctor and lists of help have them, else is indented. A line that is a command of prenas
// goes on behind a backslash, so that it can be copied.
func fold(text string, width int) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = foldLine(line, width)
	}
	return strings.Join(lines, "\n")
}

func foldLine(line string, width int) string {
	if width <= 0 || utf8.RuneCountInString(line) <= width {
		return line
	}
	indent := foldIndent
	labelled := strings.TrimPrefix(line, "  ") // as help has its lists
	if label, _, is := strings.Cut(labelled, "  "); is && label != "" && label[0] != ' ' {
		text := strings.TrimLeft(labelled[len(label):], " ")
		if at := len(line) - len(text); text != "" && at <= min(mostLabel, 2*width/3) {
			indent = at
		}
	}
	if strings.HasPrefix(strings.TrimLeft(line, " "), "prenas ") {
		return fill(line, width-2, indent, " \\\n")
	}
	return fill(line, width, indent, "\n")
}

// fill breaks a line between words. Each part of it but the last ends with end, and each but the first begins
// with indent spaces.
func fill(line string, width, indent int, end string) string {
	var b strings.Builder
	column := 0
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

// paragraphs fills the paragraphs of a text whose lines were broken for another width. Lines that begin with
// a space, lists, stay.
func paragraphs(text string, width int) string {
	var lines []string
	for i, line := range strings.Split(text, "\n") {
		if last := len(lines) - 1; i > 0 && prose(lines[last]) && prose(line) {
			lines[last] += " " + line
		} else {
			lines = append(lines, line)
		}
	}
	for i, line := range lines {
		if prose(line) {
			lines[i] = fill(line, width, 0, "\n")
		}
	}
	return strings.Join(lines, "\n")
}

func prose(line string) bool { return line != "" && line[0] != ' ' }
