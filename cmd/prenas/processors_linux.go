package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
)

// onlineProcessors is the number of processors of this host, even if this process may not run on all.
// Where the system does not say it is the number that the process may run on.
func onlineProcessors() int {
	text, err := os.ReadFile("/sys/devices/system/cpu/online") // as 0-3,8-11
	if err != nil {
		return runtime.NumCPU()
	}
	count := 0
	for part := range strings.SplitSeq(strings.TrimSpace(string(text)), ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err != nil || err2 != nil || to < from {
			return runtime.NumCPU()
		}
		count += to - from + 1
	}
	return count
}
