// Package enginetest gives tests an engine.
package enginetest

import (
	"cmp"
	"context"
	"os"
	"sync"
	"testing"

	"prenas/internal/engine"
)

var open = sync.OnceValues(func() (*engine.Engine, error) {
	return engine.Open(context.Background(), engine.Options{Backend: cmp.Or(os.Getenv(BackendEnv), "auto")})
})

// BackendEnv names the backend of the tests, as engine.Options has it; it lets
// them run on a GPU.
const BackendEnv = "PRENAS_TEST_BACKEND"

// Test returns the engine that all tests of a process share: what BackendEnv
// names, else XLA where a plug-in is or can be had, as the program itself finds
// it, else pure Go.
func Test(tb testing.TB) *engine.Engine {
	tb.Helper()
	e, err := open()
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// Devices returns an engine of n devices of the CPU for one test, which is skipped where
// there is only pure Go: that has one.
func Devices(tb testing.TB, n int) *engine.Engine {
	tb.Helper()
	if Test(tb).Name() == "go" {
		tb.Skip("the pure-Go backend has one device")
	}
	e, err := engine.Open(context.Background(), engine.Options{Backend: "xla", Devices: n})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(e.Close)
	return e
}
