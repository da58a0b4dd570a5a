//go:build unix

package machine

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// PeakBytes is the most memory that the process has had; 0 where the system does not tell.
func PeakBytes() int64 {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return int64(usage.Maxrss)
	}
	return int64(usage.Maxrss) * 1024 // all others count in KiB
}

// ProcessorTime is what all threads of the process have taken of processors; 0 where the system
// does not tell.
func ProcessorTime() time.Duration {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
