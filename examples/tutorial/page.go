package main

import (
	"regexp"
	"slices"
	"strings"
)

// A page is text, and between it commands in blocks that are indented by four: "$ " and the command,
// under it what it prints.
type page []*piece

// piece is a command with the lines that it prints, or a line of text.
type piece struct {
	line    string // without the indent and the $ of a command
	command bool
	printed []string
}

const indent = "    "

func parse(text string) (p page) {
	var last *piece // the command whose block goes on
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		inside, indented := strings.CutPrefix(line, indent)
		command, is := strings.CutPrefix(inside, "$ ")
		switch {
		case indented && is:
			last = &piece{line: command, command: true}
			p = append(p, last)
		case indented && last != nil:
			last.printed = append(last.printed, inside)
		default:
			last = nil
			p = append(p, &piece{line: line})
		}
	}
	return p
}

func (p page) commands() (list []*piece) {
	for _, one := range p {
		if one.command {
			list = append(list, one)
		}
	}
	return list
}

func (p page) String() string {
	var b strings.Builder
	for _, one := range p {
		if !one.command {
			b.WriteString(one.line + "\n")
			continue
		}
		b.WriteString(indent + "$ " + one.line + "\n")
		for _, line := range one.printed {
			b.WriteString(strings.TrimRight(indent+line, " ") + "\n")
		}
	}
	return b.String()
}

// widest is where lines are cut, behind a comma, that a program other than prenas prints.
const widest = 90

func cut(line string) (parts []string) {
	for len(line) > widest {
		at := strings.LastIndexByte(line[:widest], ',') + 1
		if at == 0 {
			break
		}
		parts, line = append(parts, line[:at]), line[at:]
	}
	return append(parts, line)
}

var (
	architectures = regexp.MustCompile(`\b[ei]\d+-[\w-]+`)
	values        = regexp.MustCompile(`[+-]?\d[\d.]*(h|m|ms|s|h?\d*m?[\d.]+s)?\b|digest\s+\w+|\s-(\s|$)`)
)

// form is a text without its values, and with one space between words.
func form(text string) string {
	return strings.Join(strings.Fields(values.ReplaceAllString(architectures.ReplaceAllString(text, "ARCH"), " # ")), " ")
}

// missing are the lines of the page that are not of the form of anything that was printed: where
// lines are folded hangs on their values. What names one of the words in but is not looked at: it is of
// other images where there are few.
func (c piece) missing(printed string, but []string) (lines []string) {
	all := " " + form(printed) + " "
	for _, line := range c.printed {
		if !strings.Contains(all, " "+form(line)+" ") && !slices.ContainsFunc(but, func(word string) bool { return strings.Contains(line, word) }) {
			lines = append(lines, line)
		}
	}
	return lines
}
