package ranks

import (
	"sync"
	"time"
)

// Together are ranks of one process, for tests, so many on each host: each is for a goroutine of its own.
func Together(wait time.Duration, ofHost ...int) []*World {
	all := newTogether(0)
	var hosts []Run
	for _, n := range ofHost {
		hosts = append(hosts, Run{all.n, all.n + n})
		all.n += n
	}
	all = newTogether(all.n)
	var worlds []*World
	for _, h := range hosts {
		host := newTogether(h.To - h.From)
		for r := h.From; r < h.To; r++ {
			m := member{all, r, host, r - h.From}
			worlds = append(worlds, &World{t: m, wait: wait, places: make([]place, all.n), hosts: hosts})
		}
	}
	for _, w := range worlds {
		for r := range w.places {
			w.places[r].Number = r
		}
	}
	return worlds
}

type together struct {
	n        int
	messages [][]chan []byte // by receiver and sender

	mu    sync.Mutex
	turn  *sync.Cond
	all   []any // what each brought to this call
	here  int
	left  int
	round int
}

func newTogether(n int) *together {
	t := &together{n: n, all: make([]any, n), messages: make([][]chan []byte, n)}
	t.turn = sync.NewCond(&t.mu)
	for r := range n {
		for range n {
			t.messages[r] = append(t.messages[r], make(chan []byte, 4))
		}
	}
	return t
}

// call is a round: rank own brings something and looks at what all brought when all are there.
func (t *together) call(rank int, own any, look func(all []any)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.left > 0 { // some still look at the call before
		t.turn.Wait()
	}
	round := t.round
	t.all[rank] = own
	if t.here++; t.here == t.n {
		t.here, t.left, t.round = 0, t.n, round+1
		t.turn.Broadcast()
	}
	for t.round == round {
		t.turn.Wait()
	}
	look(t.all)
	if t.left--; t.left == 0 {
		t.turn.Broadcast()
	}
	for t.left > 0 && t.round == round+1 { // own may be changed when all have looked
		t.turn.Wait()
	}
}

type member struct {
	*together
	own    int
	host   *together
	ofHost int // number among the ranks of the host
}

func (m member) rank() int              { return m.own }
func (m member) size() int              { return m.n }
func (m member) library() string        { return "one process" }
func (m member) arrange(int, int) error { return nil }

func (m member) broadcast(b []byte) error {
	m.call(m.own, b, func(all []any) { copy(b, all[0].([]byte)) })
	return nil
}

func (m member) gather(own, to []byte) error {
	m.call(m.own, own, func(all []any) {
		for r, b := range all {
			copy(to[r*len(own):], b.([]byte))
		}
	})
	return nil
}

func (m member) exchange(g Group, from []float32, sent []Run, to []float32, got []Run) error {
	group, own := m.together, m.own
	if g == OfHost {
		group, own = m.host, m.ofHost
	}
	group.call(own, func(to int) []float32 { return from[sent[to].From:sent[to].To] }, func(all []any) {
		for r, sends := range all {
			if n := copy(to[got[r].From:got[r].To], sends.(func(int) []float32)(own)); n != got[r].To-got[r].From {
				panic("a rank sends less than the other takes")
			}
		}
	})
	return nil
}

func (m member) send(to int, b []byte) error {
	m.messages[to][m.own] <- append([]byte(nil), b...)
	return nil
}

func (m member) receive(from int, b []byte) (bool, error) {
	select {
	case got := <-m.messages[m.own][from]:
		copy(b, got)
		return true, nil
	default:
		return false, nil
	}
}

func (m member) abort(int) {}
func (m member) close()    {}
