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

// impatience is the time after a first signal in which a second one is not counted: programs such as
// timeout send two at once.
var impatience = time.Second

// stopOnSignal calls stop when this process is asked to end: by Ctrl-C, by a signal to terminate,
// because its terminal was closed, or because nobody reads its output any more. A second Ctrl-C or
// signal to terminate calls atOnce. A signal that was ignored when the process began, as by nohup,
// stays ignored.
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
				// It came from a connection that broke, as in a download: standard output is still read.
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
