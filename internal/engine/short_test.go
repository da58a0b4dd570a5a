package engine

import "testing"

// someOf are the first n cases in the short mode, and else all.
func someOf[T any](all []T, n int) []T {
	if testing.Short() {
		return all[:n]
	}
	return all
}
