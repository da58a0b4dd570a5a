//go:build linux && cgo

// A pool of memory under malloc, for XLA.
//
// What a train step takes. XLA's plug-in for the CPU asks malloc for everything, in each run
// of a program anew:
//
//	1-3 GB            one block of temporary values, by posix_memalign
//	64 KB - 64 MB     outputs, which are the next state, by posix_memalign; 1-4 GB in all
//	64 KB - 512 KB    scratch of matrix products, by malloc, thousands of times
//	less              the rest
//
// and its threads do so in arenas of glibc, each of which has 64 MB at most. So the first
// is mapped and unmapped in each step, whatever glibc is told to keep, and the kernel
// clears its pages: a fifth of a step of the space small in bf16. The second and third
// leave holes in as many arenas as there are threads, and what the compiler leaves behind
// stays below them: 2 GB more than what lives. With the pool that step takes 1.6 s for 2.0 and
// the process 4.1 GB for 6.0 (docs/speed.md).
//
// What is done about it. The functions below take glibc's place in the whole process:
// they are defined in the executable, so the dynamic linker finds them first, for plug-ins
// too. Blocks of less than a unit of 64 KB are passed on to glibc. Larger ones are cut out of a
// range of addresses that is reserved once; the kernel puts pages below it, huge ones where
// it has them, as they are touched. A freed block keeps its pages for the next step, until
// prenas_memory_trim.
//
//	region 0, blocks up to 64 MB, in units of 64 KB
//
//	 0 |  used  |   free    |  used  | used |       free, never touched       | end
//	    span=3   span=4 free=4
//
//	region 1, larger blocks, in units of 2 MB, so that the block of temporary values
//	finds the hole that it left, whatever the small ones do
//
// A span is a row of units, used or free; no two free ones touch. Its first unit has its length,
// and the last one too if it is free, so both neighbours of a freed span are found at once
// and become one with it. Free spans of like length are in a list: two lists for each power
// of two. A block takes the shortest span of its list that holds it, of the first few that are looked
// at, else that of the next list that has one; what is left over is a free span again. So
// both ways take a short time, however many blocks live.
//
// XLA says that a run is done before it frees the run's block of temporary values, and the next run asks for one of the same
// size at once. It would get new pages, which then stay: twice the memory. So a large block that would need new
// pages waits a moment for one of its size to be freed.
//
// There is no pool, and glibc does as ever, where the range is not to be had (an address space
// that is limited, a kernel that does not overcommit), where others would free by glibc what
// we took (this is in a shared library, not the executable) or where PRENAS_SYSTEM_MALLOC is set.

#define _GNU_SOURCE
#include "pool.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

prenas_region prenas_regions[2];

#if defined __GLIBC__ && defined __LP64__

#define UNIT ((size_t)1 << 16)
#define HUGE ((size_t)1 << 21) // a huge page, and a unit of region 1
#define LARGE ((size_t)1 << 26)

enum {
	LOOK = 32,          // spans of a list that are looked at
	MOMENT = 20 * 1000000 // nanoseconds
};

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void *__libc_valloc(size_t);
void *__libc_pvalloc(size_t);
void __libc_free(void *);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t freed = PTHREAD_COND_INITIALIZER; // a large block
static uintptr_t base; // of both regions
static size_t half;    // bytes of each; 0: there is no pool

static int list_of(uint32_t span) {
	int log = 31 - __builtin_clz(span);
	return 2 * log + (log > 0 && (span >> (log - 1) & 1));
}

static int is_free(prenas_unit *u, uint32_t at) {
	return u[at].span != 0 && u[at + u[at].span - 1].free == u[at].span;
}

// put makes units a free span.
static void put(prenas_region *r, uint32_t at, uint32_t span) {
	prenas_unit *u = r->unit;
	int list = list_of(span);
	u[at] = (prenas_unit){.span = span, .next = r->first[list]};
	u[at + span - 1].free = span;
	if (u[at].next) u[u[at].next].prev = at;
	r->first[list] = at;
	r->listed |= (uint64_t)1 << list;
}

