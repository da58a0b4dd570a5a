//go:build unix

package main

import (
	"os"
	"syscall"
)

// stopSignals ask a process to stop. Schedulers send SIGUSR1 some time before they end a job, and
// mpirun passes it on without ending the ranks itself.
var stopSignals = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1}
