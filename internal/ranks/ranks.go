package ranks

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"prenas/internal/crash"
	"prenas/internal/foreign"
)

// Errors.
var (
	// ErrLauncher: the launcher and the MPI library do not fit each other, or there is no library.
	ErrLauncher = errors.New("several processes were started, but they cannot work together")
	// ErrLate: a rank did not come to where the others wait for it.
	ErrLate = errors.New("the ranks did not meet")
)

// WaitEnv is how long ranks wait for one that is late, as Go writes durations: 90s, 20m.
const WaitEnv = "PRENAS_RANKS_WAIT"

// defaultWait is longer than a slow disk takes for a checkpoint, or one rank longer than the
// others to compile. The start is before all that.
const (
	defaultWait  = 10 * time.Minute
	defaultStart = 2 * time.Minute
)

// transport moves bytes between ranks. Broadcast is from rank 0. Gather gives all ranks what
// each has, in the order of ranks; exchange sends from[sent[i]] to rank i of a group, and puts what it
// sends into to[got[i]]. They are called by all ranks of the group in the same order, with lengths that
// fit, one at a time.
type transport interface {
	rank() int
	size() int
	library() string
	arrange(place, host int) error // before all others: the rank of this process, and which ranks are its host's
	broadcast(b []byte) error
	gather(own, all []byte) error
	exchange(g Group, from []float32, sent []Run, to []float32, got []Run) error
	send(to int, b []byte) error                          // a short message
	receive(from int, b []byte) (arrived bool, err error) // does not wait
	abort(code int)
	close()
}

// World is the processes that a launcher started, this one among them. A nil one is this
// process alone. Its methods are called by one goroutine at a time, and by all ranks in the
// same order.
type World struct {
	t      transport
	places []place // by rank
	hosts  []Run   // of ranks
	wait   time.Duration
	met    uint64 // meetings so far
	once   sync.Once
}

// Open joins the other processes of the launcher. Alone it returns nil and no error. Its errors wrap ErrLauncher,
// ErrLate or ErrDiffer; with the last it returns the ranks, for Abort.
func Open() (*World, error) {
	start, wait := defaultStart, defaultWait
	if text := os.Getenv(WaitEnv); text != "" {
		var err error
		if wait, err = time.ParseDuration(text); err != nil || wait <= 0 {
			return nil, fmt.Errorf("%s is %q, it must be a time such as 90s or 20m", WaitEnv, text)
		}
		start = wait
	}
	return open(start, wait)
}

// OpenWithin is Open, where nothing may take longer than wait.
func OpenWithin(wait time.Duration) (*World, error) { return open(wait, wait) }

// open waits so long for the others to start, and then for one that is late.
func open(start, wait time.Duration) (*World, error) {
	l := launched()
	if l.size <= 1 {
		return nil, nil
	}
	if file := os.Getenv(LibraryEnv); file != "" {
		if err := foreign.Library(file); err != nil {
			return nil, fmt.Errorf("%s: %w", LibraryEnv, err)
		}
		l.libraries = []string{file}
	}
	t, err := within(start, func() (transport, error) { return openMPI(l.libraries) })
	switch {
	case errors.Is(err, ErrLate):
		return nil, fmt.Errorf("%w: MPI did not bring the %d processes together within %s (%s), as when one of them could not begin or a network does not let them through",
			err, l.size, start, WaitEnv)
	case err != nil:
		return nil, fmt.Errorf("%w: MPI: %w; %s names the library's file by its absolute path", ErrLauncher, err, LibraryEnv)
	}
	if t.size() != l.size {
		return nil, fmt.Errorf("%w: %s started %d, of which the library %s sees %d, so it is of another MPI than the launcher; "+
			"take the launcher of this library, or name the launcher's library in %s; srun must be given the library's kind, as --mpi=pmix",
			ErrLauncher, l.launcher, l.size, t.library(), t.size(), LibraryEnv)
	}
	host, err := thisHost(l.size)
	if err != nil {
		return nil, err
	}
	return join(t, wait, host)
}

// within is what open returns, or ErrLate where that takes longer than wait. MPICH's launcher does not end the
// others when a process ends before it joined them, so they would wait in MPI for ever.
func within(wait time.Duration, open func() (transport, error)) (transport, error) {
	type opened struct {
		transport
		error
	}
	done := make(chan opened, 1)
	crash.Go(func() {
		t, err := open()
		done <- opened{t, err}
	})
	select {
	case o := <-done:
		return o.transport, o.error
	case <-time.After(wait):
		return nil, ErrLate
	}
}

// Rank is this process's number, from 0.
func (w *World) Rank() int {
	if w == nil {
		return 0
	}
	return w.t.rank()
}

