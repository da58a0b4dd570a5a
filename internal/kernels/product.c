//go:build linux && cgo

// Products of matrices, in float32 and bf16, for processors with AVX-512.
//
// XLA's own run at 50 to 75 % of what a processor can do in bf16 where a side has few
// columns, as the layers of small networks have. Here all shapes are cut into the same tiles (tiles.h):
//
//	c = a · b, b [depth, columns] or b [columns, depth] transposed
//
//	    b      is packed first, in panels as wide as a tile
//	    c      in parts of some rows; for each panel, all tiles of the part: the panel stays in the
//	           nearest cache, the part's rows of a in the next
//
//	c = aᵀ · b, a [depth, rows], b [depth, columns], which sums over the many rows of a batch
//
//	    depth  in blocks, whose sums are added to c one after the other
//	    b      is packed as above; so is a, in pieces as wide as a tile has rows. The smaller of the two is
//	           shared: all threads pack some blocks of it first
//	    c      in parts of some rows or columns. A part packs its own of the larger side, a block at a time,
//	           which stays in the cache while all of the shared side's block goes by
//
// How a product is divided depends on its shape alone, so the number of threads does not
// change a bit of it.

#include "amx.h"
#include "call.h"
#include "numbers.h"
#include "packing.h"
#include "product.h"
#include "tiles.h"

#include <stdlib.h>
#include <string.h>

#pragma GCC optimize("O3")

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16,prefer-vector-width=512")))
#define TARGET_FLOAT32 __attribute__((target("avx512f,avx512bw,avx512vl,prefer-vector-width=512")))

enum {
	PARTS = 8,              // a product is cut into at least as many, if it is large enough
	ROWS = 168,             // of a part: 12 tiles
	DEPTH_STEPS = 512,      // of a block
	BAND = 64,              // steps that are packed at once, of all pieces
	SHARED_BYTES = 8 << 20, // of what is packed of the shared side
};

// One side of aᵀ · b, in pieces: a's rows of c, or b's columns.
typedef struct {
	const char *values;
	int64_t count;  // of c's rows or columns
	int64_t padded; // with those that fill the last panel
	int64_t pieces;
} side;

typedef struct {
	const void *a, *b;
	void *c;
	int64_t rows, columns, depth; // c is [rows, columns]
	bool bf16;                    // the operands; c is bf16 if c_bf16
	bool c_bf16;
	int64_t over;                 // what is summed over
	int64_t value_bytes;          // of an operand
	int64_t per_step, steps;      // values of a step; steps of the whole depth
	prenas_tiles tiles;
	int64_t width, panels;        // of a tile; how many of them c has
	uint32_t *packed;             // b, panel by panel; or blocks of the shared side
	bool failed;

	int64_t row_parts, column_parts; // of a · b

	// Of aᵀ · b.
	side own, shared;
	bool owns_a;                  // a is the larger side, which has parts; else it is shared
	int64_t parts;
	int64_t block_steps;
	int64_t from, to;             // the steps that are packed of the shared side
	float *sums;                  // c, or what becomes it: [rows, panels·width]
} product;

static void *block(size_t bytes) { return aligned_alloc(64, rounded_up(bytes, 64)); }

// Asks for the first bytes of some rows, before they are read.
static inline void ask(const char *row, int64_t row_bytes, int64_t bytes, int64_t rows) {
	for (; rows > 0; rows--, row += row_bytes) {
		for (int64_t i = 0; i < bytes; i += 64) {
			__builtin_prefetch(row + i);
		}
		__builtin_prefetch(row + bytes - 1);
	}
}

// A step of up to 16 columns: a row of float32 values, or two rows of bf16 values in pairs; second are the
// columns of the other row.
TARGET_FLOAT32 static inline __m512i step_of(const char *row, int64_t row_bytes, __mmask16 there, __mmask16 second, bool bf16) {
	if (!bf16) {
		return _mm512_maskz_loadu_epi32(there, row);
	}
	__m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, row));
	__m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(second, row + row_bytes));
	return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

