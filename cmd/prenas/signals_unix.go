//go:build unix

package main

import (
	"os"
	"syscall"
)

// stopSignals ask a process to stop. SIGUSR1 is what schedulers send some time before the end of
// a job, and what mpirun passes on without ending the ranks itself.
var stopSignals = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1}
