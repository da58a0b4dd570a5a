//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// unreadSignal comes when something was written that no one reads.
const unreadSignal = syscall.SIGPIPE

func notifyUnread(to chan<- os.Signal) { signal.Notify(to, unreadSignal) }

// unread tells whether what is written to a file has no reader any more.
func unread(f *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLOUT}}
	_, err := unix.Poll(fds, 0)
	return err == nil && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}
