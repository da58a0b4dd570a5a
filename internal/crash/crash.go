// Package crash keeps a panic, which is a fault of the program, from looking like a mistake
// of its user. Go ends a process with a panic with the exit code 2 and pages of calls;
// with Handle a command says what happened in a sentence and ends with a code of its own.
package crash

import (
	"runtime/debug"
	"sync/atomic"
)

// handler is what ends the process, if there is one.
var handler atomic.Pointer[func(why any, stack []byte)]

// Handle makes h, which does not return, the end of every panic that Recover sees. Without a
// handler, as in programs that use this module's packages, panics go their usual way.
func Handle(h func(why any, stack []byte)) { handler.Store(&h) }

// Recover is deferred at the door of a process and of each goroutine.
func Recover() {
	h := handler.Load()
	if h == nil {
		return
	}
	if why := recover(); why != nil {
		(*h)(why, debug.Stack())
	}
}

// Go runs f as a goroutine.
func Go(f func()) {
	go func() {
		defer Recover()
		f()
	}()
}