// Steps of 32 or 48 columns of bf16 values.
TARGET_FLOAT32 static inline void pack_pairs(uint32_t *to, int64_t width, const char *row, int64_t row_bytes, int64_t pairs) {
	__m512i first = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36, 4, 35, 3,
		34, 2, 33, 1, 32, 0);
	__m512i second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
	for (; pairs > 0; pairs--, to += width, row += 2 * row_bytes) {
		__m512i x = _mm512_loadu_si512(row), y = _mm512_loadu_si512(row + row_bytes);
		_mm512_store_si512(to, _mm512_permutex2var_epi16(x, first, y));
		_mm512_store_si512(to + 16, _mm512_permutex2var_epi16(x, second, y));
		if (width > 32) {
			_mm512_store_si512(to + 32, step_of(row + 64, row_bytes, 0xffff, 0xffff, true));
		}
	}
}

// Columns [0, count) of rows of values that lie row_bytes apart, as steps: to[s·width + j].
// Of bf16 values two rows make a step; a last one alone gets a row of zeros.
TARGET_FLOAT32 static void pack_rows(uint32_t *to, int64_t width, const char *row, int64_t row_bytes, int64_t count, int64_t depth, bool bf16) {
	int64_t value_bytes = bf16 ? 2 : 4, per_step = bf16 ? 2 : 1, steps = divided_up(depth, per_step), s = 0;
	if (bf16 && count == width && width == 48) {
		pack_pairs(to, 48, row, row_bytes, s = depth / 2);
	} else if (bf16 && count == width && width == 32) {
		pack_pairs(to, 32, row, row_bytes, s = depth / 2);
	} else if (width <= 16) {
		// Whole vectors, which take a third of the time of parts: what is too much, the next steps go over.
		for (__mmask16 there = lanes(count); s + 1 < steps && (steps - s) * width >= 16; s++) {
			_mm512_storeu_si512(to + s * width, step_of(row + s * per_step * row_bytes, row_bytes, there, there, bf16));
		}
	}
	for (; s < steps; s++) {
		for (int64_t j = 0; j < width; j += 16) {
			__mmask16 there = lanes(count - j), second = (s + 1) * per_step <= depth ? there : 0;
			__m512i values = step_of(row + s * per_step * row_bytes + j * value_bytes, row_bytes, there, second, bf16);
			if (width - j >= 16) {
				_mm512_storeu_si512(to + s * width + j, values);
			} else {
				_mm512_mask_storeu_epi32(to + s * width + j, lanes(width - j), values);
			}
		}
	}
}

// Packs panel i of b.
TARGET_FLOAT32 static void pack_panel(void *work, int64_t i) {
	product *p = work;
	int64_t first = i * p->width, count = at_most(p->width, p->columns - first);
	uint32_t *to = p->packed + i * p->width * p->steps;
	if (p->over != PRENAS_OVER_COLUMNS) {
		pack_rows(to, p->width, (const char *)p->b + first * p->value_bytes, p->columns * p->value_bytes, count, p->depth, p->bf16);
		return;
	}
	const uint32_t *rows = (const uint32_t *)p->b + first * p->steps;
	for (int64_t s = 0; s < p->steps; s += 16) {
		for (int64_t j = 0; j < p->width; j += 16) {
			__m512i v[16];
			for (int i = 0; i < 16; i++) {
				v[i] = j + i < count ? _mm512_maskz_loadu_epi32(lanes(p->steps - s), rows + (j + i) * p->steps + s) : _mm512_setzero_si512();
			}
			transpose(v);
			for (int i = 0; i < 16 && s + i < p->steps; i++) {
				_mm512_store_si512(to + (s + i) * p->width + j, v[i]);
			}
		}
	}
}

// A tile's rows of c, count columns of them.
TARGET static void store_bf16(uint16_t *to, int64_t row_values, const float *from, int64_t width, int64_t rows, int64_t count) {
	for (int64_t i = 0; i < rows; i++, to += row_values, from += width) {
		for (int64_t j = 0; j < count; j += 16) {
			__m256i values = (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + j));
			if (count - j >= 16) {
				_mm256_storeu_si256((__m256i *)(to + j), values);
			} else {
				_mm256_mask_storeu_epi16(to + j, (1 << (count - j)) - 1, values);
			}
		}
	}
}

