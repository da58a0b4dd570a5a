//go:build unix

package machine

import (
	"runtime"

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
