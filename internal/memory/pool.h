// The pool of pool.c, laid open for the tests.

#include <stdint.h>

// A region is divided into units. Those where a span begins or ends say so.
typedef struct {
	uint32_t span;       // units of the span that begins here; 0: none does
	uint32_t free;       // units of the free span that ends here; 0: none does
	uint32_t next, prev; // in its list, of the free span that begins here; 0: none
} prenas_unit;

typedef struct {
	uintptr_t base; // of unit 0, which is left out: 0 is no span
	unsigned shift; // log2 of the bytes of a unit
	uint32_t end;   // after the last unit
	prenas_unit *unit;
	uint64_t listed;    // lists that are not empty, a bit each
	uint32_t first[64]; // span of each list
	uint32_t touched;   // after the last unit that has had pages
} prenas_region;

extern prenas_region prenas_regions[2]; // all zero where there is no pool

void prenas_memory_trim(void);
