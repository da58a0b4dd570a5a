package fetch

import (
	"fmt"
	"sync"
)

// Watch is who is told of fetching; any may be nil.
type Watch struct {
	Log      func(string)            // of steps
	Progress func(done, total int64) // bytes of a download
}

func (w Watch) log(format string, args ...any) {
	if w.Log != nil {
		w.Log(fmt.Sprintf(format, args...))
	}
}

// Meter sums the progress of several downloads.
type Meter struct {
	mu          sync.Mutex
	done, total int64
	tell        func(done, total int64)
}

func NewMeter(w Watch) *Meter { return &Meter{tell: w.Progress} }

// metered is one of them.
type metered struct {
	m           *Meter
	done, total int64
}

func (m *Meter) add(done, total int64) {
	if m.tell == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done, m.total = m.done+done, m.total+total
	m.tell(m.done, m.total)
}

// expect says how much there is to come, if that is known (-1: not).
func (d *metered) expect(total int64) {
	before := d.total
	d.total = max(total, 0)
	d.m.add(0, d.total-before)
}

func (d *metered) add(n int64) {
	d.done += n
	d.m.add(n, 0)
}

// undo takes back a download that failed.
func (d *metered) undo() { d.m.add(-d.done, -d.total) }
