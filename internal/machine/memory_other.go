//go:build !linux

package machine

import (
	"math"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// total is what the machine has.
func total() int64 {
	bytes, err := memlimit.FromSystem()
	if err != nil || bytes == 0 || bytes > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(bytes)
}
