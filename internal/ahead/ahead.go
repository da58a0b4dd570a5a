package ahead

import (
	"context"
	"iter"
	"runtime"

	"prenas/internal/crash"
)

// perWorker is how many results of a worker of Range may wait for their turn.
const perWorker = 2

// Workers is how many goroutines a number of workers stands for: 0 is one per core.
func Workers(n int) int {
	if n < 1 {
		return runtime.GOMAXPROCS(0)
	}
	return n
}

// Waiting is how many results of Range are in memory at once at most: those that wait for
// their turn, and the one whose turn it is.
func Waiting(workers int) int { return perWorker*Workers(workers) + 1 }

// Range yields what do makes of 0 to n-1, in order, as [Map] does.
func Range[Out any](ctx context.Context, n, workers int, do func(i int) Out) iter.Seq2[int, Out] {
	numbers := func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
	return Map(ctx, numbers, workers, Waiting(workers)-1, do)
}

// Next yields what do makes of items, in order, one of them computed ahead of its use. An error of
// the items is yielded in its place. It ends as [Map] does.
func Next[In, Out any](ctx context.Context, items iter.Seq2[In, error], do func(In) (Out, error)) iter.Seq2[Out, error] {
	type item struct {
		in  In
		err error
	}
	type result struct {
		out Out
		err error
	}
	each := func(yield func(item) bool) {
		for in, err := range items {
			if !yield(item{in, err}) {
				return
			}
		}
	}
	return func(yield func(Out, error) bool) {
		const workers, queue = 1, 1
		for _, r := range Map(ctx, each, workers, queue, func(i item) (r result) {
			if r.err = i.err; r.err == nil {
				r.out, r.err = do(i.in)
			}
			return r
		}) {
			if !yield(r.out, r.err) {
				return
			}
		}
	}
}

// Map yields items and what do makes of them, in order, computed ahead by several goroutines
// (workers; 0: one per core). At most queue results wait for their turn. It ends early when
// ctx does, and waits neither for an item nor for a result then: who may go on must ask ctx.
func Map[In, Out any](ctx context.Context, items iter.Seq[In], workers, queue int, do func(In) Out) iter.Seq2[In, Out] {
	type task struct {
		in   In
		out  Out
		done chan struct{}
	}
	return func(yield func(In, Out) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		todo, turns := make(chan *task), make(chan *task, queue)
		for range Workers(workers) {
			crash.Go(func() {
				for t := range todo {
					t.out = do(t.in)
					close(t.done)
				}
			})
		}
		crash.Go(func() {
			defer close(turns)
			defer close(todo)
			for in := range items {
				t := &task{in: in, done: make(chan struct{})}
				for _, to := range []chan *task{turns, todo} {
					select {
					case to <- t:
					case <-ctx.Done():
						return
					}
				}
			}
		})
		for {
			select {
			case t, more := <-turns:
				if !more {
					return
				}
				select {
				case <-t.done:
				case <-ctx.Done():
				}
				if ctx.Err() != nil || !yield(t.in, t.out) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}
