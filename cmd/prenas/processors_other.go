//go:build !linux

package main

import "runtime"

// onlineProcessors are those that this process may run on.
func onlineProcessors() int { return runtime.NumCPU() }
