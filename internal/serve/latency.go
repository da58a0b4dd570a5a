package serve

import (
	"slices"
	"sync"
	"time"
)

// window is how many of the newest measurements an estimate is made of.
const window = 32

// latency keeps how long batches of a model take, by the size of the batch.
type latency struct {
	mu   sync.Mutex
	took map[int][]time.Duration // newest last, by the next power of two
}

// add keeps a measurement.
func (l *latency) add(batch int, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.took == nil {
		l.took = map[int][]time.Duration{}
	}
	size := powerOfTwo(batch)
	l.took[size] = append(l.took[size], d)
	if extra := len(l.took[size]) - window; extra > 0 {
		l.took[size] = slices.Delete(l.took[size], 0, extra)
	}
}

// expect is how long a batch will take at most, nine times of ten: the 90th percentile of the
// newest measurements of its size. Where its size was never measured, the nearest size that
// was stands for it, in proportion for a larger batch. 0: nothing was measured.
func (l *latency) expect(batch int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := powerOfTwo(batch)
	for smaller := size; smaller >= 1; smaller /= 2 {
		if d := percentile(l.took[smaller], 0.9); d > 0 {
			return d * time.Duration(size/smaller)
		}
	}
	for larger := 2 * size; larger <= 1<<16; larger *= 2 {
		if d := percentile(l.took[larger], 0.9); d > 0 {
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

// powerOfTwo is the smallest one that is at least n.
func powerOfTwo(n int) int {
	size := 1
	for size < n {
		size *= 2
	}
	return size
}