// Size is how many processes there are.
func (w *World) Size() int {
	if w == nil {
		return 1
	}
	return w.t.size()
}

// First tells whether this is the rank that decides, writes and speaks.
func (w *World) First() bool { return w.Rank() == 0 }

// Library names the MPI.
func (w *World) Library() string {
	if w == nil {
		return ""
	}
	return w.t.library()
}

// Any tells whether so is true on any rank. Where the ranks are is for a person: "update 7".
func (w *World) Any(where string, so bool) (bool, error) {
	if w == nil {
		return so, nil
	}
	return w.meet(where, so)
}

// Broadcast is rank 0's bytes.
func (w *World) Broadcast(where string, b []byte) ([]byte, error) {
	if w == nil {
		return b, nil
	}
	if _, err := w.meet(where, false); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(b)))
	if err := w.do(where, func() error { return w.t.broadcast(length) }); err != nil {
		return nil, err
	}
	if !w.First() {
		b = make([]byte, binary.LittleEndian.Uint64(length))
	}
	for piece := range slices.Chunk(b, mostBytes) {
		if err := w.do(where, func() error { return w.t.broadcast(piece) }); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Decided is what the first rank decides, whose error is its alone; the others do not.
func (w *World) Decided(where string, decide func() (string, error)) (string, error) {
	var own string
	if w.First() {
		var err error
		if own, err = decide(); err != nil {
			return "", err
		}
	}
	first, err := w.Broadcast(where, []byte(own))
	return string(first), err
}

// Lasting is a context for what must not end on one of several ranks alone: whether to stop is asked of all (Any).
func (w *World) Lasting(ctx context.Context) context.Context {
	if w.Size() > 1 {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// Joint is a context that ends on all ranks at the same meeting: met, which each rank calls as often as the others, is one.
// Its cause is why: context.Canceled where any rank was asked to stop. Alone it is that of ctx, and a meeting is nothing.
func (w *World) Joint(ctx context.Context, where string) (joint context.Context, met, done func()) {
	joint, end := context.WithCancelCause(w.Lasting(ctx))
	met = func() {
		if w.Size() == 1 {
			return
		}
		switch stop, err := w.Any(where, ctx.Err() != nil); {
		case err != nil:
			end(err)
		case stop:
			end(context.Canceled)
		}
	}
	return joint, met, func() { end(nil) }
}

// mostBytes of one call: MPI counts in ints.
const mostBytes = 1 << 30

// Gather is all ranks' bytes, which may be of different lengths, on all ranks.
func (w *World) Gather(where string, own []byte) ([][]byte, error) {
	if w == nil {
		return [][]byte{own}, nil
	}
	if _, err := w.meet(where, false); err != nil {
		return nil, err
	}
	lengths := make([]byte, 8*w.Size())
	if err := w.do(where, func() error {
		return w.t.gather(binary.LittleEndian.AppendUint64(nil, uint64(len(own))), lengths)
	}); err != nil {
		return nil, err
	}
	length := func(rank int) int { return int(binary.LittleEndian.Uint64(lengths[8*rank:])) }
	most := 0
	for r := range w.Size() {
		most = max(most, length(r))
	}
	each := make([][]byte, w.Size())
	for from := 0; from < most; from += mostBytes {
		count := min(mostBytes, most-from)
		piece, all := make([]byte, count), make([]byte, count*w.Size())
		copy(piece, own[min(from, len(own)):])
		if err := w.do(where, func() error { return w.t.gather(piece, all) }); err != nil {
			return nil, err
		}
		for r := range each {
			each[r] = append(each[r], all[r*count:][:max(0, min(count, length(r)-from))]...)
		}
	}
	return each, nil
}

// GatherValues puts all ranks' values, of the same number, into all, in the order of ranks.
func (w *World) GatherValues(where string, own, all []float32) error {
	if 4*len(own) >= 1<<31 {
		return fmt.Errorf("%d numbers are more than MPI moves at once", len(own))
	}
	if _, err := w.meet(where, false); err != nil {
		return err
	}
	return w.do(where, func() error { return w.t.gather(bytesOf(own), bytesOf(all)) })
}

// Group is ranks that exchange values.
type Group int

// Groups.
const (
	All    Group = iota
	OfHost       // those of this rank's host, numbered from 0
)

// Run is what is from From on, up to To.
type Run struct{ From, To int }

// Exchange sends from[sent[i]] to rank i of the group, and puts what that sends to this one into to[got[i]]. What is
// sent and what is got are apart in memory. The ranks do not meet before: they have, at the same place, when they call it.
func (w *World) Exchange(where string, g Group, from []float32, sent []Run, to []float32, got []Run) error {
	if n := max(len(from), len(to)); n >= 1<<31 {
		return fmt.Errorf("%d numbers are more than MPI moves at once", n)
	}
	return w.do(where, func() error { return w.t.exchange(g, from, sent, to, got) })
}

func bytesOf(values []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*len(values))
}

// do calls the transport, and ends all ranks if it does not come back: what began by all ranks
// being there can only hang on a rank or a network that is gone.
func (w *World) do(where string, f func() error) error {
	watch := time.AfterFunc(w.wait, func() {
		why := "a rank was stopped, or the network between hosts fails"
		if stopped := w.stopped(); len(stopped) > 0 {
			why = strings.Join(stopped, ", ") + " was stopped, or waits for a disk"
		}
		w.Abort(exitLate, fmt.Sprintf("%s: an exchange at %s did not end within %v: %s; %s is how long ranks wait", w.Name(w.Rank()), where, w.wait, why, WaitEnv))
	})
	defer watch.Stop()
	if err := f(); err != nil {
		return fmt.Errorf("%s, at %s: %w", w.Name(w.Rank()), where, err)
	}
	return nil
}

// message is what ranks tell rank 0 where they meet, and it answers.
type message struct {
	Meeting uint64
	So      bool
	Where   [55]byte
}

func (m message) bytes() []byte {
	b, err := binary.Append(nil, binary.LittleEndian, m)
	if err != nil {
		panic(err) // a fixed form
	}
	return b
}

func (m message) where() string { return string(bytes.TrimRight(m.Where[:], "\x00")) }

// meet waits for all ranks, and tells whether so is true on any.
func (w *World) meet(where string, so bool) (any bool, err error) {
	w.met++
	own := message{Meeting: w.met, So: so}
	copy(own.Where[:], where)
	if !w.First() {
		if err := w.t.send(0, own.bytes()); err != nil {
			return false, err
		}
		// A little longer than rank 0 waits: it knows who is late.
		answer, err := w.hear(0, own, w.wait+w.wait/10+time.Second)
		return answer.So, err
	}
	deadline := time.Now().Add(w.wait)
	for r := 1; r < w.Size(); r++ {
		m, err := w.hear(r, own, time.Until(deadline))
		if err != nil {
			return false, err
		}
		own.So = own.So || m.So
	}
	for r := 1; r < w.Size(); r++ {
		if err := w.t.send(r, own.bytes()); err != nil {
			return false, err
		}
	}
	return own.So, nil
}

// hear is a rank's message of a meeting.
func (w *World) hear(from int, own message, wait time.Duration) (m message, err error) {
	b := own.bytes()
	for pause, began := time.Duration(0), time.Now(); ; {
		arrived, err := w.t.receive(from, b)
		if err != nil {
			return m, err
		}
		if arrived {
			break
		}
		if time.Since(began) > wait {
			return m, fmt.Errorf("%w: %s did not come to %s within %v: it was stopped, is slower by that much, or its host or network is gone; %s is how long the others wait",
				ErrLate, w.Name(from), own.where(), w.wait, WaitEnv)
		}
		// The cores are for what the late rank may be doing on them.
		time.Sleep(pause)
		pause = min(pause+5*time.Microsecond, 500*time.Microsecond)
	}
	if _, err := binary.Decode(b, binary.LittleEndian, &m); err != nil {
		return m, err
	}
	if m.Meeting != own.Meeting || m.Where != own.Where {
		return m, fmt.Errorf("%w: %s is at %s, and %s at %s", ErrLate, w.Name(from), m.where(), w.Name(w.Rank()), own.where())
	}
	return m, nil
}

// Warn says on standard error what a rank found.
func (w *World) Warn(what string) {
	fmt.Fprintf(os.Stderr, "warning: %s %s\n", w.Name(w.Rank()), what)
}

// exitLate is the exit code where a rank does not come back.
const exitLate = 1

// forwarded is how long a launcher takes to pass on what was written, which it may lose when it
// ends the ranks.
const forwarded = 500 * time.Millisecond

// Abort says why on standard error and ends all ranks with an exit code. It returns only where there are no others.
func (w *World) Abort(code int, why string) {
	if w == nil {
		return
	}
	w.once.Do(func() {
		fmt.Fprintln(os.Stderr, "prenas:", why)
		time.Sleep(forwarded)
		w.t.abort(code)
	})
}

// Close ends the work of the ranks, when all have come to it.
func (w *World) Close() error {
	if w == nil {
		return nil
	}
	if _, err := w.meet("the end", false); err != nil {
		return err
	}
	return w.do("the end", func() error { w.t.close(); return nil })
}
