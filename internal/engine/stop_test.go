package engine

import (
	"context"
	"errors"
	"testing"
)

// What is stopped is not waited for, and its backend stays: here there is none to free,
// so that freeing it would panic.
func TestCompilationsThatAreStoppedAreLeft(t *testing.T) {
	stop, begun, forever := make(chan struct{}), make(chan struct{}), make(chan struct{})
	e := &Engine{stop: stop}
	go func() {
		<-begun
		close(stop)
	}()
	err := e.unlessStopped(func() error {
		close(begun)
		<-forever
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	e.Close()
	close(forever)
}

// A panic of GoMLX is an error there too.
func TestCompilationsBesideAStopFailAsEver(t *testing.T) {
	e := &Engine{stop: make(chan struct{})}
	for range 2 {
		if err := e.unlessStopped(func() error { panic("no such shape") }); err == nil || err.Error() != "no such shape" {
			t.Errorf("error %v", err)
		}
	}
	if n := e.compiling.Load(); n != 0 {
		t.Errorf("%d compilations are counted, none is at work", n)
	}
}

// After the stop no compilation begins.
func TestNoCompilationBeginsAfterTheStop(t *testing.T) {
	stop := make(chan struct{})
	close(stop)
	e := &Engine{stop: stop}
	for range 20 {
		if err := e.unlessStopped(func() error { panic("begun") }); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v, want context.Canceled", err)
		}
	}
}