// cut takes a free span out of its list and returns its units, which are then no span.
static uint32_t cut(prenas_region *r, uint32_t at) {
	prenas_unit *u = r->unit, was = u[at];
	int list = list_of(was.span);
	if (was.prev) u[was.prev].next = was.next;
	else r->first[list] = was.next;
	if (was.next) u[was.next].prev = was.prev;
	if (!r->first[list]) r->listed &= ~((uint64_t)1 << list);
	u[at] = (prenas_unit){0};
	u[at + was.span - 1].free = 0;
	return was.span;
}

// fit is the free span that a block of so many units is cut from; 0: there is none.
static uint32_t fit(prenas_region *r, uint32_t span) {
	prenas_unit *u = r->unit;
	for (uint64_t lists = r->listed >> list_of(span) << list_of(span); lists; lists &= lists - 1) {
		uint32_t best = 0, at = r->first[__builtin_ctzll(lists)];
		for (int i = 0; at && i < LOOK; i++, at = u[at].next)
			if (u[at].span >= span && (!best || u[at].span < u[best].span)) best = at;
		if (best) return best;
	}
	return 0;
}

// has tells whether a block of so many units is in use.
static int has(prenas_region *r, uint32_t span) {
	for (uint32_t at = 1; at < r->touched; at += r->unit[at].span)
		if (r->unit[at].span == span && !is_free(r->unit, at)) return 1;
	return 0;
}

// fit_soon is fit for a large block.
static uint32_t fit_soon(prenas_region *r, uint32_t span) {
	struct timespec end;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_nsec += MOMENT;
	end.tv_sec += end.tv_nsec / 1000000000;
	end.tv_nsec %= 1000000000;
	for (int late = 0;;) {
		uint32_t at = fit(r, span);
		if (late || !at || at + span <= r->touched || !has(r, span)) return at;
		late = pthread_cond_timedwait(&freed, &mutex, &end);
	}
}

// take is a block of at least a unit; NULL: the pool has none.
static void *take(size_t size) {
	prenas_region *r = &prenas_regions[size > LARGE];
	if (size > half) return NULL;
	uint32_t span = (size + ((size_t)1 << r->shift) - 1) >> r->shift;
	pthread_mutex_lock(&mutex);
	uint32_t at = size > LARGE ? fit_soon(r, span) : fit(r, span);
	if (at) {
		if (at + span > r->touched) r->touched = at + span;
		uint32_t left = cut(r, at) - span;
		r->unit[at].span = span;
		if (left) put(r, at + span, left);
	}
	pthread_mutex_unlock(&mutex);
	return at ? (void *)(r->base + ((uintptr_t)at << r->shift)) : NULL;
}

static int ours(void *p) { return (uintptr_t)p - base < 2 * half; }

static prenas_region *region_of(void *p) { return &prenas_regions[(uintptr_t)p - base >= half]; }

// used is the first unit of a block, of which the caller has the mutex.
static uint32_t used(prenas_region *r, void *p) {
	uintptr_t offset = (uintptr_t)p - r->base;
	uint32_t at = offset >> r->shift;
	if ((uintptr_t)at << r->shift != offset || r->unit[at].span == 0 || is_free(r->unit, at)) {
		static const char complaint[] = "free(): invalid pointer into the pool of large blocks\n";
		(void)!write(STDERR_FILENO, complaint, sizeof complaint - 1);
		abort();
	}
	return at;
}

static void give(void *p) {
	prenas_region *r = region_of(p);
	prenas_unit *u = r->unit;
	pthread_mutex_lock(&mutex);
	uint32_t at = used(r, p), span = u[at].span, after = at + span, before = u[at - 1].free;
	u[at].span = 0;
	if (is_free(u, after)) span += cut(r, after);
	if (before) span += cut(r, at -= before);
	put(r, at, span);
	if (r == &prenas_regions[1]) pthread_cond_broadcast(&freed);
	pthread_mutex_unlock(&mutex);
}

static size_t size_of(void *p) {
	prenas_region *r = region_of(p);
	pthread_mutex_lock(&mutex);
	size_t size = (size_t)r->unit[used(r, p)].span << r->shift;
	pthread_mutex_unlock(&mutex);
	return size;
}

