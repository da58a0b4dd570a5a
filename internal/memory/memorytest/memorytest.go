//go:build linux && cgo

// Package memorytest lets tests call malloc, and look into the pool under it.
package memorytest

/*
#cgo CFLAGS: -I${SRCDIR}/..
#define _GNU_SOURCE
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "pool.h"

static int resident(uintptr_t at, size_t pages, unsigned char *each) { return mincore((void *)at, pages << 12, each); }

static int fork_and_allocate(void) {
	int status = -1;
	pid_t child = fork();
	if (child == 0) {
		alarm(20);
		void *p = malloc(1 << 20);
		free(p);
		_exit(p ? 0 : 1);
	}
	if (child > 0) waitpid(child, &status, 0);
	return status;
}
*/
import "C"

import (
	"fmt"
	"math/bits"
	"unsafe"

	_ "prenas/internal/memory"
)

// Unit is the alignment of every block of the pool, and the size from which on blocks are there.
const Unit = 1 << 16

// The functions of C's library.

func Malloc(size int) unsafe.Pointer { return C.malloc(C.size_t(size)) }

func Calloc(count, size int) unsafe.Pointer { return C.calloc(C.size_t(count), C.size_t(size)) }

func Realloc(p unsafe.Pointer, size int) unsafe.Pointer { return C.realloc(p, C.size_t(size)) }

func Reallocarray(p unsafe.Pointer, count, size int) unsafe.Pointer {
	return C.reallocarray(p, C.size_t(count), C.size_t(size))
}

// PosixMemalign returns what is wrong as a number of errno.
func PosixMemalign(alignment, size int) (p unsafe.Pointer, errno int) {
	errno = int(C.posix_memalign(&p, C.size_t(alignment), C.size_t(size)))
	return p, errno
}

func AlignedAlloc(alignment, size int) unsafe.Pointer {
	return C.aligned_alloc(C.size_t(alignment), C.size_t(size))
}

func UsableSize(p unsafe.Pointer) int { return int(C.malloc_usable_size(p)) }

func Free(p unsafe.Pointer) { C.free(p) }

// Strdup is of a string of so many bytes. C's library calls malloc in it, as a plug-in would.
func Strdup(bytes int) unsafe.Pointer {
	s := make([]C.char, bytes+1)
	for i := range bytes {
		s[i] = 'x'
	}
	return unsafe.Pointer(C.strdup(unsafe.SliceData(s)))
}

// ForkAndAllocate forks a child that takes and frees a block, and returns its status: 0 is well.
func ForkAndAllocate() int { return int(C.fork_and_allocate()) }

// Span is a row of units of the pool.
type Span struct {
	At, Size uintptr // bytes
	Free     bool
}

// Spans are those of a region, 0 or 1, in order of addresses; none where there is no pool. It reports
// what is not as pool.c says. Nothing may allocate meanwhile.
func Spans(region int) (spans []Span, err error) {
	r := C.prenas_regions[region]
	if r.end == 0 {
		return nil, nil
	}
	units := unsafe.Slice(r.unit, uint64(r.end)+1)
	listed := map[uint32]bool{}
	for list, first := range r.first {
		if (r.listed>>list&1 == 1) != (first != 0) {
			return nil, fmt.Errorf("list %d: bit of the lists that are not empty is wrong", list)
		}
		before := C.uint32_t(0)
		for at := first; at != 0; at = units[at].next {
			n := uint(units[at].span)
			log := bits.Len(n) - 1
			if listed[uint32(at)] || units[at].prev != before || list/2 != log || list%2 == 1 != (n >= 3<<log>>1 && log > 0) {
				return nil, fmt.Errorf("list %d is wrong at unit %d, a span of %d units", list, at, n)
			}
			listed[uint32(at)], before = true, at
		}
	}
	free := false
	for at := uint32(1); at < uint32(r.end); {
		n := uint32(units[at].span)
		if n == 0 || at+n > uint32(r.end) {
			return nil, fmt.Errorf("unit %d: a span of %d units", at, n)
		}
		for i := at; i < at+n; i++ {
			if i > at && units[i].span != 0 {
				return nil, fmt.Errorf("unit %d: a span begins within that of unit %d", i, at)
			}
			if i < at+n-1 && units[i].free != 0 {
				return nil, fmt.Errorf("unit %d: a span ends within that of unit %d", i, at)
			}
			if i == at+1<<14 { // most of what was never touched is passed over
				i = max(i, at+n-3)
			}
		}
		before := free
		free = uint32(units[at+n-1].free) == n
		if free != listed[at] || free && before {
			return nil, fmt.Errorf("unit %d: free %v, listed %v, the span before it free %v", at, free, listed[at], before)
		}
		spans = append(spans, Span{uintptr(r.base) + uintptr(at)<<r.shift, uintptr(n) << r.shift, free})
		delete(listed, at)
		at += n
	}
	if len(listed) > 0 {
		return nil, fmt.Errorf("lists hold what is no span: %v", listed)
	}
	return spans, nil
}

// Resident is how many of a span's first bytes, pages of 4 KB, have memory below them; -1 if
// that cannot be known.
func (s Span) Resident(bytes int) (resident int) {
	pages := make([]C.uchar, bytes>>12)
	if C.resident(C.uintptr_t(s.At), C.size_t(len(pages)), unsafe.SliceData(pages)) != 0 {
		return -1
	}
	for _, page := range pages {
		resident += int(page&1) << 12
	}
	return resident
}
