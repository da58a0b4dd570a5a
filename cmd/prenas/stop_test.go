//go:build unix

package main

import (
	"bytes"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stops sends this process signals, each after the one before was handled, and counts what
// they asked for.
func stops(t *testing.T, patient time.Duration, signals ...syscall.Signal) (stopped, atOnce int, told string) {
	t.Helper()
	defer signal.Reset()
	defer func(d time.Duration) { impatience = d }(impatience)
	impatience = patient
	asked := make(chan string, 16)
	var said bytes.Buffer
	stopOnSignal(&said, func() { asked <- "stop" }, func() { asked <- "at once" })
	for _, s := range signals {
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		select { // signals that ask for nothing are handled meanwhile
		case what := <-asked:
			if what == "stop" {
				stopped++
			} else {
				atOnce++
			}
		case <-time.After(100 * time.Millisecond):
		}
	}
	return stopped, atOnce, said.String()
}

func TestSignalsThatStop(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("SIGHUP is ignored, as nohup has it")
	}
	const patient = time.Hour
	for _, c := range []struct {
		name            string
		signals         []syscall.Signal
		patient         time.Duration
		stopped, atOnce int
	}{
		{"two of timeout in one instant", []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM}, patient, 1, 0},
		{"Ctrl-C and, as its reader ends, a pipe", []syscall.Signal{syscall.SIGINT, syscall.SIGPIPE}, 0, 1, 0},
		{"a terminal that closes, seen twice", []syscall.Signal{syscall.SIGHUP, syscall.SIGHUP}, 0, 1, 0},
		{"a terminal that closes, then Ctrl-C", []syscall.Signal{syscall.SIGHUP, syscall.SIGINT}, 0, 1, 1},
		{"twice Ctrl-C", []syscall.Signal{syscall.SIGINT, syscall.SIGINT}, 0, 1, 1},
		{"a connection that breaks", []syscall.Signal{syscall.SIGPIPE}, 0, 0, 0},
	} {
		stopped, atOnce, told := stops(t, c.patient, c.signals...)
		if stopped != c.stopped || atOnce != c.atOnce {
			t.Errorf("%s: stopped %d times, %d at once; want %d and %d", c.name, stopped, atOnce, c.stopped, c.atOnce)
		}
		if n := strings.Count(told, "stopping"); n != c.stopped {
			t.Errorf("%s: told %d times", c.name, n)
		}
	}
}

// What nohup ignores stays ignored.
func TestIgnoredSignalsStopNothing(t *testing.T) {
	signal.Ignore(syscall.SIGHUP)
	defer signal.Reset(syscall.SIGHUP)
	if stopped, _, _ := stops(t, 0, syscall.SIGHUP); stopped != 0 {
		t.Error("it stopped")
	}
}

func TestUnread(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if unread(w) {
		t.Error("a pipe with a reader")
	}
	r.Close()
	if !unread(w) {
		t.Error("a pipe without one")
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if unread(null) {
		t.Error(os.DevNull)
	}
}