TARGET_FLOAT32 static void store_float32(float *to, int64_t row_values, const float *from, int64_t width, int64_t rows, int64_t count) {
	for (int64_t i = 0; i < rows; i++, to += row_values, from += width) {
		// A call of memcpy takes longer than so few.
		for (int64_t j = 0; j < count; j += 16) {
			_mm512_mask_storeu_ps(to + j, lanes(count - j), _mm512_loadu_ps(from + j));
		}
	}
}

// Some rows and some panels of a · b.
static void multiply_part(void *work, int64_t part) {
	product *p = work;
	int64_t row_part = part / p->column_parts, column_part = part % p->column_parts;
	int64_t first = p->rows * row_part / p->row_parts, rows = p->rows * (row_part + 1) / p->row_parts - first;
	int64_t panel = p->panels * column_part / p->column_parts, panels_end = p->panels * (column_part + 1) / p->column_parts;
	int64_t tiles = divided_up(rows, p->tiles.rows);
	float sums[PRENAS_TILE_2 * 48];
	for (; panel < panels_end; panel++) {
		const uint32_t *b = p->packed + panel * p->width * p->steps;
		int64_t column = panel * p->width, count = at_most(p->width, p->columns - column);
		for (int64_t t = 0; t < tiles; t++) {
			int64_t from = first + rows * t / tiles, to = first + rows * (t + 1) / tiles, at = from * p->columns + column;
			const uint32_t *a = (const uint32_t *)p->a + from * p->steps;
			bool direct = !p->c_bf16 && count == p->width;
			p->tiles.of_rows[to - from](a, p->steps, 1, b, p->steps, direct ? (float *)p->c + at : sums, direct ? p->columns : p->width, false);
			if (p->c_bf16) {
				store_bf16((uint16_t *)p->c + at, p->columns, sums, p->width, to - from, count);
			} else if (!direct) {
				store_float32((float *)p->c + at, p->columns, sums, p->width, to - from, count);
			}
		}
	}
}

static void multiply(ffi_frame *frame, product *p) {
	p->packed = block(p->panels * p->width * p->steps * 4);
	if (!p->packed) {
		p->failed = true;
		return;
	}
	p->row_parts = divided_up(p->rows, ROWS);
	if (p->row_parts > PARTS) {
		p->row_parts = rounded_up(p->row_parts, PARTS);
	}
	p->column_parts = at_most(p->panels, divided_up(PARTS, p->row_parts));
	prenas_share(frame, p->panels, pack_panel, p);
	prenas_share(frame, p->row_parts * p->column_parts, multiply_part, p);
	free(p->packed);
}

// The row or column of c at which a piece begins.
static int64_t first_of(const side *s, int64_t piece) { return s->padded * piece / s->pieces; }

// Packs BAND steps, from step band on, of the block that begins at step at, of pieces [piece, end) of a
// side: the block's steps of one piece after the other, from to on.
static void pack_band(const product *p, const side *s, int64_t piece, int64_t end, int64_t at, int64_t band, uint32_t *to) {
	int64_t block_steps = at_most(p->block_steps, p->steps - at), base = first_of(s, piece), row_bytes = s->count * p->value_bytes;
	int64_t depth = at_most(BAND * p->per_step, p->depth - band * p->per_step), after = at_most(depth, p->depth - band * p->per_step - depth);
	const char *rows = s->values + band * p->per_step * row_bytes;
	ask(rows + depth * row_bytes + base * p->value_bytes, row_bytes, (at_most(first_of(s, end), s->count) - base) * p->value_bytes, after);
	for (; piece < end; piece++) {
		int64_t first = first_of(s, piece), width = first_of(s, piece + 1) - first;
		pack_rows(to + (first - base) * block_steps + (band - at) * width, width, rows + first * p->value_bytes, row_bytes,
			at_most(width, s->count - first), depth, p->bf16);
	}
}

// Packs band i of the shared side.
static void pack_shared(void *work, int64_t i) {
	product *p = work;
	int64_t band = p->from + i * BAND, at = band / p->block_steps * p->block_steps;
	pack_band(p, &p->shared, 0, p->shared.pieces, at, band, p->packed + (at - p->from) * p->shared.padded);
}

