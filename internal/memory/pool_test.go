//go:build linux && cgo

package memory_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"prenas/internal/memory"
	"prenas/internal/memory/memorytest"
	"prenas/internal/rng"
)

const (
	unit  = memorytest.Unit
	huge  = 2 << 20
	large = 64 << 20 // bytes of the largest block of region 0
)

// childEnv says what a child of a test does in its place.
const childEnv = "PRENAS_TEST_MEMORY"

func TestMain(m *testing.M) {
	switch task := os.Getenv(childEnv); task {
	case "":
		os.Exit(m.Run())
	case "look":
		for region := range 2 {
			spans, err := memorytest.Spans(region)
			fmt.Println(len(spans), err)
		}
		p := memorytest.Malloc(large)
		memorytest.Free(p)
		fmt.Println(p != nil, memory.Pool{}.HugePages())
	case "free twice":
		p := memorytest.Malloc(unit)
		memorytest.Free(p)
		memorytest.Free(p)
	case "free within":
		memorytest.Free(unsafe.Add(memorytest.Malloc(3*unit), unit))
	case "free askew":
		memorytest.Free(unsafe.Add(memorytest.Malloc(unit), 16))
	case "free what never was":
		memorytest.Free(unsafe.Add(memorytest.Malloc(large+1), 512<<20))
	case "reallocate what is free":
		p := memorytest.Malloc(unit)
		memorytest.Free(p)
		memorytest.Realloc(p, 9*unit)
	}
}

// pool skips a test where there is none, and returns the used spans of both regions.
func pool(t *testing.T) (used [2][]memorytest.Span) {
	t.Helper()
	for region := range used {
		spans, err := memorytest.Spans(region)
		if err != nil {
			t.Fatal(err)
		}
		if len(spans) == 0 {
			t.Skip("no pool: another C library, or no range of addresses")
		}
		used[region] = slices.DeleteFunc(spans, func(s memorytest.Span) bool { return s.Free })
	}
	return used
}

// block that lives, as the twin of the pool knows it.
type block struct {
	p     unsafe.Pointer
	size  int
	stamp byte // what it holds
}

func (b block) at() uintptr { return uintptr(b.p) }

// probed are the bytes where contents are written and looked at: some of each half unit
// among the first bytes, and the last.
func (b block) probed(first int, visit func(*byte)) {
	bytes := unsafe.Slice((*byte)(b.p), b.size)
	for i := 0; i < first; i += unit / 2 {
		visit(&bytes[i])
	}
	if first == b.size && b.size > 0 {
		visit(&bytes[b.size-1])
	}
}

func (b block) write() { b.probed(b.size, func(x *byte) { *x = b.stamp }) }

// keeps tells whether the first bytes are what was written.
func (b block) keeps(first int) (kept bool) {
	kept = true
	b.probed(first, func(x *byte) { kept = kept && *x == b.stamp })
	return kept
}

// twin is the pool as a list of all that lives.
type twin struct {
	sync.Mutex
	live []block
}

func (w *twin) add(b block) error {
	w.Lock()
	defer w.Unlock()
	for _, other := range w.live {
		if b.at() < other.at()+uintptr(other.size) && other.at() < b.at()+uintptr(b.size) {
			return fmt.Errorf("%d bytes at %x lie over %d bytes at %x", b.size, b.at(), other.size, other.at())
		}
	}
	w.live = append(w.live, b)
	return nil
}

func (w *twin) remove(b block) {
	w.Lock()
	defer w.Unlock()
	w.live = slices.DeleteFunc(w.live, func(other block) bool { return other.p == b.p })
}

// within are the blocks that lie in a span.
func (w *twin) within(s memorytest.Span) (within []block) {
	for _, b := range w.live {
		if b.at() >= s.At && b.at() < s.At+s.Size {
			within = append(within, b)
		}
	}
	return within
}

// borders are sizes where something changes.
var borders = []int{
	0, 1, unit - 1, unit, unit + 1, 2*unit - 1, 2 * unit, 2*unit + 1, huge - 1, huge, huge + 1,
	large - 1, large, large + 1, large + huge, large + huge + 1,
}

func anySize(r *rand.Rand) int {
	if r.IntN(3) == 0 {
		return borders[r.IntN(len(borders))]
	}
	return (1 << (10 + r.IntN(13))) * (100 + r.IntN(100)) / 100
}

