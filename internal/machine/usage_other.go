//go:build !unix

package machine

import "time"

// PeakBytes is 0: this system does not tell.
func PeakBytes() int64 { return 0 }

// ProcessorTime is 0: this system does not tell.
func ProcessorTime() time.Duration { return 0 }
