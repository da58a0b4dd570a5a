//go:build !unix

package machine

import "math"

// limit: processes have none here.
func limit() int64 { return math.MaxInt64 }
