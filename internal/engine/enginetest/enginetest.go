// Package enginetest gives tests an engine.
package enginetest

import (
	"context"
	"sync"
	"testing"

	"prenas/internal/engine"
)

var open = sync.OnceValues(func() (*engine.Engine, error) {
	return engine.Open(context.Background(), engine.Options{Backend: "auto"})
})

// Test returns the engine that all tests of a process share: XLA where a
// plug-in is or can be had, as the program itself finds it, else pure Go.
func Test(tb testing.TB) *engine.Engine {
	tb.Helper()
	e, err := open()
	if err != nil {
		tb.Fatal(err)
	}
	return e
}
