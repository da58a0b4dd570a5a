package machine

import (
	"math"

	"golang.org/x/sys/unix"
)

// total is what the machine has, swap included.
func total() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return math.MaxInt64
	}
	return int64(uint64(info.Totalram+info.Totalswap) * uint64(info.Unit))
}