// All functions of the family are here: one that was missing would be that of another
// library where such a one is preloaded. reallocarray of glibc calls realloc.

void *malloc(size_t size) {
	void *p = size < UNIT ? NULL : take(size);
	return p ? p : __libc_malloc(size);
}

// our_malloc is this malloc even where another library's goes first.
static void *our_malloc(size_t) __attribute__((alias("malloc")));

void free(void *p) {
	if (ours(p)) give(p);
	else __libc_free(p);
}

void *realloc(void *p, size_t size) {
	if (!p) return malloc(size);
	if (!ours(p)) return __libc_realloc(p, size);
	size_t had = size_of(p);
	if (had / 2 <= size && size <= had) return p;
	void *q = size == 0 ? NULL : malloc(size);
	if (q) memcpy(q, p, size < had ? size : had);
	if (q || size == 0) give(p);
	return q;
}

void *memalign(size_t alignment, size_t size) {
	void *p = size < UNIT || alignment > UNIT ? NULL : take(size);
	return p ? p : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **p, size_t alignment, size_t size) {
	if (alignment % sizeof(void *) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0) return EINVAL;
	void *q = memalign(alignment, size);
	if (!q) return ENOMEM;
	*p = q;
	return 0;
}

void *calloc(size_t count, size_t size) { return __libc_calloc(count, size); }
void *valloc(size_t size) { return __libc_valloc(size); }
void *pvalloc(size_t size) { return __libc_pvalloc(size); }

size_t malloc_usable_size(void *p) {
	if (ours(p)) return size_of(p);
	// glibc's has no second name.
	size_t (*theirs)(void *) = dlsym(dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD), "malloc_usable_size");
	return theirs(p);
}

static void lock(void) { pthread_mutex_lock(&mutex); }
static void unlock(void) { pthread_mutex_unlock(&mutex); }

static void *reserve(size_t size) {
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

// start reserves the regions, before main and any thread of its.
__attribute__((constructor)) static void start(void) {
	struct rlimit limit;
	if (dlsym(dlopen(NULL, RTLD_LAZY), "malloc") != (void *)our_malloc || getenv("PRENAS_SYSTEM_MALLOC")) return;
	if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur != RLIM_INFINITY) return;
	// Twice the memory that there is: holes take addresses, not memory.
	size_t each = ((size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGE_SIZE) / HUGE + 1) * 2 * HUGE;
	uintptr_t at = (uintptr_t)reserve(2 * each + HUGE);
	if (!at) return;
	base = (at + HUGE - 1) / HUGE * HUGE;
	madvise((void *)base, 2 * each, MADV_HUGEPAGE);
	for (int i = 0; i < 2; i++) {
		size_t unit = i == 0 ? UNIT : HUGE;
		// A last unit, after the end, is no span.
		prenas_unit *u = reserve((each / unit + 1) * sizeof *u);
		if (!u) return;
		prenas_regions[i] = (prenas_region){.base = base + i * each, .shift = __builtin_ctzll(unit), .end = each / unit, .unit = u};
		put(&prenas_regions[i], 1, each / unit - 1);
	}
	pthread_atfork(lock, unlock, unlock);
	half = each;
}

// prenas_memory_trim gives back to the kernel the pages of free blocks. A huge page of which a
// part is in use stays whole.
void prenas_memory_trim(void) {
	pthread_mutex_lock(&mutex);
	for (prenas_region *r = prenas_regions; r < prenas_regions + 2; r++) {
		uint32_t touched = 0;
		for (uint32_t at = 1; at < r->end; at += r->unit[at].span) {
			uintptr_t from = r->base + ((uintptr_t)at << r->shift), to = from + ((uintptr_t)r->unit[at].span << r->shift);
			from = (from + HUGE - 1) / HUGE * HUGE, to = to / HUGE * HUGE;
			if (!is_free(r->unit, at)) touched = at + r->unit[at].span;
			else if (from < to) madvise((void *)from, to - from, MADV_DONTNEED);
		}
		r->touched = touched;
	}
	pthread_mutex_unlock(&mutex);
	malloc_trim(0);
}

#else

void prenas_memory_trim(void) {}

#endif
