package data

import (
	"context"
	"iter"
	"runtime"

	"prenas/internal/crash"
)

// waiting is how many results of so many workers of ordered may wait for their turn.
func waiting(workers int) int {
	if workers < 1 {
		workers = runtime.GOMAXPROCS(0)
	}
	return 2*workers + 1
}

// ordered yields what do makes of 0 to n-1, in order, computed ahead by several
// goroutines (workers; 0: one per core). It ends early when ctx does.
func ordered[T any](ctx context.Context, n, workers int, do func(i int) T) iter.Seq2[int, T] {
	if workers < 1 {
		workers = runtime.GOMAXPROCS(0)
	}
	return func(yield func(int, T) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		promises := make(chan chan T, 2*workers)
		slots := make(chan struct{}, workers)
		crash.Go(func() {
			defer close(promises)
			for i := range n {
				promise := make(chan T, 1)
				select {
				case slots <- struct{}{}:
				case <-ctx.Done():
					return
				}
				select {
				case promises <- promise:
				case <-ctx.Done():
					return
				}
				crash.Go(func() {
					promise <- do(i)
					<-slots
				})
			}
		})
		i := 0
		for promise := range promises {
			if ctx.Err() != nil || !yield(i, <-promise) {
				return
			}
			i++
		}
	}
}
