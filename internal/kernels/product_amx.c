//go:build linux && cgo

// Products of matrices in bf16 on tiles of AMX (amx.h), which make five times what vectors do. So what they wait for is memory, not
// arithmetic: a tile is multiplied in the time in which the cache beyond the nearest gives a single one.
//
//	c = a · b, b [depth, columns] or b [columns, depth] transposed
//
//	    b      is packed first
//	    c      in parts of some rows, whose a is packed in the second cache. 32 columns of b after the other, which
//	           stay in the nearest cache while all rows of the part go by
//
//	c = aᵀ · b, a [depth, rows], b [depth, columns], which sums over the many rows of a batch
//
//	    depth  in blocks, whose sums are added one after the other to sums that stay in the second cache
//	    left   the side with fewer columns. Its tiles need a transposition, so it is packed by all threads first
//	    right  the other side, in parts of its columns; each packs its own, a block at a time. If it is a, the sums are those of cᵀ
//
// A large c is written past the caches: a line that is written whole need not be read first.
//
// The values of c are summed in an order that the depth alone decides, so the number of threads does not change a bit.

#include "product.h"

#include "amx.h"
#include "numbers.h"
#include "packing.h"

#include <stdlib.h>
#include <string.h>

#pragma GCC optimize("O3")

#ifdef PRENAS_AMX

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,prefer-vector-width=512")))

enum {
	PART_BYTES = 1 << 20,    // of a, packed, of a part
	PART_ROWS = 256,         // of it at most
	PARTS = 8,               // at least, if c is large enough
	BLOCK_STEPS = 8,         // of aᵀ · b
	SHARED_BYTES = 4 << 20,  // of what is packed of the left side
	PAST_CACHES = 2 << 20,   // bytes of a c that is written past them
};

typedef struct {
	prenas_factors of;
	int64_t steps;               // of the whole depth
	char *packed;                // b, or blocks of the left side
	bool failed;

	// Of a · b.
	int64_t row_parts, column_parts;
	bool past_caches;

	// Of aᵀ · b.
	const uint16_t *left, *right;
	int64_t lefts, rights;       // their columns
	int64_t parts;
	int64_t from, to;            // the steps that are packed of the left side
	float *sums;                 // [blocks of lefts, blocks of rights, 32, 32]
} product;

static void *block(size_t bytes) { return aligned_alloc(64, rounded_up(bytes, 64)); }

// The tiles of 16 rows of a.
TARGET static void pack_rows(char *to, const uint16_t *rows, int64_t count, int64_t depth, int64_t steps) {
	for (int64_t i = 0; i < AMX_ROWS; i++, rows += depth, to += 64) {
		for (int64_t s = 0; s < steps; s++) {
			_mm512_store_si512(to + s * AMX_TILE, i < count ? _mm512_maskz_loadu_epi16(halves(depth - AMX_DEPTH * s), rows + AMX_DEPTH * s) : _mm512_setzero_si512());
		}
	}
}

// A tile's depth of 32 columns, which lie along the rows of a matrix, in pairs: x[0] are the vectors of the first 16 columns, x[1] those of the others.
TARGET static inline __attribute__((always_inline)) void pairs_of(__m512i x[2][16], const uint16_t *rows, int64_t row, int64_t columns, int64_t depth) {
	__mmask32 there = halves(columns);
#pragma GCC unroll 16
	for (int i = 0; i < 16; i++) {
		__m512i even = _mm512_maskz_loadu_epi16(2 * i < depth ? there : 0, rows + 2 * i * row);
		__m512i odd = _mm512_maskz_loadu_epi16(2 * i + 1 < depth ? there : 0, rows + (2 * i + 1) * row);
		pair(&x[0][i], &x[1][i], even, odd);
	}
}

// Packs up to 32 columns that lie along the rows of a matrix, all of a depth, as two columns of tiles, next bytes apart: of b, or, transposed, as
// rows of tiles of a.
TARGET static void pack_columns(char *to, int64_t next, const uint16_t *rows, int64_t row, int64_t columns, int64_t depth, bool transposed) {
	for (; depth > 0; depth -= AMX_DEPTH, rows += AMX_DEPTH * row, to += AMX_TILE) {
		__m512i x[2][16];
		pairs_of(x, rows, row, columns, depth);
		for (int half = 0; half < 1 + (columns > 16); half++) {
			if (transposed) {
				transpose(x[half]);
			}
			for (int i = 0; i < 16; i++) {
				_mm512_store_si512(to + half * next + 64 * i, x[half][i]);
			}
		}
	}
}