// Some pieces of the own side with all of the shared one.
static void sum_part(void *work, int64_t part) {
	product *p = work;
	const side *own = &p->own, *shared = &p->shared, *of_a = p->owns_a ? own : shared;
	int64_t piece = own->pieces * part / p->parts, end = own->pieces * (part + 1) / p->parts, tiles = shared->pieces * (end - piece);
	int64_t base = first_of(own, piece), width = first_of(own, end) - base, padded = p->panels * p->width;
	int64_t row_bytes = own->count * p->value_bytes, bytes = at_most(width, own->count - base) * p->value_bytes;
	uint32_t *packed = block(p->block_steps * width * 4);
	if (!packed) {
		__atomic_store_n(&p->failed, true, __ATOMIC_RELAXED);
		return;
	}
	for (int64_t at = p->from, steps; at < p->to; at += steps) {
		steps = at_most(p->block_steps, p->steps - at);
		for (int64_t band = at; band < at + steps; band += BAND) {
			pack_band(p, own, piece, end, at, band, packed);
		}
		// While tiles are summed, the rows that are packed next are fetched from memory.
		int64_t next = (at + steps) * p->per_step, rows_next = at_least(0, at_most(p->block_steps * p->per_step, p->depth - next));
		const char *to_pack = own->values + next * row_bytes + base * p->value_bytes;
		for (int64_t t = 0; t < tiles; t++) {
			int64_t asked = rows_next * t / tiles;
			ask(to_pack + asked * row_bytes, row_bytes, bytes, rows_next * (t + 1) / tiles - asked);
			int64_t i = t / (end - piece), j = piece + t % (end - piece);
			const uint32_t *x = packed + (first_of(own, j) - base) * steps;
			const uint32_t *y = p->packed + (at - p->from) * shared->padded + first_of(shared, i) * steps;
			int64_t row = first_of(of_a, p->owns_a ? j : i), rows = first_of(of_a, (p->owns_a ? j : i) + 1) - row;
			float *sum = p->sums + row * padded + (p->owns_a ? i : j) * p->width;
			p->tiles.of_rows[rows](p->owns_a ? x : y, 1, rows, p->owns_a ? y : x, steps, sum, padded, at > 0);
		}
	}
	free(packed);
}

// Row i of c from the sums.
TARGET static void store_row(void *work, int64_t i) {
	product *p = work;
	const float *sum = p->sums + i * p->panels * p->width;
	if (p->c_bf16) {
		store_bf16((uint16_t *)p->c + i * p->columns, p->columns, sum, p->columns, 1, p->columns);
	} else {
		memcpy((float *)p->c + i * p->columns, sum, p->columns * sizeof(float));
	}
}

static void sum_rows(ffi_frame *frame, product *p) {
	int64_t padded = p->panels * p->width, tiles = divided_up(p->rows, p->tiles.rows);
	bool direct = !p->c_bf16 && p->columns == padded;
	side a = {p->a, p->rows, p->rows, tiles}, b = {p->b, p->columns, padded, p->panels};
	p->owns_a = p->rows >= p->columns;
	p->own = p->owns_a ? a : b;
	p->shared = p->owns_a ? b : a;
	p->parts = at_most(p->own.pieces, rounded_up(divided_up(p->own.count, ROWS), PARTS));
	if (p->owns_a) { // parts of the same size
		p->own.pieces = rounded_up(tiles, p->parts);
	} else {
		p->parts = divided_up(p->panels, p->panels / p->parts);
	}
	p->block_steps = rounded_up(divided_up(p->steps, divided_up(p->steps, DEPTH_STEPS)), BAND);
	int64_t block_bytes = p->shared.padded * p->block_steps * 4, steps = at_least(1, SHARED_BYTES / block_bytes) * p->block_steps;
	p->packed = block(p->shared.padded * at_most(steps, p->steps) * 4);
	p->sums = direct ? p->c : block(p->rows * padded * 4);
	p->failed = !p->packed || !p->sums;
	for (p->from = 0; p->from < p->steps && !p->failed; p->from = p->to) {
		p->to = at_most(p->from + steps, p->steps);
		prenas_share(frame, divided_up(p->to - p->from, BAND), pack_shared, p);
		prenas_share(frame, p->parts, sum_part, p);
	}
	if (!direct) {
		if (!p->failed) {
			prenas_share(frame, p->rows, store_row, p);
		}
		free(p->sums);
	}
	free(p->packed);
}

