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
	if c.bar == nil {
		width, counts := barRoom(cmp.Or(widthOf(os.Stderr), columns), task+spaced(detail), total)
		options := []progressbar.Option{
			progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100 * time.Millisecond), progressbar.OptionSetWidth(width), progressbar.OptionClearOnFinish(),
		}
		if counts {
			options = append(options, progressbar.OptionShowCount())
		}
		c.bar = progressbar.NewOptions64(total, options...)
	}
	c.bar.Describe(task + spaced(detail))
	_ = c.bar.Set64(done)
	if finished {
		_ = c.bar.Finish()
		c.bar = nil
		fmt.Fprintf(os.Stderr, "%s: %d done%s\n", task, total, spaced(detail))
	}
}

// barRoom is how wide a bar may be beside what stands before it, so that its line fits, and whether there is room for counts
// as well.
func barRoom(line int, before string, total int64) (width int, counts bool) {
	const (
		least, most = 8, 24
		slack       = 4 // what stands before it grows with its numbers
	)
	room := line - utf8.RuneCountInString(before) - slack - len(" 100% || [1h59m59s:1h59m59s]")
	if numbers := len(fmt.Sprintf(" (%d/%d)", total, total)); room-numbers >= least {
		room, counts = room-numbers, true
	}
	return max(least, min(most, room)), counts
}

func spaced(detail string) string {
	if detail == "" {
		return ""
	}
	return "  " + detail
}
