package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"prenas/internal/crash"
)

// impatience is how long after a first signal a second one is a wish of its own: programs
// as timeout send two in one instant.
var impatience = time.Second

// stopOnSignal calls stop when this process is asked to end: by Ctrl-C, a signal to
// terminate, the end of its terminal, or the end of whoever reads what it says. It calls
// atOnce when it is asked again, by one of the former two. What was ignored when the
// process began, as nohup has it, stays so.
func stopOnSignal(tell io.Writer, stop, atOnce func()) {
	signals := make(chan os.Signal, 16)
	for _, s := range stopSignals {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	notifyUnread(signals)
	crash.Go(func() {
		var first time.Time
		for s := range signals {
			isUnread := s == unreadSignal
			switch {
			case isUnread && !unread(os.Stdout) && !unread(os.Stderr):
				// A connection of a download broke.
			case first.IsZero():
				first = time.Now()
				if !isUnread {
					fmt.Fprintln(tell, "\nprenas: stopping; once more to stop at once")
				}
				stop()
			case slices.Contains([]os.Signal{os.Interrupt, syscall.SIGTERM}, s) && time.Since(first) >= impatience:
				atOnce()
			}
		}
	})
}
