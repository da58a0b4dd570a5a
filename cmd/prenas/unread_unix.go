//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// unreadSignal is sent to a process that writes to a pipe whose reader has gone.
const unreadSignal = syscall.SIGPIPE

func notifyUnread(to chan<- os.Signal) { signal.Notify(to, unreadSignal) }

// unread tells whether a file is a pipe whose reader has gone.
func unread(f *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLOUT}}
	_, err := unix.Poll(fds, 0)
	return err == nil && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}
