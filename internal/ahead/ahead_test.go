package ahead_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"prenas/internal/ahead"
)

// Whoever is quicker, results come in the order of the items.
func TestResultsComeInOrder(t *testing.T) {
	for _, workers := range []int{1, 2, 7, 0} {
		synctest.Test(t, func(t *testing.T) {
			var got []int
			for i, square := range ahead.Range(t.Context(), 50, workers, func(i int) int {
				time.Sleep(time.Duration(50-i) * time.Second)
				return i * i
			}) {
				if square != i*i {
					t.Fatalf("%d workers: %d is said to be the square of %d", workers, square, i)
				}
				got = append(got, i)
			}
			if len(got) != 50 || !slices.IsSorted(got) {
				t.Errorf("%d workers: %v", workers, got)
			}
		})
	}
}

// Workers work side by side, and no further ahead than they may.
func TestNoMoreThanTheQueueIsComputedAhead(t *testing.T) {
	const workers = 3
	synctest.Test(t, func(t *testing.T) {
		var begun, running, most atomic.Int64
		taken := int64(0)
		for range ahead.Range(t.Context(), 40, workers, func(i int) int {
			begun.Add(1)
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(time.Second)
			running.Add(-1)
			return i
		}) {
			taken++
			time.Sleep(time.Minute) // all that may run ahead does
			synctest.Wait()
			if in := begun.Load() - taken + 1; in > int64(ahead.Waiting(workers)) {
				t.Fatalf("%d results are in memory, %d may be", in, ahead.Waiting(workers))
			}
		}
		if taken != 40 || most.Load() != workers {
			t.Errorf("%d results by %d workers at once, want 40 by %d", taken, most.Load(), workers)
		}
	})
}

// A sequence that is stopped waits neither for an item nor for a result, and leaves no goroutine
// behind: synctest would tell of one.
func TestStops(t *testing.T) {
	for _, stuck := range []string{"item", "result", "break"} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			never := make(chan struct{})
			items := func(yield func(int) bool) {
				for i := 0; yield(i); i++ {
					if i == 2 && stuck == "item" {
						<-never
					}
				}
			}
			seen := 0
			for i := range ahead.Map(ctx, items, 2, 4, func(i int) int {
				if i == 2 && stuck == "result" {
					<-never
				}
				return i
			}) {
				if seen++; i == 1 && stuck != "break" {
					cancel()
				} else if i == 1 {
					break
				}
			}
			if seen != 2 {
				t.Errorf("%s: %d results, want 2", stuck, seen)
			}
			close(never)
			cancel()
		})
	}
}

// One result is computed while another is used, and no more; an error comes in its place, before
// what stands behind it is asked for.
func TestNextIsComputedAhead(t *testing.T) {
	broken := errors.New("broken")
	items := func(yield func(int, error) bool) {
		for i := range 10 {
			if i == 7 {
				yield(0, broken)
				return
			}
			if !yield(i, nil) {
				return
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var begun atomic.Int64
		taken, failed := 0, false
		for square, err := range ahead.Next(t.Context(), items, func(i int) (int, error) {
			begun.Add(1)
			return i * i, nil
		}) {
			if err != nil {
				failed = errors.Is(err, broken)
				continue
			}
			if square != taken*taken {
				t.Errorf("result %d is %d", taken, square)
			}
			taken++
			time.Sleep(time.Minute)
			synctest.Wait()
			if got, want := begun.Load(), int64(min(taken+1, 7)); got != want {
				t.Errorf("%d results are computed while number %d is used, want %d", got, taken, want)
			}
		}
		if taken != 7 || !failed {
			t.Errorf("%d results, the error came: %v", taken, failed)
		}
	})
}

// An error of what is done comes in the place of its result.
func TestNextYieldsErrors(t *testing.T) {
	broken := errors.New("broken")
	items := func(yield func(int, error) bool) { _ = yield(0, nil) && yield(1, nil) }
	var got []error
	for _, err := range ahead.Next(t.Context(), items, func(i int) (int, error) {
		if i == 0 {
			return 0, broken
		}
		return i, nil
	}) {
		got = append(got, err)
	}
	if len(got) != 2 || got[0] != broken || got[1] != nil {
		t.Error(got)
	}
}
