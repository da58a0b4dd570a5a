//go:build linux && cgo

// Products of matrices, in float32 and bf16, for processors with AVX-512.
//
// XLA's own run at 50 to 75 % of what a processor can do in bf16 where a side has few
// columns, as the layers of small networks have. Here all shapes are cut into the same tiles (tiles.h):
//
//	c = a · b, b [depth, columns] or b [columns, depth] transposed
//
//	    b      is packed once, in panels as wide as a tile
//	    c      in parts of some rows; for each panel, all tiles of the part: the panel stays in the
//	           nearest cache, the part's rows of a in the next
//
//	c = aᵀ · b, a [depth, rows], b [depth, columns], which sums over the many rows of a batch
//
//	    b      is packed in blocks of some depth that fit the cache; so is a in bf16, pairs of
//	           its rows side by side
//	    c      is divided into parts, and the depth into ranges with a sum each; the sums are added in order
//
// How a product is divided depends on its shape alone, so the number of threads does not
// change a bit of it.

#include "call.h"
#include "numbers.h"
#include "tiles.h"

#include <stdlib.h>
#include <string.h>

#pragma GCC optimize("O3")

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16,prefer-vector-width=512")))
#define TARGET_FLOAT32 __attribute__((target("avx512f,avx512bw,avx512vl,prefer-vector-width=512")))

enum {
	PARTS = 8,            // a product is cut into at least as many, if it is large enough
	ROWS = 168,           // of a part: 12 tiles
	DEPTH_STEPS = 256,    // of a block
	BLOCK_BYTES = 400000, // of a's block
	SUM_BYTES = 8 << 20,  // of all sums of one product
	SIDE = 640,           // rows of a part of aᵀ · b at most
	AHEAD = 40,           // rows that are fetched before they are packed
};

typedef struct {
	const void *a, *b;
	void *c;
	int64_t rows, columns, depth; // c is [rows, columns]
	bool bf16;                    // the operands; c is bf16 if c_bf16
	bool c_bf16;
	int64_t over;                 // what is summed over
	prenas_tiles tiles;
	int64_t width, panels;        // of a tile; how many of them c has
	int64_t steps;                // of the whole depth
	char *packed;                 // b, panel by panel; or the sums
	int64_t row_parts, column_parts, ranges;
	bool failed;
} product;

static void *block(size_t bytes) { return aligned_alloc(64, rounded_up(bytes, 64)); }

// The first so many lanes of a vector.
static inline __mmask16 lanes(int64_t count) { return count >= 16 ? 0xffff : count > 0 ? (1u << count) - 1 : 0; }

// Copies count values of four bytes and then zeros, width in all. (A call of memcpy takes longer than so few.)
TARGET_FLOAT32 static inline void copy(uint32_t *to, const uint32_t *from, int64_t count, int64_t width) {
	for (int64_t j = 0; j < width; j += 16) {
		_mm512_mask_storeu_epi32(to + j, lanes(width - j), _mm512_maskz_loadu_epi32(lanes(count - j), from + j));
	}
}

// Columns [0, count) of rows of values that lie row_values apart, as steps: to[s·width + j].
// Of bf16 values two rows make a step; a last one alone gets a row of zeros.
TARGET_FLOAT32 static void pack_rows(uint32_t *to, int64_t width, const char *from, int64_t row_values, int64_t count, int64_t depth, bool bf16) {
	if (!bf16) {
		for (int64_t d = 0; d < depth; d++, to += width) {
			copy(to, (const uint32_t *)from + d * row_values, count, width);
		}
		return;
	}
	for (int64_t d = 0; d < depth; d += 2, to += width) {
		const uint16_t *x = (const uint16_t *)from + d * row_values;
		// Rows lie too far apart for the processor to see which comes next.
		__builtin_prefetch(x + AHEAD * row_values);
		__builtin_prefetch(x + (AHEAD + 1) * row_values);
		for (int64_t j = 0; j < width; j += 16) {
			__mmask16 here = lanes(width - j), there = lanes(count - j), second = d + 1 < depth ? there : 0;
			__m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, x + j));
			__m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(second, x + row_values + j));
			_mm512_mask_storeu_epi32(to + j, here, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
		}
	}
}

