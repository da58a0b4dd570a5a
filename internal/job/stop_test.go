package job

import (
	"context"
	"errors"
	"testing"
)

// A stop ends the wait for what takes long, and what ends by itself has its result.
func TestUntilStopped(t *testing.T) {
	if got, err := untilStopped(t.Context(), func() (int, error) { return 7, nil }); got != 7 || err != nil {
		t.Errorf("%d, %v, want 7", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	began, forever := make(chan struct{}), make(chan struct{})
	defer close(forever)
	go func() { <-began; cancel() }()
	if _, err := untilStopped(ctx, func() (int, error) { close(began); <-forever; return 7, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}
