// Package enginetest gives tests an engine.
package enginetest

import (
	"cmp"
	"context"
	"os"
	"strings"
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
// the tests run in pure Go, which has one device, or on a GPU: there need be no plug-in
// for the CPU there, and looking for one takes long.
func Devices(tb testing.TB, n int) *engine.Engine {
	tb.Helper()
	if backend := os.Getenv(BackendEnv); strings.HasPrefix(backend, "cuda") {
		tb.Skipf("%s is %s: the test divides a CPU", BackendEnv, backend)
	}
	plugin := Test(tb).Plugin()
	if plugin == "" {
		tb.Skip("the pure-Go backend has one device")
	}
	e, err := engine.Open(context.Background(), engine.Options{Backend: "xla:" + plugin, Devices: n})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(e.Close)
	return e
}

// PureGo returns an engine for one test that compiles nothing, which is most of the time of
// small programs.
func PureGo(tb testing.TB) *engine.Engine {
	tb.Helper()
	e, err := engine.Open(context.Background(), engine.Options{Backend: "go"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(e.Close)
	return e
}

// Quick returns the engine of a test whose programs are small and many: that of Test, or in short
// mode the one that compiles nothing.
func Quick(tb testing.TB) *engine.Engine {
	tb.Helper()
	if !testing.Short() {
		return Test(tb)
	}
	e, err := quick()
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

var quick = sync.OnceValues(func() (*engine.Engine, error) {
	return engine.Open(context.Background(), engine.Options{Backend: "go"})
})
