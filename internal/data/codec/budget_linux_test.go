package codec

import (
	"os/exec"
	"syscall"
	"testing"
)

// peakOf is the most memory that a process that ended had, in bytes.
func peakOf(t *testing.T, c *exec.Cmd) int64 {
	t.Helper()
	return c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss * 1024 // Linux counts in KiB
}
