//go:build unix

package machine

import (
	"math"

	"golang.org/x/sys/unix"
)

// limit of the process's addresses.
func limit() int64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &limit) != nil || uint64(limit.Cur) > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(limit.Cur)
}
