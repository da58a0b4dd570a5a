// AMX: eight registers that are tiles of 16 rows of 64 bytes, and an instruction that multiplies two of them in bf16 and adds
// the product to a third in float32 (Intel's server processors since 2023).
//
//	sum[i][j] += Σ over 16 pairs s of a[i][2s]·b[s][2j] + a[i][2s+1]·b[s][2j+1]
//
// so a tile of the left operand has 16 rows of 32 values, and one of the right operand 16 columns of 32 values, each column's pairs
// side by side. Operands are packed in whole tiles, those along the depth one after the other and filled with
// zeros, and so no instruction here reads beside them.
//
// Linux gives a process the use of tiles when it asks. Their state, 8 KB, belongs to a thread from prenas_amx_begin to
// prenas_amx_end, which a function calls around its tiles: threads of Go, of XLA or of who embeds this never carry it
// otherwise, and the system has nothing to save when it switches between them.

#ifndef PRENAS_AMX_H
#define PRENAS_AMX_H

#include <stdbool.h>
#include <stdint.h>

// Why tiles cannot be used, NULL if they can. The first call asks the system for them.
const char *prenas_amx_refused(void);

static inline bool prenas_amx(void) { return !prenas_amx_refused(); }

// GFLOP/s of one thread that does nothing but multiply tiles that are in the nearest cache, of the processor's time that it
// gets; 0 without AMX.
double prenas_amx_peak(void);

#if defined(__x86_64__) && defined(__has_include)
#if __has_include(<amxbf16intrin.h>) // the compiler's assembler knows the instructions
#define PRENAS_AMX 1
#endif
#endif

#ifdef PRENAS_AMX

#include <immintrin.h>

enum {
	AMX_ROWS = 16,    // of a tile of a, and columns of one of b
	AMX_DEPTH = 32,   // values of a step: of a row of a, or of a column of b
	AMX_TILE = 1024,  // bytes
	AMX_BLOCK = 32,   // rows and columns of what is summed at once, in four tiles
};

// Between these a thread may use tiles.
void prenas_amx_begin(void);
void prenas_amx_end(void);

// The compiler's own lack that tiles are read from memory, which must have been written before.
#define AMX_LOAD(tile, at, row_bytes) __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(at), "r"((int64_t)(row_bytes)) : "memory")
#define AMX_STORE(tile, at, row_bytes) __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r"(at), "r"((int64_t)(row_bytes)) : "memory")
#define AMX_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile : :)
#define AMX_MULTIPLY(sum, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum : :)

// Up to two by two tiles of sums, of zeros, or, to add to them, of c.
static inline __attribute__((always_inline)) void prenas_amx_start(int rows, int columns, const float *c, int64_t c_row, bool add) {
	int64_t row_bytes = 4 * c_row;
	const float *below = c + 16 * c_row;
	if (!add) {
		AMX_ZERO(0);
		AMX_ZERO(1);
		AMX_ZERO(2);
		AMX_ZERO(3);
		return;
	}
	AMX_LOAD(0, c, row_bytes);
	if (columns > 1) {
		AMX_LOAD(1, c + 16, row_bytes);
	}
	if (rows > 1) {
		AMX_LOAD(2, below, row_bytes);
		if (columns > 1) {
			AMX_LOAD(3, below + 16, row_bytes);
		}
	}
}

// One step: a and b are the first tiles of 16 rows and 16 columns, a_next and b_next bytes before those of the next.
static inline __attribute__((always_inline)) void prenas_amx_step(int rows, int columns, const char *a, int64_t a_next, const char *b, int64_t b_next) {
	AMX_LOAD(6, b, 64);
	AMX_LOAD(4, a, 64);
	AMX_MULTIPLY(0, 4, 6);
	if (columns > 1) {
		AMX_LOAD(7, b + b_next, 64);
		AMX_MULTIPLY(1, 4, 7);
	}
	if (rows > 1) {
		AMX_LOAD(5, a + a_next, 64);
		AMX_MULTIPLY(2, 5, 6);
		if (columns > 1) {
			AMX_MULTIPLY(3, 5, 7);
		}
	}
}

// Stores the sums.
static inline __attribute__((always_inline)) void prenas_amx_finish(int rows, int columns, float *c, int64_t c_row) {
	int64_t row_bytes = 4 * c_row;
	float *below = c + 16 * c_row;
	AMX_STORE(0, c, row_bytes);
	if (columns > 1) {
		AMX_STORE(1, c + 16, row_bytes);
	}
	if (rows > 1) {
		AMX_STORE(2, below, row_bytes);
		if (columns > 1) {
			AMX_STORE(3, below + 16, row_bytes);
		}
	}
}

// Sums up to two by two tiles over so many steps: c [16·rows, 16·columns] = a · b, or added to c.
//
// a is the first tile of the first 16 rows, whose tiles of one step after the other lie a_step bytes apart, and a_next bytes behind it is that of
// the next 16 rows; b the same of columns.
static inline __attribute__((always_inline)) void prenas_amx_block(int rows, int columns, const char *a, int64_t a_next, int64_t a_step, const char *b, int64_t b_next,
	int64_t b_step, int64_t steps, float *c, int64_t c_row, bool add) {
	prenas_amx_start(rows, columns, c, c_row, add);
	for (; steps > 0; steps--, a += a_step, b += b_step) {
		prenas_amx_step(rows, columns, a, a_next, b, b_next);
	}
	prenas_amx_finish(rows, columns, c, c_row);
}

// prenas_amx_block of so many rows and columns, up to 32, where the tiles of a step after the other have no gaps and the next 16 rows and
// columns lie next bytes behind.
static inline __attribute__((always_inline)) void prenas_amx_packed(int64_t rows, int64_t columns, const char *a, const char *b, int64_t next, int64_t steps, float *c,
	int64_t c_row, bool add) {
	bool high = rows > AMX_ROWS, wide = columns > 16;
	if (high && wide) {
		prenas_amx_block(2, 2, a, next, AMX_TILE, b, next, AMX_TILE, steps, c, c_row, add);
	} else if (high) {
		prenas_amx_block(2, 1, a, next, AMX_TILE, b, next, AMX_TILE, steps, c, c_row, add);
	} else if (wide) {
		prenas_amx_block(1, 2, a, next, AMX_TILE, b, next, AMX_TILE, steps, c, c_row, add);
	} else {
		prenas_amx_block(1, 1, a, next, AMX_TILE, b, next, AMX_TILE, steps, c, c_row, add);
	}
}

#endif

#endif