// Packs 32 columns of b.
TARGET static void pack_b(void *work, int64_t i) {
	product *p = work;
	const prenas_factors *of = &p->of;
	int64_t first = i * AMX_BLOCK, count = at_most(AMX_BLOCK, of->columns - first), next = p->steps * AMX_TILE;
	char *to = p->packed + 2 * i * next;
	if (of->over == PRENAS_OVER_BOTH) {
		pack_columns(to, next, of->b + first, of->columns, count, of->depth, false);
		return;
	}
	for (int64_t j = 0; j < count; j += 16, to += next) {
		const uint16_t *rows = of->b + (first + j) * of->depth;
		for (int64_t s = 0; s < p->steps; s++) {
			__m512i x[16];
			for (int i = 0; i < 16; i++) {
				x[i] = j + i < count ? _mm512_maskz_loadu_epi16(halves(of->depth - AMX_DEPTH * s), rows + i * of->depth + AMX_DEPTH * s) : _mm512_setzero_si512();
			}
			transpose(x);
			for (int i = 0; i < 16; i++) {
				_mm512_store_si512(to + s * AMX_TILE + 64 * i, x[i]);
			}
		}
	}
}

// Some rows of sums as values of c, the first count of 32; whole lines of c past the caches if past says so.
TARGET static void store_bf16(uint16_t *to, int64_t row, const float *sums, int64_t rows, int64_t count, bool past) {
	__mmask32 there = halves(count);
	for (int64_t i = 0; i < rows; i++, to += row, sums += AMX_BLOCK) {
		__m512i x = (__m512i)_mm512_cvtne2ps_pbh(_mm512_load_ps(sums + 16), _mm512_load_ps(sums));
		if (past) {
			_mm512_stream_si512((void *)to, x);
		} else {
			_mm512_mask_storeu_epi16(to, there, x);
		}
	}
}

TARGET static void store_float32(float *to, int64_t row, const float *sums, int64_t rows, int64_t count) {
	for (int64_t i = 0; i < rows; i++, to += row, sums += AMX_BLOCK) {
		_mm512_mask_storeu_ps(to, lanes(count), _mm512_load_ps(sums));
		_mm512_mask_storeu_ps(to + 16, lanes(count - 16), _mm512_load_ps(sums + 16));
	}
}

// Copies bytes past the caches, but for those before and after whole lines.
TARGET static void stream(char *to, const char *from, int64_t bytes) {
	int64_t before = at_most(bytes, -(uintptr_t)to & 63), lines = (bytes - before) / 64;
	memcpy(to, from, before);
	for (int64_t i = 0; i < lines; i++) {
		_mm512_stream_si512((void *)(to + before + 64 * i), _mm512_loadu_si512(from + before + 64 * i));
	}
	int64_t rest = before + 64 * lines;
	memcpy(to + rest, from + rest, bytes - rest);
}

static inline void prefetch(const char *from, int64_t lines) {
	for (int64_t i = 0; i < lines; i++) {
		__builtin_prefetch(from + 64 * i, 0, 2);
	}
}

// Some rows and some columns of a · b.
static void multiply_part(void *work, int64_t part) {
	product *p = work;
	const prenas_factors *of = &p->of;
	int64_t row_part = part / p->column_parts, column_part = part % p->column_parts;
	int64_t row_tiles = divided_up(of->rows, AMX_ROWS), blocks = divided_up(of->columns, AMX_BLOCK);
	int64_t first = row_tiles * row_part / p->row_parts * AMX_ROWS, rows = at_most(of->rows, row_tiles * (row_part + 1) / p->row_parts * AMX_ROWS) - first;
	int64_t from = blocks * column_part / p->column_parts, to = blocks * (column_part + 1) / p->column_parts;
	int64_t next = p->steps * AMX_TILE, value = of->c_bf16 ? 2 : 4, row_bytes = of->columns * value;
	// Lines of c begin where blocks do, or are put together first.
	bool whole_lines = ((uintptr_t)of->c | row_bytes) % 64 == 0, staged = p->past_caches && (!whole_lines || !of->c_bf16) && p->column_parts == 1;
	_Alignas(64) float sums[AMX_BLOCK * AMX_BLOCK];
	char *packed = block(divided_up(rows, AMX_ROWS) * next), *stage = staged ? block(rows * row_bytes) : NULL;
	if (!packed || (staged && !stage)) {
		__atomic_store_n(&p->failed, true, __ATOMIC_RELAXED);
		free(packed);
		free(stage);
		return;
	}
	for (int64_t i = 0; i < rows; i += AMX_ROWS) {
		pack_rows(packed + i / AMX_ROWS * next, of->a + (first + i) * of->depth, rows - i, of->depth, p->steps);
	}
	char *c = staged ? stage : (char *)of->c + first * row_bytes;
	prenas_amx_begin();
	for (int64_t j = from; j < to; j++) {
		const char *b = p->packed + 2 * j * next;
		int64_t column = j * AMX_BLOCK, count = at_most(AMX_BLOCK, of->columns - column), lines = j + 1 < to ? 2 * next / 64 : 0;
		bool past = p->past_caches && whole_lines && count == AMX_BLOCK;
		for (int64_t i = 0; i < rows; i += AMX_BLOCK) {
			// What is multiplied next comes from a farther cache meanwhile.
			prefetch(b + 2 * next + lines * i / rows * 64, lines * at_most(i + AMX_BLOCK, rows) / rows - lines * i / rows);
			const char *a = packed + i / AMX_ROWS * next;
			prenas_amx_packed(rows - i, count, a, b, next, p->steps, sums, AMX_BLOCK, false);
			char *at = c + i * row_bytes + column * value;
			if (of->c_bf16) {
				store_bf16((uint16_t *)at, of->columns, sums, at_most(AMX_BLOCK, rows - i), count, past && !staged);
			} else {
				store_float32((float *)at, of->columns, sums, at_most(AMX_BLOCK, rows - i), count);
			}
		}
	}
	prenas_amx_end();
	if (staged) {
		stream((char *)of->c + first * row_bytes, stage, rows * row_bytes);
	}
	_mm_sfence();
	free(packed);
	free(stage);
}

