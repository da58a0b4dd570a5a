// Package printable makes text of unknown origin safe to show: names of files and classes,
// keys of YAML, what a server said. A terminal obeys control characters and escape
// sequences, and turns text around at bidirectional overrides, so that a name can hide
// another or write what the program never said. What cannot be printed is shown as Go
// writes it in a string, \x1b or \u202e; all else, of any script, stays as it is.
//
// It also writes counts of things.
package printable

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize/english"
)

// Name is a name on one line: line ends and tabs are escaped too.
func Name(s string) string { return escape(s, "") }

// Names are several of them.
func Names(list []string) []string {
	shown := make([]string, len(list))
	for i, s := range list {
		shown[i] = Name(s)
	}
	return shown
}

// Text is text of several lines, whose line ends and tabs stay.
func Text(s string) string { return escape(s, "\n\t") }

// Count is a number of things, whose name is in the singular: "1 class", "3 classes".
func Count[N int | int64](n N, thing string) string {
	return strconv.FormatInt(int64(n), 10) + " " + english.PluralWord(int(n), thing, "")
}

// Are is a count with its verb: "1 class is", "3 classes are".
func Are[N int | int64](n N, thing string) string {
	if n == 1 {
		return Count(n, thing) + " is"
	}
	return Count(n, thing) + " are"
}

// Message is an error or a note: its first line is as it is, and those after it are
// indented, so that no name with a line end in it passes for a message of its own.
func Message(s string) string {
	lines := strings.Split(Text(s), "\n")
	for i, line := range lines[1:] {
		if line != "" && !strings.HasPrefix(line, "  ") {
			lines[1+i] = "  " + line
		}
	}
	return strings.Join(lines, "\n")
}

func escape(s, keep string) string {
	if safe(s, keep) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		_, size := utf8.DecodeRuneInString(s[i:])
		if piece := s[i : i+size]; safe(piece, keep) {
			b.WriteString(piece)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteToASCII(piece), `"`))
		}
		i += size
	}
	return b.String()
}

// safe tells whether nothing of s has to be escaped.
func safe(s, keep string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return false
			}
		}
		if !strings.ContainsRune(keep, r) && !shown(r) {
			return false
		}
	}
	return true
}

// shown tells whether a terminal shows a rune, instead of obeying it or showing nothing. Joiners and
// variation selectors, which scripts and emoji need, are.
func shown(r rune) bool {
	switch r {
	case '\u200c', '\u200d':
		return true
	}
	return unicode.IsPrint(r) || unicode.Is(unicode.Variation_Selector, r) || r != '\u2028' && r != '\u2029' && unicode.Is(unicode.Zs, r)
}

// JSON escapes what a JSON text has in its strings that no terminal should get raw. The text
// means the same.
func JSON(text []byte) []byte {
	if safe(string(text), "\n\t") {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case r == '\n' || r == '\t' || shown(r):
			b.WriteRune(r)
		default: // as JSON has it, in halves above 0xffff
			for _, half := range utf16s(r) {
				b.WriteString(`\u` + strconv.FormatUint(0x10000|uint64(half), 16)[1:])
			}
		}
	}
	return b.Bytes()
}

func utf16s(r rune) []uint16 {
	if r < 0x10000 {
		return []uint16{uint16(r)}
	}
	r -= 0x10000
	return []uint16{0xd800 + uint16(r>>10), 0xdc00 + uint16(r&0x3ff)}
}

// Writer escapes as Text does what is written to it, whole lines or not.
func Writer(to io.Writer) io.Writer { return &writer{to: to} }

type writer struct {
	to   io.Writer
	rest []byte // the beginning of a rune that the next write ends
}

func (w *writer) Write(p []byte) (int, error) {
	text := append(w.rest, p...)
	whole := len(text)
	for back := 1; back < utf8.UTFMax && back <= len(text); back++ {
		if at := len(text) - back; utf8.RuneStart(text[at]) {
			if !utf8.FullRune(text[at:]) {
				whole = at
			}
			break
		}
	}
	w.rest = bytes.Clone(text[whole:])
	if _, err := io.WriteString(w.to, Text(string(text[:whole]))); err != nil {
		return 0, err
	}
	return len(p), nil
}