// The rows of a matrix whose last axis are its columns.
static int64_t rows_of(const ffi_buffer *b) {
	int64_t rows = 1;
	for (int64_t i = 0; i + 1 < b->rank; i++) {
		rows *= b->dims[i];
	}
	return rows;
}

static int64_t columns_of(const ffi_buffer *b) { return b->rank ? b->dims[b->rank - 1] : 0; }

static bool read_product(product *p, ffi_frame *frame) {
	if (frame->operands.size != 2 || frame->results.size != 1) {
		return false;
	}
	const ffi_buffer *a = frame->operands.buffers[0], *b = frame->operands.buffers[1], *c = frame->results.buffers[0];
	*p = (product){.a = a->data, .b = b->data, .c = c->data, .bf16 = a->dtype == FFI_BF16, .c_bf16 = c->dtype == FFI_BF16,
		.over = prenas_attribute(frame, "over", -1), .rows = rows_of(c), .columns = columns_of(c)};
	bool types = a->dtype == b->dtype && (p->bf16 || a->dtype == FFI_FLOAT32) && (p->c_bf16 || c->dtype == FFI_FLOAT32);
	bool fits;
	if (p->over == PRENAS_OVER_ROWS) {
		p->depth = rows_of(a);
		fits = rows_of(b) == p->depth && columns_of(a) == p->rows && columns_of(b) == p->columns;
	} else {
		p->depth = columns_of(a);
		fits = rows_of(a) == p->rows && (p->over == PRENAS_OVER_COLUMNS ? rows_of(b) == p->columns && columns_of(b) == p->depth
		                                                              : p->over == PRENAS_OVER_BOTH && rows_of(b) == p->depth && columns_of(b) == p->columns) &&
		       (!p->bf16 || p->depth % 2 == 0); // pairs lie along the rows of a
	}
	p->value_bytes = p->bf16 ? 2 : 4;
	p->per_step = p->bf16 ? 2 : 1;
	p->steps = divided_up(p->depth, p->per_step);
	// The wider tile where it leaves fewer columns empty.
	int vectors = divided_up(p->columns, 48) * 48 < divided_up(p->columns, 32) * 32 ? 3 : 2;
	bool able = p->bf16 ? prenas_tiles_bf16(vectors, &p->tiles) : prenas_tiles_float32(vectors, &p->tiles);
	p->width = 16 * vectors;
	p->panels = divided_up(p->columns, p->width);
	return types && fits && able && p->rows > 0 && p->columns > 0 && p->depth > 0 && (!p->c_bf16 || prenas_products(true));
}

ffi_error *prenas_product(ffi_frame *frame) {
	if (prenas_described(frame)) {
		return NULL;
	}
	product p;
	if (!read_product(&p, frame)) {
		return prenas_error(frame, FFI_INVALID_ARGUMENT, "product of matrices that do not go together, or on a processor without AVX-512");
	}
	if (p.bf16 && prenas_amx()) {
		prenas_factors of = {.a = p.a, .b = p.b, .c = p.c, .rows = p.rows, .columns = p.columns, .depth = p.depth, .over = p.over, .c_bf16 = p.c_bf16};
		p.failed = !prenas_product_amx(frame, &of);
	} else if (p.over == PRENAS_OVER_ROWS) {
		sum_rows(frame, &p);
	} else {
		multiply(frame, &p);
	}
	return p.failed ? prenas_error(frame, FFI_RESOURCE_EXHAUSTED, "no memory left for a product") : NULL;
}

bool prenas_products(bool bf16) {
	prenas_tiles tiles;
	return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
	       (bf16 ? prenas_tiles_bf16(2, &tiles) : prenas_tiles_float32(2, &tiles));
}

#else

ffi_error *prenas_product(ffi_frame *frame) {
	return prenas_described(frame) ? NULL : prenas_error(frame, FFI_INVALID_ARGUMENT, "products need a processor with AVX-512");
}

bool prenas_products(bool bf16) { return false; }

#endif
