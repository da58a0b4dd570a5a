package ranks

import (
	"sync"
	"time"
)

// Together are ranks of one process, for tests: each is for a goroutine of its own.
func Together(n int, wait time.Duration) []*World {
	shared := &together{n: n, all: make([][]byte, n), messages: make([][]chan []byte, n)}
	shared.turn = sync.NewCond(&shared.mu)
	worlds := make([]*World, n)
	for r := range worlds {
		for range n {
			shared.messages[r] = append(shared.messages[r], make(chan []byte, 4))
		}
		worlds[r] = &World{t: member{shared, r}, wait: wait, hosts: make([]string, n)}
	}
	return worlds
}

type together struct {
	n        int
	messages [][]chan []byte // by receiver and sender

	mu    sync.Mutex
	turn  *sync.Cond
	all   [][]byte // what each brought to this call
	here  int
	left  int
	round int
}

type member struct {
	*together
	own int
}

func (m member) rank() int       { return m.own }
func (m member) size() int       { return m.n }
func (m member) library() string { return "one process" }

// round of a call: each brings bytes and looks at all when all are there.
func (m member) call(own []byte, look func(all [][]byte)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.left > 0 { // some still look at the call before
		m.turn.Wait()
	}
	round := m.round
	m.all[m.own] = own
	if m.here++; m.here == m.n {
		m.here, m.left, m.round = 0, m.n, round+1
		m.turn.Broadcast()
	}
	for m.round == round {
		m.turn.Wait()
	}
	look(m.all)
	if m.left--; m.left == 0 {
		m.turn.Broadcast()
	}
	for m.left > 0 && m.round == round+1 { // own may be changed when all have looked
		m.turn.Wait()
	}
	return nil
}

func (m member) broadcast(b []byte) error {
	return m.call(b, func(all [][]byte) { copy(b, all[0]) })
}

func (m member) gather(own, to []byte) error {
	return m.call(own, func(all [][]byte) {
		for r, b := range all {
			copy(to[r*len(own):], b)
		}
	})
}

func (m member) exchange(parts, own []byte) error {
	part := len(own) / m.n
	return m.call(parts, func(all [][]byte) {
		for r, b := range all {
			copy(own[r*part:], b[m.own*part:][:part])
		}
	})
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
