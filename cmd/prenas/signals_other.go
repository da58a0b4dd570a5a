//go:build !unix

package main

import (
	"os"
	"syscall"
)

// stopSignals ask a process to stop.
var stopSignals = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
