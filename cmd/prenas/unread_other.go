//go:build !unix

package main

import (
	"os"
	"syscall"
)

// unreadSignal never comes on this system: a write that nobody reads is an error here.
const unreadSignal = syscall.SIGPIPE

func notifyUnread(chan<- os.Signal) {}

func unread(*os.File) bool { return false }