static void multiply(ffi_frame *frame, product *p) {
	const prenas_factors *of = &p->of;
	int64_t blocks = divided_up(of->columns, AMX_BLOCK), row_tiles = divided_up(of->rows, AMX_ROWS);
	p->packed = block(2 * blocks * p->steps * AMX_TILE);
	if (!p->packed) {
		p->failed = true;
		return;
	}
	int64_t part_tiles = at_most(PART_ROWS / AMX_ROWS, at_least(2, PART_BYTES / (p->steps * AMX_TILE)));
	p->row_parts = divided_up(row_tiles, part_tiles);
	p->column_parts = at_most(blocks, divided_up(PARTS, p->row_parts));
	p->past_caches = of->rows * of->columns * (of->c_bf16 ? 2 : 4) >= PAST_CACHES;
	prenas_share(frame, blocks, pack_b, p);
	prenas_share(frame, p->row_parts * p->column_parts, multiply_part, p);
	free(p->packed);
}

// Packs block i of the left side, and in it 32 columns after the other.
static void pack_left(void *work, int64_t i) {
	product *p = work;
	int64_t at = p->from + i * BLOCK_STEPS, steps = at_most(BLOCK_STEPS, p->to - at), tiles = divided_up(p->lefts, AMX_ROWS);
	char *to = p->packed + (at - p->from) * tiles * AMX_TILE;
	const uint16_t *rows = p->left + at * AMX_DEPTH * p->lefts;
	for (int64_t j = 0; j < p->lefts; j += AMX_BLOCK) {
		pack_columns(to + j / AMX_ROWS * steps * AMX_TILE, steps * AMX_TILE, rows + j, p->lefts, at_most(AMX_BLOCK, p->lefts - j),
			at_most(steps * AMX_DEPTH, p->of.depth - at * AMX_DEPTH), true);
	}
}

// Adds the packed steps to some columns of the sums.
static void sum_part(void *work, int64_t part) {
	product *p = work;
	int64_t blocks = divided_up(p->rights, AMX_BLOCK), of_left = divided_up(p->lefts, AMX_BLOCK), tiles = divided_up(p->lefts, AMX_ROWS);
	int64_t first = blocks * part / p->parts, end = blocks * (part + 1) / p->parts, width = at_most(p->rights, end * AMX_BLOCK) - first * AMX_BLOCK;
	char *packed = block((end - first) * 2 * BLOCK_STEPS * AMX_TILE);
	if (!packed) {
		__atomic_store_n(&p->failed, true, __ATOMIC_RELAXED);
		return;
	}
	prenas_amx_begin();
	for (int64_t at = p->from; at < p->to; at += BLOCK_STEPS) {
		int64_t steps = at_most(BLOCK_STEPS, p->to - at), next = steps * AMX_TILE, depth = at_most(steps * AMX_DEPTH, p->of.depth - at * AMX_DEPTH);
		const uint16_t *rows = p->right + at * AMX_DEPTH * p->rights + first * AMX_BLOCK;
		for (int64_t j = 0; j < width; j += AMX_BLOCK) {
			pack_columns(packed + 2 * (j / AMX_BLOCK) * next, next, rows + j, p->rights, at_most(AMX_BLOCK, width - j), depth, false);
		}
		const char *left = p->packed + (at - p->from) * tiles * AMX_TILE;
		// While tiles are multiplied, the rows that are packed next are fetched from memory.
		int64_t after = at_least(0, at_most(BLOCK_STEPS * AMX_DEPTH, p->of.depth - (at + steps) * AMX_DEPTH)), asked = 0, lines = divided_up(2 * width, 64);
		const char *to_pack = (const char *)(rows + steps * AMX_DEPTH * p->rights);
		for (int64_t j = first; j < end; j++) {
			const char *b = packed + 2 * (j - first) * next;
			for (int64_t i = 0; i < of_left; i++) {
				for (int64_t until = after * ((j - first) * of_left + i + 1) / ((end - first) * of_left); asked < until; asked++) {
					prefetch(to_pack + asked * 2 * p->rights, lines);
				}
				const char *a = left + 2 * i * next;
				float *sums = p->sums + (i * blocks + j) * AMX_BLOCK * AMX_BLOCK;
				prenas_amx_packed(p->lefts - i * AMX_BLOCK, p->rights - j * AMX_BLOCK, a, b, next, steps, sums, AMX_BLOCK, at > 0);
			}
		}
	}
	prenas_amx_end();
	free(packed);
}

