package serve

import (
	"slices"
	"sync"
	"time"
)

// window is how many of the newest measurements an estimate is made of.
const window = 32

// batchSizes are the sizes of batches that a model which computes so many images at once has
// programs for: the powers of two below, and the most itself. What is between runs as the
// next of them.
func batchSizes(most int) []int {
	var sizes []int
	for size := 1; size < most; size *= 2 {
		sizes = append(sizes, size)
	}
	return append(sizes, most)
}

// latency keeps how long batches of a model take, by the size of the batch. The zero value is of
// single things.
type latency struct {
	sizes []int // those that are told apart, ascending; a batch counts as the next of them
	mu    sync.Mutex
	took  map[int][]time.Duration // newest last, by size
}

// add keeps a measurement.
func (l *latency) add(batch int, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.took == nil {
		l.took = map[int][]time.Duration{}
	}
	size := l.size(batch)
	l.took[size] = append(l.took[size], d)
	if extra := len(l.took[size]) - window; extra > 0 {
		l.took[size] = slices.Delete(l.took[size], 0, extra)
	}
}

// size that a batch counts as.
func (l *latency) size(batch int) int {
	for _, size := range l.sizes {
		if size >= batch {
			return size
		}
	}
	return batch
}

// expect is how long a batch will take at most, nine times of ten: the 90th percentile of the
// newest measurements of its size. Where its size was never measured, the nearest size that
// was stands for it, the smaller ones first, in proportion. 0: nothing was measured.
func (l *latency) expect(batch int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := l.size(batch)
	if d := percentile(l.took[size], 0.9); d > 0 {
		return d
	}
	for _, smaller := range slices.Backward(l.sizes) {
		if d := percentile(l.took[smaller], 0.9); d > 0 && smaller < size {
			return d * time.Duration(size) / time.Duration(smaller)
		}
	}
	for _, larger := range l.sizes {
		if d := percentile(l.took[larger], 0.9); d > 0 && larger > size {
			return d
		}
	}
	return 0
}

// percentile of durations by nearest rank; 0 of none.
func percentile(list []time.Duration, part float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[int(part*float64(len(sorted)-1)+0.5)]
}