// Packs panel i of b.
static void pack_panel(void *work, int64_t i) {
	product *p = work;
	int64_t first = i * p->width, count = at_most(p->width, p->columns - first);
	uint32_t *to = (uint32_t *)p->packed + i * p->width * p->steps;
	if (p->over != PRENAS_OVER_COLUMNS) {
		pack_rows(to, p->width, (const char *)p->b + first * (p->bf16 ? 2 : 4), p->columns, count, p->depth, p->bf16);
		return;
	}
	const uint32_t *rows = (const uint32_t *)p->b + first * p->steps;
	for (int64_t s = 0; s < p->steps; s++, to += p->width) {
		for (int64_t j = 0; j < count; j++) {
			to[j] = rows[j * p->steps + s];
		}
		memset(to + count, 0, (p->width - count) * 4);
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
		copy((uint32_t *)to, (const uint32_t *)from, count, count);
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
		const uint32_t *b = (const uint32_t *)p->packed + panel * p->width * p->steps;
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
	p->column_parts = at_most(p->panels, divided_up(PARTS, p->row_parts));
	prenas_share(frame, p->panels, pack_panel, p);
	prenas_share(frame, p->row_parts * p->column_parts, multiply_part, p);
	free(p->packed);
}

// One range of the depth of some rows and panels of aᵀ · b, into a sum of its own.
static void sum_part(void *work, int64_t part) {
	product *p = work;
	int64_t range = part % p->ranges, row_part = part / p->ranges % p->row_parts, column_part = part / p->ranges / p->row_parts;
	int64_t per_step = p->bf16 ? 2 : 1, value = p->bf16 ? 2 : 4;
	int64_t first = p->rows * row_part / p->row_parts, rows = p->rows * (row_part + 1) / p->row_parts - first;
	int64_t panel = p->panels * column_part / p->column_parts, panels_end = p->panels * (column_part + 1) / p->column_parts;
	int64_t from = p->steps * range / p->ranges, to = p->steps * (range + 1) / p->ranges;
	int64_t tiles = divided_up(rows, p->tiles.rows), padded = p->panels * p->width;
	int64_t steps = at_most(DEPTH_STEPS, at_least(64, BLOCK_BYTES / (4 * rows)));
	float *sum = (float *)p->packed + (range * p->rows + first) * padded;
	uint32_t *a = block(steps * rows * 4), *b = block(steps * p->width * 4);
	if (!a || !b) {
		__atomic_store_n(&p->failed, true, __ATOMIC_RELAXED);
		free(a);
		free(b);
		return;
	}
	for (int64_t at = from; at < to; at += steps) {
		int64_t count = at_most(steps, to - at);                                           // steps of this block
		int64_t depth = at_most(count * per_step, p->depth - at * per_step);               // rows of a and b in it
		const char *a_rows = (const char *)p->a + (at * per_step * p->rows + first) * value;
		for (int64_t t = 0; t < tiles && p->bf16; t++) { // float32 is read as it lies: it has no pairs
			int64_t row = rows * t / tiles, end = rows * (t + 1) / tiles;
			pack_rows(a + row * steps, end - row, a_rows + row * value, p->rows, end - row, depth, true);
		}
		for (int64_t q = panel; q < panels_end; q++) {
			int64_t column = q * p->width;
			pack_rows(b, p->width, (const char *)p->b + (at * per_step * p->columns + column) * value, p->columns,
				at_most(p->width, p->columns - column), depth, p->bf16);
			for (int64_t t = 0; t < tiles; t++) {
				int64_t row = rows * t / tiles, end = rows * (t + 1) / tiles;
				const void *of_a = p->bf16 ? a + row * steps : (const uint32_t *)a_rows + row;
				p->tiles.of_rows[end - row](of_a, 1, p->bf16 ? end - row : p->rows, b, count, sum + row * padded + column, padded, at > from);
			}
		}
	}
	free(a);
	free(b);
}

// Row i of c from the sums.
TARGET static void add_ranges(void *work, int64_t i) {
	product *p = work;
	int64_t padded = p->panels * p->width;
	float *sum = (float *)p->packed + i * padded;
	for (int64_t r = 1; r < p->ranges; r++) {
		const float *other = sum + r * p->rows * padded;
		for (int64_t j = 0; j < p->columns; j++) {
			sum[j] += other[j];
		}
	}
	if (p->c_bf16) {
		store_bf16((uint16_t *)p->c + i * p->columns, p->columns, sum, padded, 1, p->columns);
	} else {
		memcpy((float *)p->c + i * p->columns, sum, p->columns * sizeof(float));
	}
}

static void sum_rows(ffi_frame *frame, product *p) {
	int64_t bytes = p->rows * p->panels * p->width * 4;
	p->ranges = at_least(1, at_most(at_most(PARTS, SUM_BYTES / bytes), p->steps / DEPTH_STEPS));
	int64_t parts = divided_up(PARTS, p->ranges);
	p->row_parts = divided_up(p->rows, SIDE);
	if (p->rows > p->columns) {
		p->row_parts = at_most(at_least(p->row_parts, parts), divided_up(p->rows, 4 * p->tiles.rows));
	} else {
		p->column_parts = at_most(divided_up(parts, p->row_parts), divided_up(p->panels, 2));
	}
	p->column_parts = at_least(1, p->column_parts);
	p->packed = block(p->ranges * bytes);
	if (!p->packed) {
		p->failed = true;
		return;
	}
	prenas_share(frame, p->ranges * p->row_parts * p->column_parts, sum_part, p);
	if (!p->failed) {
		prenas_share(frame, p->rows, add_ranges, p);
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
	p->steps = p->bf16 ? (p->depth + 1) / 2 : p->depth;
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
	if (p.over == PRENAS_OVER_ROWS) {
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
