// Package machine tells how much memory there is to take: that of the machine, or less where a
// control group or a limit of the process says so. What would take more is refused with a
// sentence before it is begun, instead of ending in the middle by the kernel's hand.
package machine

import (
	"errors"
	"fmt"
	"sync"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// ErrMemory: more memory is needed than there is.
var ErrMemory = errors.New("not enough memory")

// Memory is how many bytes this process can have at most.
var Memory = sync.OnceValue(func() int64 {
	least := total()
	if group, err := memlimit.FromCgroup(); err == nil && group < uint64(least) {
		least = int64(group)
	}
	return min(least, limit())
})

// Need returns ErrMemory, with what it is for and what to do, where so many bytes are more than
// there are. The estimate is what is surely taken, so that nothing is refused that would fit.
func Need(bytes float64, what, instead string) error {
	if have := float64(Memory()); bytes > have {
		return fmt.Errorf("%w: %s takes %s at least, and this machine, control group or process has %s: %s", ErrMemory, what, Bytes(bytes), Bytes(have), instead)
	}
	return nil
}

// Bytes is a number of bytes as people say it.
func Bytes(n float64) string {
	units := []string{"bytes", "kB", "MB", "GB", "TB", "PB", "EB"}
	k := 0
	for ; n >= 1000 && k < len(units)-1; k++ {
		n /= 1000
	}
	if n >= 100 || k == 0 {
		return fmt.Sprintf("%.0f %s", n, units[k])
	}
	return fmt.Sprintf("%.1f %s", n, units[k])
}
