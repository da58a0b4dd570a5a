package main

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"prenas/internal/printable"
	"prenas/internal/sealed"
)

// console tells a person what goes on, on standard error: with bars on a terminal, with plain lines
// elsewhere. Results go to standard output.
type console struct {
	mu       sync.Mutex
	mute     bool // another rank speaks for this one
	quiet    bool
	terminal bool
	bar      *progressbar.ProgressBar
	last     time.Time
}

func newConsole(g *global) *console {
	c := &console{mute: !g.ranks.First(), quiet: g.quiet, terminal: term.IsTerminal(int(os.Stderr.Fd()))}
	sealed.Tell(func(path string) {
		c.line(path + " has no digest: an earlier version wrote it, or it was edited; it is taken as it is")
	})
	return c
}

// warning is the beginning of lines that are printed in spite of --quiet.
const warning = "warning: "

// line prints a line, above a bar that may be running.
func (c *console) line(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mute || c.quiet && !strings.HasPrefix(text, warning) {
		return
	}
	if c.bar != nil {
		_ = c.bar.Clear()
	}
	fmt.Fprintln(os.Stderr, fold(printable.Message(text), widthOf(os.Stderr)))
}

// plainEvery is the time between two lines of progress where there is no terminal.
const plainEvery = 10 * time.Second

// progress shows that done of total of a task are done. The first call for a task starts its bar, and
// the call with done = total ends it.
func (c *console) progress(task string, done, total int64, detail string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mute || c.quiet {
		return
	}
	finished := done >= total
	detail = printable.Name(detail)
	if !c.terminal {
		if finished || time.Since(c.last) >= plainEvery {
			c.last = time.Now()
			fmt.Fprintf(os.Stderr, "%s: %d of %d%s\n", task, done, total, spaced(detail))
		}
		return
	}
	line := cmp.Or(widthOf(os.Stderr), columns)
	before := barText(line, task, detail)
	if c.bar == nil {
		width, counts := barRoom(line, before, total)
		options := []progressbar.Option{
			progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100 * time.Millisecond), progressbar.OptionSetWidth(width), progressbar.OptionClearOnFinish(),
		}
		if counts {
			options = append(options, progressbar.OptionShowCount())
		}
		c.bar = progressbar.NewOptions64(total, options...)
	}
	c.bar.Describe(before)
	_ = c.bar.Set64(done)
	if finished {
		_ = c.bar.Finish()
		c.bar = nil
		fmt.Fprintln(os.Stderr, fold(fmt.Sprintf("%s: %d done%s", task, total, spaced(detail)), line))
	}
}

// barText is what stands before a bar: the task, and as many parts of its detail, from the first on, as leave room.
func barText(line int, task, detail string) string {
	for {
		before := task + spaced(detail)
		if detail == "" || roomBeside(line, before) >= leastBar {
			return before
		}
		at := strings.LastIndex(detail, "  ")
		detail = strings.TrimRight(detail[:max(at, 0)], " ")
	}
}

const leastBar, mostBar = 8, 24

// roomBeside is how many columns a line has for a bar, between what stands before it and after it.
func roomBeside(line int, before string) int {
	const slack = 4 // what stands before it grows with its numbers
	return line - utf8.RuneCountInString(before) - slack - len(" 100% || [1h59m59s:1h59m59s]")
}

// barRoom is how wide a bar may be beside what stands before it, so that its line fits, and whether there is room for counts
// as well.
func barRoom(line int, before string, total int64) (width int, counts bool) {
	room := roomBeside(line, before)
	if numbers := len(fmt.Sprintf(" (%d/%d)", total, total)); room-numbers >= leastBar {
		room, counts = room-numbers, true
	}
	return max(leastBar, min(mostBar, room)), counts
}

func spaced(detail string) string {
	if detail == "" {
		return ""
	}
	return "  " + detail
}