// play takes, changes and frees blocks, and leaves some of them in the twin.
func play(w *twin, worker uint64, steps int) error {
	const most = 10 // blocks at a time
	r := rng.New(1, "memory", worker)
	var mine []block
	take := func() block {
		k := r.IntN(len(mine))
		b := mine[k]
		mine = slices.Delete(mine, k, k+1)
		w.remove(b)
		return b
	}
	for step := range steps {
		if step%100 == 0 {
			memory.Pool{}.Trim()
		}
		if len(mine) == most || len(mine) > 0 && r.IntN(3) == 0 {
			b := take()
			if !b.keeps(b.size) {
				return fmt.Errorf("%d bytes at %x are not what was written", b.size, b.at())
			}
			memorytest.Free(b.p)
			continue
		}
		b := block{size: anySize(r), stamp: byte(r.IntN(256))}
		switch how := r.IntN(3); {
		case how == 0 && len(mine) > 0:
			had := take()
			b.size = max(b.size, 1) // none would free it
			b.p = memorytest.Realloc(had.p, b.size)
			if now := (block{b.p, b.size, had.stamp}); !now.keeps(min(had.size, b.size-1)) {
				return fmt.Errorf("%d bytes became %d and lost what they held", had.size, b.size)
			}
		case how == 1:
			alignment, errno := 8<<r.IntN(16), 0
			if b.p, errno = memorytest.PosixMemalign(alignment, b.size); errno != 0 || b.at()%uintptr(alignment) != 0 {
				return fmt.Errorf("%d bytes aligned to %d: errno %d, at %x", b.size, alignment, errno, b.at())
			}
		default:
			b.p = memorytest.Malloc(b.size)
		}
		if b.p == nil || memorytest.UsableSize(b.p) < b.size {
			return fmt.Errorf("%d bytes: not to be had, or not all usable", b.size)
		}
		if err := w.add(b); err != nil {
			return err
		}
		b.write()
		mine = append(mine, b)
	}
	return nil
}

// Threads take and free blocks of all sizes. What each has is its own, what is written is
// kept, and at the end the pool has what the twin has, no more and no less.
func TestPoolIsItsTwin(t *testing.T) {
	before := pool(t)
	var w twin
	workers := make(chan error)
	const threads = 4
	for i := range threads {
		go func() { workers <- play(&w, uint64(i), 500) }()
	}
	for range threads {
		if err := <-workers; err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		return
	}
	inPool := 0
	for region, used := range pool(t) {
		round := []int{unit, huge}[region]
		for _, s := range used {
			if slices.Contains(before[region], s) {
				continue
			}
			b := w.within(s)
			if len(b) != 1 || b[0].at() != s.At || int(s.Size)%round != 0 || b[0].size > int(s.Size) || (b[0].size > large) != (region == 1) {
				t.Errorf("region %d: a used span of %d bytes at %x, which holds %v", region, s.Size, s.At, b)
			}
			inPool++
		}
	}
	for _, b := range w.live {
		if b.size >= unit {
			inPool--
		}
		memorytest.Free(b.p)
	}
	if inPool > 0 {
		t.Errorf("%d used spans are of no block that lives", inPool)
	}
	if after := pool(t); !reflect.DeepEqual(after, before) {
		t.Errorf("used spans after all was freed: %v, before: %v", after, before)
	}
}