// 32 rows of c from the sums, which are transposed if the left side is b.
TARGET static void store_sums(void *work, int64_t i) {
	product *p = work;
	const prenas_factors *of = &p->of;
	bool transposed = p->left == of->b;
	int64_t blocks = divided_up(p->rights, AMX_BLOCK), rows = at_most(AMX_BLOCK, of->rows - i * AMX_BLOCK);
	for (int64_t j = 0; j * AMX_BLOCK < of->columns; j++) {
		const float *sums = p->sums + (transposed ? j * blocks + i : i * blocks + j) * AMX_BLOCK * AMX_BLOCK;
		_Alignas(64) float turned[AMX_BLOCK * AMX_BLOCK];
		for (int q = 0; q < 4 && transposed; q++) {
			__m512i x[16];
			for (int k = 0; k < 16; k++) {
				x[k] = _mm512_load_si512(sums + (q / 2 * 16 + k) * AMX_BLOCK + q % 2 * 16);
			}
			transpose(x);
			for (int k = 0; k < 16; k++) {
				_mm512_store_si512(turned + (q % 2 * 16 + k) * AMX_BLOCK + q / 2 * 16, x[k]);
			}
		}
		int64_t at = i * AMX_BLOCK * of->columns + j * AMX_BLOCK, count = at_most(AMX_BLOCK, of->columns - j * AMX_BLOCK);
		if (of->c_bf16) {
			store_bf16((uint16_t *)of->c + at, of->columns, transposed ? turned : sums, rows, count, false);
		} else {
			store_float32((float *)of->c + at, of->columns, transposed ? turned : sums, rows, count);
		}
	}
}

static void sum_rows(ffi_frame *frame, product *p) {
	const prenas_factors *of = &p->of;
	bool swap = of->columns < of->rows;
	p->left = swap ? of->b : of->a;
	p->right = swap ? of->a : of->b;
	p->lefts = swap ? of->columns : of->rows;
	p->rights = swap ? of->rows : of->columns;
	int64_t blocks = divided_up(p->rights, AMX_BLOCK), of_left = divided_up(p->lefts, AMX_BLOCK), step_bytes = divided_up(p->lefts, AMX_ROWS) * AMX_TILE;
	int64_t steps = at_least(1, SHARED_BYTES / (step_bytes * BLOCK_STEPS)) * BLOCK_STEPS;
	p->parts = at_most(blocks, 2 * prenas_threads(frame));
	p->packed = block(step_bytes * at_most(steps, p->steps));
	p->sums = block(of_left * blocks * AMX_BLOCK * AMX_BLOCK * sizeof(float));
	p->failed = !p->packed || !p->sums;
	for (p->from = 0; p->from < p->steps && !p->failed; p->from = p->to) {
		p->to = at_most(p->from + steps, p->steps);
		prenas_share(frame, divided_up(p->to - p->from, BLOCK_STEPS), pack_left, p);
		prenas_share(frame, p->parts, sum_part, p);
	}
	if (!p->failed) {
		prenas_share(frame, divided_up(of->rows, AMX_BLOCK), store_sums, p);
	}
	free(p->packed);
	free(p->sums);
}

bool prenas_product_amx(ffi_frame *frame, const prenas_factors *of) {
	product p = {.of = *of, .steps = divided_up(of->depth, AMX_DEPTH)};
	if (of->over == PRENAS_OVER_ROWS) {
		sum_rows(frame, &p);
	} else {
		multiply(frame, &p);
	}
	return !p.failed;
}

#else

bool prenas_product_amx(ffi_frame *frame, const prenas_factors *of) {
	(void)frame, (void)of;
	return false;
}

#endif
