//go:build !unix

package main

import (
	"os"
	"syscall"
)

// unreadSignal is not sent by this system: what is written to no one is an error.
const unreadSignal = syscall.SIGPIPE

func notifyUnread(chan<- os.Signal) {}

func unread(*os.File) bool { return false }
