//go:build !unix

package machine

// PeakBytes is 0: this system does not tell.
func PeakBytes() int64 { return 0 }