// A large block waits a moment for the place of one that is about to be freed, where it would else take new pages; not for ever.
func TestLargeBlockWaitsForOneOfItsSize(t *testing.T) {
	pool(t)
	const size = 3 << 30
	for range 20 { // another thread may be late
		memory.Pool{}.Trim() // what was used before has no pages now: both blocks need new ones
		a := memorytest.Malloc(size)
		go func() {
			time.Sleep(time.Millisecond)
			memorytest.Free(a)
		}()
		b := memorytest.Malloc(size)
		memorytest.Free(b)
		if a == b {
			c := memorytest.Malloc(size)
			d := memorytest.Malloc(size)
			if c == nil || d == nil || c == d {
				t.Errorf("two blocks that both live are at %p and %p", c, d)
			}
			memorytest.Free(c)
			memorytest.Free(d)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("the second block never got the place of the first")
}

func TestTrimGivesFreedPagesBack(t *testing.T) {
	pool(t)
	for region, size := range []int{48 << 20, 96 << 20} {
		full := bytes.Repeat([]byte{7}, size)
		kept, freed := memorytest.Malloc(huge), memorytest.Malloc(size)
		copy(unsafe.Slice((*byte)(freed), size), full)
		copy(unsafe.Slice((*byte)(kept), huge), full)
		span := memorytest.Span{At: uintptr(freed)}
		memorytest.Free(freed)
		if resident := span.Resident(size); resident != size {
			t.Errorf("region %d: %d of %d freed bytes are there for the next block", region, resident, size)
		}
		memory.Pool{}.Trim()
		// What shares a huge page with a block stays.
		if resident := span.Resident(size); resident > 2*huge {
			t.Errorf("region %d: %d of %d freed bytes are there after Trim", region, resident, size)
		}
		if !bytes.Equal(unsafe.Slice((*byte)(kept), huge), full[:huge]) {
			t.Errorf("region %d: a block beside it lost what it held", region)
		}
		memorytest.Free(kept)
	}
}

func TestWhatThePoolDoesNotTake(t *testing.T) {
	before := pool(t)
	if p, errno := memorytest.PosixMemalign(24, unit); errno != int(syscall.EINVAL) {
		t.Errorf("alignment 24: %v, errno %d", p, errno)
	}
	if p, errno := memorytest.PosixMemalign(unit, 1<<62); errno != int(syscall.ENOMEM) {
		t.Errorf("2^62 bytes: %v, errno %d", p, errno)
	}
	if p := memorytest.Realloc(nil, -1); p != nil {
		t.Errorf("2^64-1 bytes: %v", p)
	}
	one := memorytest.Malloc(unit)
	if p := memorytest.Realloc(one, 1<<62); p != nil {
		t.Errorf("2^62 bytes for a unit: %v", p)
	}
	if p := memorytest.Realloc(one, 0); p != nil {
		t.Errorf("no bytes for a unit: %v", p)
	}
	wide := memorytest.AlignedAlloc(2*unit, unit)
	zeros := memorytest.Calloc(unit, 2)
	if uintptr(wide)%(2*unit) != 0 || !bytes.Equal(unsafe.Slice((*byte)(zeros), 2*unit), make([]byte, 2*unit)) {
		t.Errorf("a wide alignment lies at %v, or calloc left something", wide)
	}
	if during := pool(t); !reflect.DeepEqual(during, before) {
		t.Errorf("used spans: %v, before: %v", during, before)
	}
	memorytest.Free(wide)
	memorytest.Free(zeros)
}

// A full region is no failure: glibc has the block.
func TestFullRegion(t *testing.T) {
	before := pool(t)
	spans, err := memorytest.Spans(0)
	if err != nil {
		t.Fatal(err)
	}
	first, last := spans[0], spans[len(spans)-1]
	var all []unsafe.Pointer
	for inside := true; inside; {
		p := memorytest.Malloc(large) // addresses, which nothing touches
		if p == nil {
			t.Fatalf("no block after %d", len(all))
		}
		all = append(all, p)
		inside = uintptr(p) >= first.At && uintptr(p) < last.At+last.Size
	}
	for _, p := range all {
		memorytest.Free(p)
	}
	if after := pool(t); !reflect.DeepEqual(after, before) {
		t.Errorf("used spans after all was freed: %v, before: %v", after, before)
	}
}

// The C library's own calls, and so those of any shared library, come to the pool.
func TestSharedLibrariesUseThePool(t *testing.T) {
	before := pool(t)
	copied := memorytest.Strdup(3 * unit)
	grown := memorytest.Reallocarray(memorytest.Malloc(unit), 7, unit)
	if used := pool(t)[0]; len(used) != len(before[0])+2 {
		t.Errorf("strdup and reallocarray took %d spans, want 2", len(used)-len(before[0]))
	}
	memorytest.Free(copied)
	memorytest.Free(grown)
}

func TestForkedChildAllocates(t *testing.T) {
	pool(t)
	stop := make(chan bool)
	var busy sync.WaitGroup
	for range 2 {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					memorytest.Free(memorytest.Malloc(unit))
				}
			}
		})
	}
	for range 50 {
		if status := memorytest.ForkAndAllocate(); status != 0 {
			t.Errorf("a child ended with status %#x", status)
			break
		}
	}
	close(stop)
	busy.Wait()
}

// child runs this test binary for a task of TestMain, by a shell's words before it.
func child(words, task string, env ...string) (string, error) {
	cmd := exec.Command("sh", "-c", words+` exec "$0"`, os.Args[0])
	cmd.Env = append(append(os.Environ(), childEnv+"="+task), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestInvalidFreeAborts(t *testing.T) {
	pool(t)
	for _, task := range []string{"free twice", "free within", "free askew", "free what never was", "reallocate what is free"} {
		out, err := child("ulimit -c 0;", task)
		if err == nil || !strings.Contains(out, "free(): invalid pointer") || !strings.Contains(out, "SIGABRT") {
			t.Errorf("%s: %v\n%.300s", task, err, out)
		}
	}
}

func TestWithoutPool(t *testing.T) {
	pool(t)
	const none = "0 <nil>\n0 <nil>\ntrue false\n"
	if out, err := child("", "look", "PRENAS_SYSTEM_MALLOC=1"); out != none || err != nil {
		t.Errorf("PRENAS_SYSTEM_MALLOC is set: %v\n%s", err, out)
	}
	if out, err := child("ulimit -v 8000000;", "look"); out != none || err != nil {
		t.Errorf("addresses are limited: %v\n%s", err, out)
	}
	if out, err := child("", "look"); out == none || err != nil {
		t.Errorf("with a pool: %v\n%s", err, out)
	}
}
