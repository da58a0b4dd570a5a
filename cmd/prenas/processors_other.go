//go:build !linux

package main

import "runtime"

// onlineProcessors is the number of processors that this process may run on.
func onlineProcessors() int { return runtime.NumCPU() }
