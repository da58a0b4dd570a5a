//go:build linux && cgo

// Attention, forward and backward, with 2-D relative positions or without, for processors with AVX-512.
//
// As operations of XLA attention writes matrices [n, heads, tokens, tokens] half a dozen times, some of
// them for the backward pass to read again. Here one head of one image at a time is computed in the cache,
// from the projections qkv [n, tokens, 3·heads·d] to the result [n, tokens, heads·d], and the backward pass
// computes the matrix of attention anew: nothing of the size tokens² leaves the cache.
//
//	s = scale · q · [k; T]ᵀ                    T: the key tables' rows
//	s[i][j] += s[i][column of i's and j's distance in T], the vertical and the horizontal one
//	p = exp(s - max)
//	w[i][t] = Σ p[i][j] over the keys j whose distance has row t in the value tables
//	o = [p, w] · [v; U] / Σ p                  U: the value tables' rows
//
// so relative positions (Wu et al., Rethinking and Improving Relative Position Encoding for Vision Transformer,
// 2021, as AutoFormer and PreNAS use them) are a few more columns of the same products. T and U begin with one row for
// pairs with the class token, the sum of the first rows of both tables; then come the vertical table's rows for distances
// from -limit to limit, then the horizontal table's. With e the adjoint of o, the backward pass is
//
//	f = e · [v; U]ᵀ, with distances added as to s;  g = scale · p · (f - Σ p·f), with p divided by its sum
//	adjoints: of q: [g, sums of g as w] · [k; T];  of [k; T]: [g, sums]ᵀ · q;  of [v; U]: [p, w]ᵀ · e
//
// What is no product goes over whole vectors of keys. Distances are looked up by the place of a key: the
// columns that a query needs are first put in the order of the grid's rows, and of its columns, which for grids of up to 31
// takes two registers each, from which one instruction picks for 16 keys. Sums over distances are sums over
// rows and columns of the grid.
//
// Heads are divided into groups by shape alone, and each group sums the tables' adjoints in its order: the
// number of threads does not change a bit.

#include "amx.h"
#include "call.h"
#include "numbers.h"
#include "packing.h"
#include "tiles.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC optimize("O3")

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512")))
#define LOG2E 1.44269504f
#define TARGET_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,prefer-vector-width=512")))

enum {
	GROUPS = 64,    // of heads of images
	QUERIES = 84,   // at a time, at most; even
	QUERIES_AMX = 128, // the same on tiles of AMX, of 16 rows; more, so that arrays have room for both
	PANELS = 64,    // of a product's columns at most
	NEAR = 32,      // places that fit two registers
	PAST_CACHES = 2 << 20, // bytes of a result of tiles that is written past them
};

// The columns of a product in panels of 2 or 3 vectors.
typedef struct {
	int64_t width; // all of them, in values
	int count;
	int vectors[PANELS];
} panels;

static bool panels_of(panels *p, int64_t columns) {
	int64_t vectors = at_least(2, divided_up(columns, 16));
	int64_t threes = vectors % 3 == 0 ? vectors / 3 : vectors % 3 == 2 ? vectors / 3 : vectors / 3 - 1;
	int64_t twos = (vectors - 3 * threes) / 2;
	*p = (panels){.width = 16 * vectors, .count = threes + twos};
	for (int i = 0; i < p->count && p->count <= PANELS; i++) {
		p->vectors[i] = i < threes ? 3 : 2;
	}
	return p->count <= PANELS;
}

typedef struct {
	int64_t images, tokens, heads, size; // size: of a head, d
	int64_t side, limit;                 // of the grid of patches; the largest distance with a row of its own
	int64_t rows;                        // of a table; 0 without relative positions
	int64_t of_tables;                   // rows of T: those of both tables, their first rows as one
	int64_t keys;                        // tokens and the rows of T
	int64_t row;                         // from one query's scores to the next's, in values
	int64_t queries;                     // at a time
	float scale;
	bool bf16;
	bool amx;                            // products on tiles of AMX, of bf16 only
	bool past_caches;                    // the result is large, and written past them
	int64_t value;                       // bytes of one
	panels over_keys, over_size;
	prenas_tiles two, three;
	const char *qkv, *e;                 // e: the adjoint of the result
	const float *tables[4];              // key vertical, key horizontal, value vertical, value horizontal: [rows, d]
	char *o, *adjoint;                   // the result; the adjoint of qkv
	float *sums;                         // of the adjoints of the tables, [groups, 4, rows, d]
	char *stacked;                       // T and U, [2, of_tables, d], as the operands
	int32_t *places;                     // [2, padded]: the grid's row, and column, of each token's patch, from 1 on; 0 for the class token
	int64_t padded;                      // tokens, in whole vectors
	int64_t spread;                      // places of a row or column, in whole vectors, NEAR at least
	int64_t groups;
	bool failed;
} attention;

// Steps of four bytes in so many values.
static inline int64_t steps_of(const attention *a, int64_t values) { return a->bf16 ? (values + 1) / 2 : values; }

// Bytes of an operand that is packed for a product over a depth: of so many columns, in whole vectors, or rows of tiles.
static int64_t packed_bytes(const attention *a, int64_t depth, int64_t width) {
	return a->amx ? 64 * rounded_up(width, 16) * divided_up(depth, 32) : 4 * steps_of(a, depth) * width;
}

#ifdef PRENAS_AMX

// Packs rows of values for a product over them, row_bytes apart, as the left operand.
TARGET static void amx_left(char *to, const char *rows, int64_t row_bytes, int64_t count, int64_t size) {
	int64_t steps = divided_up(size, AMX_DEPTH);
	for (int64_t i = 0; i < rounded_up(count, AMX_ROWS); i++) {
		char *row = to + i / AMX_ROWS * steps * AMX_TILE + i % AMX_ROWS * 64;
		for (int64_t s = 0; s < steps; s++) {
			_mm512_store_si512(row + s * AMX_TILE, i < count ? _mm512_maskz_loadu_epi16(halves(size - AMX_DEPTH * s), rows + i * row_bytes + 64 * s) : _mm512_setzero_si512());
		}
	}
}

// The same of scores of some queries, for a product over keys.
TARGET_BF16 static void amx_scores(const attention *a, char *to, const float *s, int64_t count) {
	int64_t width = rounded_up(a->keys, 16), steps = divided_up(a->keys, AMX_DEPTH);
	for (int64_t i = 0; i < rounded_up(count, AMX_ROWS); i++) {
		char *row = to + i / AMX_ROWS * steps * AMX_TILE + i % AMX_ROWS * 64;
		const float *from = s + i * a->row;
		for (int64_t k = 0; k < steps; k++) {
			__m512 low = i < count ? _mm512_load_ps(from + 32 * k) : _mm512_setzero_ps();
			__m512 high = i < count && 32 * k + 16 < width ? _mm512_load_ps(from + 32 * k + 16) : _mm512_setzero_ps();
			_mm512_store_si512(row + k * AMX_TILE, (__m512i)_mm512_cvtne2ps_pbh(high, low));
		}
	}
}

// Scores of some queries as the left operand of a product over queries: rows of tiles are keys.
TARGET_BF16 static void amx_columns(const attention *a, char *to, const float *s, int64_t count) {
	__m512i sides = pair_order();
	int64_t steps = divided_up(count, AMX_DEPTH);
	for (int64_t j = 0; j < a->keys; j += AMX_ROWS) {
		for (int64_t k = 0; k < steps; k++, to += AMX_TILE) {
			__m512i x[16];
			for (int i = 0; i < 16; i++) {
				int64_t query = AMX_DEPTH * k + 2 * i;
				__m512 even = query < count ? _mm512_load_ps(s + query * a->row + j) : _mm512_setzero_ps();
				__m512 odd = query + 1 < count ? _mm512_load_ps(s + (query + 1) * a->row + j) : _mm512_setzero_ps();
				x[i] = _mm512_permutexvar_epi16(sides, (__m512i)_mm512_cvtne2ps_pbh(odd, even));
			}
			transpose(x);
			for (int i = 0; i < 16; i++) {
				_mm512_store_si512(to + 64 * i, x[i]);
			}
		}
	}
}

// Packs rows of d values for a product over d as the right operand.
TARGET static void amx_over_size(const attention *a, char *to, const char *const *rows) {
	int64_t steps = divided_up(a->size, AMX_DEPTH);
	for (int64_t first = 0; first < a->keys; first += 16) {
		for (int64_t s = 0; s < steps; s++, to += AMX_TILE) {
			__m512i x[16];
			for (int i = 0; i < 16; i++) {
				x[i] = first + i < a->keys ? _mm512_maskz_loadu_epi16(halves(a->size - AMX_DEPTH * s), rows[first + i] + 64 * s) : _mm512_setzero_si512();
			}
			transpose(x);
			for (int i = 0; i < 16; i++) {
				_mm512_store_si512(to + 64 * i, x[i]);
			}
		}
	}
}

// Packs count rows of d values for a product over the rows as the right operand.
TARGET static void amx_over_rows(const attention *a, char *to, const char *const *rows, int64_t count) {
	int64_t steps = divided_up(count, AMX_DEPTH);
	for (int64_t j = 0; j < a->size; j += AMX_BLOCK, to += 2 * steps * AMX_TILE) {
		bool wide = a->size - j > 16;
		__mmask32 there = halves(a->size - j);
		for (int64_t r = 0; r < steps * AMX_DEPTH; r += 2) {
			__m512i even = _mm512_setzero_si512(), odd = even, low, high;
			if (r < count) {
				even = _mm512_maskz_loadu_epi16(there, rows[r] + 2 * j);
			}
			if (r + 1 < count) {
				odd = _mm512_maskz_loadu_epi16(there, rows[r + 1] + 2 * j);
			}
			pair(&low, &high, even, odd);
			_mm512_store_si512(to + 32 * r, low);
			if (wide) {
				_mm512_store_si512(to + steps * AMX_TILE + 32 * r, high);
			}
		}
	}
}

// c = left · right, or added to it: so many rows and columns, in whole tiles.
static void amx_times(const char *left, int64_t rows, const char *right, int64_t columns, int64_t depth, float *c, int64_t c_row, bool add) {
	int64_t steps = divided_up(depth, AMX_DEPTH), next = steps * AMX_TILE;
	for (int64_t j = 0; j < columns; j += AMX_BLOCK) {
		for (int64_t i = 0; i < rows; i += AMX_BLOCK) {
			const char *x = left + i / AMX_ROWS * next, *y = right + j / 16 * next;
			float *to = c + i * c_row + j;
			prenas_amx_packed(rows - i, columns - j, x, y, next, steps, to, c_row, add);
		}
	}
}

#endif

// Packs rows of d values for a product over d: to[step][row], panel by panel.
TARGET static void pack_over_size(const attention *a, uint32_t *to, const char *const *rows) {
#ifdef PRENAS_AMX
	if (a->amx) {
		amx_over_size(a, (char *)to, rows);
		return;
	}
#endif
	int64_t steps = steps_of(a, a->size), first = 0;
	for (int q = 0; q < a->over_keys.count; q++) {
		int64_t width = 16 * a->over_keys.vectors[q];
		for (int64_t from = 0; from < width; from += 16, first += 16) {
			for (int64_t s = 0; s < steps; s += 16) {
				__m512i x[16];
				for (int i = 0; i < 16; i++) {
					x[i] = first + i < a->keys ? _mm512_maskz_loadu_epi32(lanes(steps - s), (const uint32_t *)rows[first + i] + s) : _mm512_setzero_si512();
				}
				transpose(x);
				for (int i = 0; i < 16 && s + i < steps; i++) {
					_mm512_store_si512(to + (s + i) * width + from, x[i]);
				}
			}
		}
		to += steps * width;
	}
}

// Packs count rows of d values for a product over the rows: to[step][value], panel by panel.
TARGET static void pack_over_rows(const attention *a, uint32_t *to, const char *const *rows, int64_t count) {
#ifdef PRENAS_AMX
	if (a->amx) {
		amx_over_rows(a, (char *)to, rows, count);
		return;
	}
#endif
	int64_t first = 0;
	for (int q = 0; q < a->over_size.count; q++) {
		int64_t width = 16 * a->over_size.vectors[q];
		for (int64_t r = 0; r < count; r += a->bf16 ? 2 : 1, to += width) {
			for (int64_t j = 0; j < width; j += 16) {
				__mmask16 there = lanes(a->size - first - j), second = r + 1 < count ? there : 0;
				__m512i values;
				if (a->bf16) {
					__m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, (const uint16_t *)rows[r] + first + j));
					__m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(second, (const uint16_t *)rows[r + (second != 0)] + first + j));
					values = _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
				} else {
					values = _mm512_maskz_loadu_epi32(there, (const uint32_t *)rows[r] + first + j);
				}
				_mm512_store_si512(to + j, values);
			}
		}
		first += width;
	}
}

// c = x · packed, or added to it: rows of x and c, columns by panels.
static void times(const attention *a, const panels *p, const void *x, int64_t x_row, int64_t x_step, int64_t rows,
	const uint32_t *packed, int64_t steps, float *c, int64_t c_row, bool add) {
	for (int q = 0; q < p->count; q++) {
		const prenas_tiles *tiles = p->vectors[q] == 2 ? &a->two : &a->three;
		int64_t width = 16 * p->vectors[q], count = divided_up(rows, tiles->rows);
		float *column = c;
		for (int64_t t = 0; t < count; t++) {
			int64_t from = rows * t / count, to = rows * (t + 1) / count;
			tiles->of_rows[to - from]((const uint32_t *)x + from * x_row, x_row, x_step, packed, steps, column + from * c_row, c_row, add);
		}
		packed += steps * width;
		c += width;
	}
}

// 2^x for x of at most 0, to 2e-7 of it, and 1 for 0; NaN for NaN. The polynomial is 2^r to 8e-8 for r from 0 to 1.
TARGET static inline __m512 power_of_2(__m512 x) {
	__m512 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); // x less the whole number below, by which scalef scales
	__m512 p = _mm512_set1_ps(1.867130213e-3f);
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.017030019e-3f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.579991332e-2f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.401644501e-1f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.931513118e-1f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1));
	return _mm512_scalef_ps(p, x);
}

// A query's columns for distances, by the places of keys: [0] for the class token, then the grid's rows; and the same of its columns.
typedef struct {
	bool near;
	__m512 first[2], second[2]; // NEAR of them
	const float *all[2];
	const int32_t *places[2];   // of all keys
} distances;

// Where the columns of s for distances by rows (axis 0) or columns (axis 1) begin, those of distance -limit.
static inline int64_t table_column(const attention *a, int axis) { return a->tokens + 1 + axis * (2 * a->limit + 1); }

// Where the one of a distance is from there.
static inline int64_t index_of(const attention *a, int64_t distance) {
	return at_least(-a->limit, at_most(a->limit, distance)) + a->limit;
}

// The same for 16 distances one after the other.
TARGET static inline __m512i indices_of(const attention *a, int64_t first) {
	__m512i distance = _mm512_add_epi32(_mm512_set1_epi32(first), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
	distance = _mm512_max_epi32(_mm512_set1_epi32(-a->limit), _mm512_min_epi32(_mm512_set1_epi32(a->limit), distance));
	return _mm512_add_epi32(distance, _mm512_set1_epi32(a->limit));
}

// True if each distance has a column of its own: then those of neighbouring places lie side by side.
static inline bool all_apart(const attention *a) { return a->side <= a->limit + 1; }

// The distances of a query from its row of s. spread, [2, a->spread], is where they are.
TARGET static inline distances distances_of(const attention *a, const float *s, int64_t token, float *spread) {
	distances d;
	d.near = a->spread == NEAR;
	for (int axis = 0; axis < 2; axis++) {
		const float *table = s + table_column(a, axis);
		int64_t place = a->places[axis * a->padded + token];
		float *all = spread + axis * a->spread;
		__m512 class = _mm512_set1_ps(axis == 0 ? s[a->tokens] : 0);
		for (int64_t from = 0; from < a->spread; from += 16) {
			__mmask16 mask = lanes(a->side + 1 - from) & (token == 0 ? 0 : from == 0 ? 0xfffe : 0xffff);
			__m512 x = all_apart(a) ? _mm512_mask_loadu_ps(class, mask, table + a->limit + from - place)
			                        : _mm512_mask_i32gather_ps(class, mask, indices_of(a, from - place), table, 4);
			_mm512_store_ps(all + from, x);
		}
		d.first[axis] = _mm512_load_ps(all);
		d.second[axis] = _mm512_load_ps(all + 16);
		d.all[axis] = all;
		d.places[axis] = a->places + axis * a->padded;
	}
	return d;
}

// The sums of both distances of 16 keys.
TARGET static inline __m512 both_distances(const distances *d, int64_t key) {
	__m512i row = _mm512_load_si512(d->places[0] + key), column = _mm512_load_si512(d->places[1] + key);
	if (d->near) {
		return _mm512_add_ps(_mm512_permutex2var_ps(d->first[0], row, d->second[0]), _mm512_permutex2var_ps(d->first[1], column, d->second[1]));
	}
	return _mm512_add_ps(_mm512_i32gather_ps(row, d->all[0], 4), _mm512_i32gather_ps(column, d->all[1], 4));
}

// The sums of up to 16 rows of up to 16 values, which lie side apart; the columns' are added to over_columns.
TARGET static __attribute__((noinline)) __m512 sums_of(const float *at, int64_t side, int64_t rows, int64_t columns, float *over_columns) {
	__m512 x[16], over_column = _mm512_load_ps(over_columns);
	unsigned of_row = lanes(columns), of_column = lanes(rows);
#pragma GCC unroll 16
	for (int i = 0; i < 16; i++) {
		x[i] = _mm512_maskz_loadu_ps(of_column >> i & 1 ? of_row : 0, at + i * side);
		over_column = _mm512_add_ps(over_column, x[i]);
	}
	_mm512_store_ps(over_columns, over_column);
	for (int i = 0; i < 8; i++) {
		x[i] = _mm512_add_ps(_mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]), _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1]));
	}
	for (int i = 0; i < 4; i++) {
		__m512d even = _mm512_castps_pd(x[2 * i]), odd = _mm512_castps_pd(x[2 * i + 1]);
		x[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(even, odd)), _mm512_castpd_ps(_mm512_unpackhi_pd(even, odd)));
	}
	for (int count = 2; count >= 1; count--) {
		for (int i = 0; i < count; i++) {
			x[i] = _mm512_add_ps(_mm512_shuffle_f32x4(x[2 * i], x[2 * i + 1], 0x88), _mm512_shuffle_f32x4(x[2 * i], x[2 * i + 1], 0xdd));
		}
	}
	return x[0];
}

// Adds count sums over rows or columns of the grid, the first of which is a distance from the query, to the columns of those distances.
TARGET static inline void add_sums(const attention *a, float *table, int64_t distance, __m512 sums, int64_t count) {
	if (all_apart(a)) {
		_mm512_mask_storeu_ps(table + a->limit + distance, lanes(count), sums);
		return;
	}
	float each[16];
	_mm512_storeu_ps(each, sums);
	for (int64_t i = 0; i < at_most(16, count); i++) {
		table[index_of(a, distance + i)] += each[i];
	}
}

// Puts behind the tokens of a query's row p its sums over the keys of each distance. Up to a whole vector zeros are there.
// over_columns, [a->spread], is scratch.
TARGET static void sum_distances(const attention *a, float *p, int64_t token, float *over_columns) {
	float *class = p + a->tokens, *vertical = p + table_column(a, 0), *horizontal = p + table_column(a, 1);
	for (int64_t j = a->padded; j < a->over_keys.width; j += 16) {
		_mm512_store_ps(p + j, _mm512_setzero_ps());
	}
	if (token == 0) {
		__m512 all = _mm512_setzero_ps();
		for (int64_t j = 0; j < a->padded; j += 16) {
			all = _mm512_add_ps(all, _mm512_load_ps(p + j));
		}
		*class = _mm512_reduce_add_ps(all);
		return;
	}
	*class = p[0];
	int64_t side = a->side, row = a->places[token], column = a->places[a->padded + token];
	for (int64_t c = 0; c < side; c += 16) {
		_mm512_store_ps(over_columns + c, _mm512_setzero_ps());
	}
	for (int64_t r = 0; r < side; r += 16) {
		__m512 over_rows = _mm512_setzero_ps();
		for (int64_t c = 0; c < side; c += 16) {
			over_rows = _mm512_add_ps(over_rows, sums_of(p + 1 + r * side + c, side, side - r, side - c, over_columns + c));
		}
		add_sums(a, vertical, r + 1 - row, over_rows, side - r);
	}
	for (int64_t c = 0; c < side; c += 16) {
		add_sums(a, horizontal, c + 1 - column, _mm512_load_ps(over_columns + c), side - c);
	}
}

// Adds to a query's row of scores its columns for distances, and returns the largest. Up to a whole vector -∞ follows it.
TARGET static float largest(const attention *a, float *s, int64_t token, float *spread) {
	int64_t tokens = a->tokens;
	bool relative = a->rows;
	distances d;
	if (relative) {
		d = distances_of(a, s, token, spread);
	}
	__m512 least = _mm512_set1_ps(-INFINITY), most = least;
	for (int64_t j = 0; j < tokens; j += 16) {
		__m512 x = _mm512_load_ps(s + j);
		if (relative) {
			x = _mm512_add_ps(x, both_distances(&d, j));
		}
		x = _mm512_mask_mov_ps(least, lanes(tokens - j), x);
		_mm512_store_ps(s + j, x);
		most = _mm512_max_ps(most, x);
	}
	return _mm512_reduce_max_ps(most);
}

// The row becomes exp(scale·(s - most)), and returns its sum.
TARGET static float exponentials(const attention *a, float *s, float most) {
	__m512 sum = _mm512_setzero_ps(), scale = _mm512_set1_ps(a->scale * LOG2E), less = _mm512_mul_ps(scale, _mm512_set1_ps(most));
	for (int64_t j = 0, tokens = a->tokens; j < tokens; j += 16) {
		__m512 p = power_of_2(_mm512_fmsub_ps(scale, _mm512_load_ps(s + j), less));
		_mm512_store_ps(s + j, p);
		sum = _mm512_add_ps(sum, p);
	}
	return _mm512_reduce_add_ps(sum);
}

// Values as the operands of a product, whole lines of them past the caches if past_caches says so.
TARGET_BF16 static void cast_bf16(uint16_t *to, const float *from, int64_t count, float factor, bool past_caches) {
	int64_t j = 0;
	for (; past_caches && j + 32 <= count && ((uintptr_t)to & 63) == 0; j += 32) {
		__m512 low = _mm512_mul_ps(_mm512_loadu_ps(from + j), _mm512_set1_ps(factor)), high = _mm512_mul_ps(_mm512_loadu_ps(from + j + 16), _mm512_set1_ps(factor));
		_mm512_stream_si512((void *)(to + j), (__m512i)_mm512_cvtne2ps_pbh(high, low));
	}
	for (; j < count; j += 16) {
		__mmask16 mask = lanes(count - j);
		__m512 x = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, from + j), _mm512_set1_ps(factor));
		_mm256_mask_storeu_epi16(to + j, mask, (__m256i)_mm512_cvtneps_pbh(x));
	}
}

static void cast(const attention *a, char *to, const float *from, int64_t count, float factor) {
	if (a->bf16) {
		cast_bf16((uint16_t *)to, from, count, factor, a->past_caches);
		return;
	}
	for (int64_t j = 0; j < count; j++) {
		((float *)to)[j] = from[j] * factor;
	}
}

// Where the values of a head are: part 0 (q), 1 (k) or 2 (v) of qkv's row of a token.
static const char *qkv_row(const attention *a, const char *qkv, int64_t image, int64_t token, int part, int64_t head) {
	return qkv + (((image * a->tokens + token) * 3 + part) * a->heads + head) * a->size * a->value;
}

static const char *o_row(const attention *a, const char *o, int64_t image, int64_t token, int64_t head) {
	return o + ((image * a->tokens + token) * a->heads + head) * a->size * a->value;
}

// The rows of [k; T] or [v; U] of a head.
static void rows_of_keys(const attention *a, const char **rows, int64_t image, int part, int64_t head) {
	for (int64_t j = 0; j < a->tokens; j++) {
		rows[j] = qkv_row(a, a->qkv, image, j, part, head);
	}
	for (int64_t j = 0; j < a->of_tables; j++) {
		rows[a->tokens + j] = a->stacked + ((part - 1) * a->of_tables + j) * a->size * a->value;
	}
}

// Memory of one group, one after the other.
typedef struct {
	char *all;
	const char **rows;                         // [keys]
	uint32_t *keys, *values;                   // [k; T] and [v; U] packed over d
	uint32_t *keys_by_row, *values_by_row;     // and over their rows
	float *s, *f, *result;                     // of some queries: [queries, row] twice, [queries, d's width]
	float *by_place;                           // of one query, [2, spread]
	uint16_t *p;                               // s or f in bf16, [queries, row]
	uint32_t *columns;                         // the same packed over the queries, [steps, row]
	uint32_t *some;                            // rows of q or e packed over the queries
	char *left;                                // of AMX: the left operand of a product
	float *of_keys, *of_values;                // adjoints of [k; T] and [v; U], [keys, d's width]
} scratch;

static bool scratch_make(scratch *m, const attention *a, bool backward) {
	int64_t keys = rounded_up(a->keys, 16), left = at_least(packed_bytes(a, a->size, a->queries), packed_bytes(a, a->keys, a->queries));
	struct {
		void *field;
		int64_t bytes;
	} parts[] = {
		{&m->rows, 8 * a->keys},
		{&m->keys, packed_bytes(a, a->size, a->over_keys.width)},
		{&m->values_by_row, packed_bytes(a, a->keys, a->over_size.width)},
		{&m->s, 4 * a->queries * a->row},
		{&m->result, 4 * a->queries * a->over_size.width},
		{&m->by_place, 4 * 2 * a->spread},
		{&m->p, a->amx ? 0 : 2 * a->queries * a->row},
		{&m->left, a->amx ? at_least(left, backward ? packed_bytes(a, a->queries, a->over_keys.width) : 0) : 0},
		// Backward only.
		{&m->values, packed_bytes(a, a->size, a->over_keys.width)},
		{&m->keys_by_row, packed_bytes(a, a->keys, a->over_size.width)},
		{&m->f, 4 * a->queries * a->row},
		{&m->columns, a->amx ? 0 : 4 * steps_of(a, a->queries) * a->row},
		{&m->some, packed_bytes(a, a->queries, a->over_size.width)},
		{&m->of_keys, 4 * keys * a->over_size.width},
		{&m->of_values, 4 * keys * a->over_size.width},
	};
	int count = backward ? sizeof parts / sizeof *parts : 8;
	int64_t bytes = 0;
	for (int i = 0; i < count; i++) {
		bytes += rounded_up(parts[i].bytes, 64);
	}
	if (!(m->all = aligned_alloc(64, bytes))) {
		return false;
	}
	char *at = m->all;
	for (int i = 0; i < count; i++) {
		*(char **)parts[i].field = at;
		at += rounded_up(parts[i].bytes, 64);
	}
	return true;
}

// Rows of scores as operands of a product over keys: as they are, or in bf16.
TARGET_BF16 static const void *over_keys(const attention *a, scratch *m, const float *s, int64_t count) {
	for (int64_t i = 0; i < count && a->bf16; i++) {
		for (int64_t j = 0; j < a->over_keys.width; j += 16) {
			_mm256_store_si256((__m256i *)(m->p + i * a->row + j), (__m256i)_mm512_cvtneps_pbh(_mm512_load_ps(s + i * a->row + j)));
		}
	}
	return a->bf16 ? (const void *)m->p : s;
}

// And of one over queries: as they are, or in bf16, pairs of rows side by side.
TARGET_BF16 static const void *over_queries(const attention *a, scratch *m, const float *s, int64_t count) {
	__m512i sides = pair_order();
	for (int64_t i = 0; i < count && a->bf16; i += 2) {
		for (int64_t j = 0; j < a->over_keys.width; j += 16) {
			__m512 x = _mm512_load_ps(s + i * a->row + j), y = i + 1 < count ? _mm512_load_ps(s + (i + 1) * a->row + j) : _mm512_setzero_ps();
			_mm512_store_si512(m->columns + i / 2 * a->row + j, _mm512_permutexvar_epi16(sides, (__m512i)_mm512_cvtne2ps_pbh(y, x)));
		}
	}
	return a->bf16 ? (const void *)m->columns : s;
}

// c = rows of q or e, row_bytes apart, · packed: a product over d.
static void times_over_size(const attention *a, scratch *m, const char *rows, int64_t row_bytes, int64_t count, const uint32_t *packed, float *c) {
#ifdef PRENAS_AMX
	if (a->amx) {
		amx_left(m->left, rows, row_bytes, count, a->size);
		amx_times(m->left, count, (const char *)packed, a->keys, a->size, c, a->row, false);
		return;
	}
#endif
	times(a, &a->over_keys, rows, row_bytes / 4, 1, count, packed, steps_of(a, a->size), c, a->row, false);
}

// The result of some queries: rows of scores · packed, a product over keys.
static void times_over_keys(const attention *a, scratch *m, const float *s, int64_t count, const uint32_t *packed) {
#ifdef PRENAS_AMX
	if (a->amx) {
		amx_scores(a, m->left, s, count);
		amx_times(m->left, count, (const char *)packed, a->size, a->keys, m->result, a->over_size.width, false);
		return;
	}
#endif
	times(a, &a->over_size, over_keys(a, m, s, count), a->row * a->value / 4, 1, count, packed, steps_of(a, a->keys), m->result, a->over_size.width, false);
}

// What the next head of a group begins with comes to a nearer cache meanwhile: rows of q, k, v and, backward, e, of the tokens that this head's queries have.
static void ask_ahead(const attention *a, int64_t image, int64_t head, int64_t first, int64_t count) {
	int64_t next = (image * a->heads + head + 1) % (a->images * a->heads), bytes = a->size * a->value;
	image = next / a->heads;
	head = next % a->heads;
	for (int64_t i = first; i < first + count; i++) {
		for (int64_t line = 0; line < bytes; line += 64) {
			for (int part = 0; part < 3; part++) {
				__builtin_prefetch(qkv_row(a, a->qkv, image, i, part, head) + line, 0, 2);
			}
			if (a->adjoint) {
				__builtin_prefetch(o_row(a, a->e, image, i, head) + line, 0, 2);
			}
		}
	}
}

// p of some queries from the first on, as exponentials in s; their sums.
static void scores(const attention *a, scratch *m, int64_t image, int64_t head, int64_t first, int64_t count, float *sums) {
	times_over_size(a, m, qkv_row(a, a->qkv, image, first, 0, head), 3 * a->heads * a->size * a->value, count, m->keys, m->s);
	if (a->amx) { // vectors take so long that it makes no difference
		ask_ahead(a, image, head, first, count);
	}
	// Step by step: what one row waits for, the next has the time of.
	for (int64_t i = 0; i < count; i++) {
		sums[i] = largest(a, m->s + i * a->row, first + i, m->by_place);
	}
	for (int64_t i = 0; i < count; i++) {
		sums[i] = exponentials(a, m->s + i * a->row, sums[i]);
	}
	for (int64_t i = 0; i < count && a->rows; i++) {
		sum_distances(a, m->s + i * a->row, first + i, m->by_place);
	}
}

static void forward_head(attention *a, scratch *m, int64_t image, int64_t head) {
	rows_of_keys(a, m->rows, image, 1, head);
	pack_over_size(a, m->keys, m->rows);
	rows_of_keys(a, m->rows, image, 2, head);
	pack_over_rows(a, m->values_by_row, m->rows, a->keys);
	for (int64_t first = 0; first < a->tokens; first += a->queries) {
		int64_t count = at_most(a->queries, a->tokens - first);
		float sums[QUERIES_AMX];
		scores(a, m, image, head, first, count, sums);
		times_over_keys(a, m, m->s, count, m->values_by_row);
		for (int64_t i = 0; i < count; i++) {
			cast(a, (char *)o_row(a, a->o, image, first + i, head), m->result + i * a->over_size.width, a->size, 1 / sums[i]);
		}
	}
}

// A query's row of p is divided by its sum, and distances are added to its row of f. Returns Σ p·f.
TARGET static float divide(const attention *a, float *p, float *f, float sum, int64_t token, float *spread) {
	int64_t tokens = a->tokens;
	bool relative = a->rows;
	distances d;
	if (relative) {
		d = distances_of(a, f, token, spread);
	}
	__m512 factor = _mm512_set1_ps(1 / sum), along = _mm512_setzero_ps();
	for (int64_t j = 0; j < tokens; j += 16) {
		__m512 x = _mm512_mul_ps(factor, _mm512_load_ps(p + j)), y = _mm512_load_ps(f + j);
		if (relative) {
			y = _mm512_add_ps(y, both_distances(&d, j));
			_mm512_store_ps(f + j, y);
		}
		_mm512_store_ps(p + j, x);
		along = _mm512_mask3_fmadd_ps(x, y, along, lanes(tokens - j));
	}
	for (int64_t j = a->padded; j < a->over_keys.width; j += 16) {
		_mm512_store_ps(p + j, _mm512_mul_ps(factor, _mm512_load_ps(p + j)));
	}
	return _mm512_reduce_add_ps(along);
}

// Its row of f becomes g. Up to a whole vector zeros follow it.
TARGET static void adjoint_of_scores(const attention *a, const float *p, float *f, float along) {
	int64_t tokens = a->tokens;
	__m512 mean = _mm512_set1_ps(along), scale = _mm512_set1_ps(a->scale);
	for (int64_t j = 0; j < tokens; j += 16) {
		__m512 x = _mm512_mul_ps(scale, _mm512_load_ps(p + j));
		_mm512_store_ps(f + j, _mm512_maskz_mul_ps(lanes(tokens - j), x, _mm512_sub_ps(_mm512_load_ps(f + j), mean)));
	}
}

// of += xᵀ · rows, x rows of scores and rows those of q or e that the same queries have.
static void add_over_queries(const attention *a, scratch *m, const float *x, int64_t count, const char *rows, int64_t bytes, float *of, bool add) {
	const char *each[QUERIES_AMX] = {NULL};
	for (int64_t i = 0; i < count; i++) {
		each[i] = rows + i * bytes;
	}
	pack_over_rows(a, m->some, each, count);
#ifdef PRENAS_AMX
	if (a->amx) {
		amx_columns(a, m->left, x, count);
		amx_times(m->left, a->keys, (const char *)m->some, a->size, count, of, a->over_size.width, add);
		return;
	}
#endif
	times(a, &a->over_size, over_queries(a, m, x, count), 1, a->row, a->keys, m->some, steps_of(a, count), of, a->over_size.width, add);
}

static void backward_head(attention *a, scratch *m, int64_t image, int64_t head, float *of_tables) {
	int64_t row_bytes = 3 * a->heads * a->size * a->value, e_bytes = a->heads * a->size * a->value;
	rows_of_keys(a, m->rows, image, 1, head);
	pack_over_size(a, m->keys, m->rows);
	pack_over_rows(a, m->keys_by_row, m->rows, a->keys);
	rows_of_keys(a, m->rows, image, 2, head);
	pack_over_size(a, m->values, m->rows);
	for (int64_t first = 0; first < a->tokens; first += a->queries) {
		int64_t count = at_most(a->queries, a->tokens - first);
		const char *e = o_row(a, a->e, image, first, head);
		float sums[QUERIES_AMX];
		scores(a, m, image, head, first, count, sums);
		times_over_size(a, m, e, e_bytes, count, m->values, m->f);
		for (int64_t i = 0; i < count; i++) {
			sums[i] = divide(a, m->s + i * a->row, m->f + i * a->row, sums[i], first + i, m->by_place);
		}
		for (int64_t i = 0; i < count; i++) {
			adjoint_of_scores(a, m->s + i * a->row, m->f + i * a->row, sums[i]);
		}
		for (int64_t i = 0; i < count && a->rows; i++) {
			sum_distances(a, m->f + i * a->row, first + i, m->by_place);
		}
		add_over_queries(a, m, m->s, count, e, e_bytes, m->of_values, first > 0);
		add_over_queries(a, m, m->f, count, qkv_row(a, a->qkv, image, first, 0, head), row_bytes, m->of_keys, first > 0);
		times_over_keys(a, m, m->f, count, m->keys_by_row);
		for (int64_t i = 0; i < count; i++) {
			cast(a, (char *)qkv_row(a, a->adjoint, image, first + i, 0, head), m->result + i * a->over_size.width, a->size, 1);
		}
	}
	for (int part = 1; part <= 2; part++) {
		const float *of = part == 1 ? m->of_keys : m->of_values;
		for (int64_t j = 0; j < a->tokens; j++, of += a->over_size.width) {
			cast(a, (char *)qkv_row(a, a->adjoint, image, j, part, head), of, a->size, 1);
		}
		// The row of T for the class token is the first of both tables.
		for (int64_t j = 0; j < 2 * a->rows; j++, of_tables += a->size) {
			const float *row = of + (j < a->rows ? j : j == a->rows ? 0 : j - 1) * a->over_size.width;
			for (int64_t c = 0; c < a->size; c++) {
				of_tables[c] += row[c];
			}
		}
	}
}

// Heads of images from first on: a group.
static void attend_group(void *work, int64_t group) {
	attention *a = work;
	int64_t all = a->images * a->heads;
	scratch m;
	if (!scratch_make(&m, a, a->adjoint)) {
		__atomic_store_n(&a->failed, true, __ATOMIC_RELAXED);
		return;
	}
	float *of_tables = a->adjoint ? a->sums + group * 4 * a->rows * a->size : NULL;
	if (of_tables) {
		memset(of_tables, 0, 4 * a->rows * a->size * sizeof(float));
	}
#ifdef PRENAS_AMX
	if (a->amx) {
		prenas_amx_begin();
	}
#endif
	for (int64_t i = all * group / a->groups; i < all * (group + 1) / a->groups; i++) {
		if (a->adjoint) {
			backward_head(a, &m, i / a->heads, i % a->heads, of_tables);
		} else {
			forward_head(a, &m, i / a->heads, i % a->heads);
		}
	}
#ifdef PRENAS_AMX
	if (a->amx) {
		prenas_amx_end();
	}
#endif
	_mm_sfence(); // of what went past the caches
	free(m.all);
}

// Reads qkv and the tables, which are all operands from the second on but the adjoint, if there is one.
static bool read_attention(attention *a, ffi_frame *frame, bool backward) {
	const ffi_buffer *qkv = frame->operands.size ? frame->operands.buffers[0] : NULL;
	int64_t tables = frame->operands.size - 1 - backward;
	*a = (attention){.heads = prenas_attribute(frame, "heads", 0), .side = prenas_attribute(frame, "side", 0),
		.limit = prenas_attribute(frame, "limit", 0)};
	if (!qkv || qkv->rank != 3 || (tables != 0 && tables != 4) || a->heads < 1 || qkv->dims[2] % (3 * a->heads) || a->limit < 0) {
		return false;
	}
	a->bf16 = qkv->dtype == FFI_BF16;
	a->value = a->bf16 ? 2 : 4;
	a->images = qkv->dims[0];
	a->tokens = qkv->dims[1];
	a->size = qkv->dims[2] / (3 * a->heads);
	a->rows = tables ? 2 * a->limit + 2 : 0;
	a->of_tables = tables ? 2 * a->rows - 1 : 0;
	a->keys = a->tokens + a->of_tables;
	a->amx = a->bf16 && prenas_amx();
	a->past_caches = a->amx && a->images * a->tokens * a->heads * a->size * a->value * (backward ? 3 : 1) >= PAST_CACHES;
	a->queries = a->amx ? at_most(QUERIES_AMX, rounded_up(a->tokens, 16)) : rounded_up(divided_up(a->tokens, divided_up(a->tokens, QUERIES)), 2);
	a->padded = rounded_up(a->tokens, 16);
	a->spread = at_least(NEAR, rounded_up(a->side + 1, 16));
	a->scale = 1 / sqrtf(a->size);
	a->groups = at_most(GROUPS, a->images * a->heads);
	a->qkv = qkv->data;
	for (int i = 0; i < tables; i++) {
		const ffi_buffer *table = frame->operands.buffers[1 + backward + i];
		if (table->dtype != FFI_FLOAT32 || table->rank != 2 || table->dims[0] != a->rows || table->dims[1] != a->size) {
			return false;
		}
		a->tables[i] = table->data;
	}
	return (a->bf16 || qkv->dtype == FFI_FLOAT32) && a->images > 0 && a->tokens > 0 && a->size > 0 && a->size % 2 == 0 &&
	       (!tables || a->tokens == a->side * a->side + 1) && panels_of(&a->over_keys, a->keys) && panels_of(&a->over_size, a->size) &&
	       (a->bf16 ? prenas_tiles_bf16(2, &a->two) && prenas_tiles_bf16(3, &a->three)
	                : prenas_tiles_float32(2, &a->two) && prenas_tiles_float32(3, &a->three)) &&
	       prenas_products(a->bf16);
}

// True if b is [images, tokens, parts·heads·d] of qkv's type.
static bool like_qkv(const attention *a, const ffi_buffer *b, int64_t parts) {
	return b->rank == 3 && b->dims[0] == a->images && b->dims[1] == a->tokens && b->dims[2] == parts * a->heads * a->size &&
	       b->dtype == (a->bf16 ? FFI_BF16 : FFI_FLOAT32);
}

// T or U of the tables of one kind.
static void stack(const attention *a, char *to, const float *vertical, const float *horizontal) {
	for (int64_t i = 0; i < a->size; i++) {
		float both = vertical[i] + horizontal[i];
		cast(a, to + i * a->value, &both, 1, 1);
	}
	int64_t rest = (a->rows - 1) * a->size;
	cast(a, to + a->size * a->value, vertical + a->size, rest, 1);
	cast(a, to + (a->size + rest) * a->value, horizontal + a->size, rest, 1);
}

static ffi_error *run(ffi_frame *frame, attention *a) {
	int64_t stacked = a->of_tables * a->size * a->value;
	a->row = a->over_keys.width + 16; // rows a power of two apart would share few places of the cache
	a->stacked = malloc(at_least(1, 2 * stacked));
	a->places = aligned_alloc(64, 2 * a->padded * sizeof *a->places);
	if (a->adjoint) {
		a->sums = malloc(at_least(1, a->groups * 4 * a->rows * a->size * sizeof(float)));
	}
	if (!a->stacked || !a->places || (a->adjoint && !a->sums)) {
		a->failed = true;
	} else {
		memset(a->places, 0, 2 * a->padded * sizeof *a->places);
		for (int64_t j = 1; j < a->tokens && a->rows; j++) {
			a->places[j] = (j - 1) / a->side + 1;
			a->places[a->padded + j] = (j - 1) % a->side + 1;
		}
		for (int i = 0; i < 2 && a->rows; i++) {
			stack(a, a->stacked + i * stacked, a->tables[2 * i], a->tables[2 * i + 1]);
		}
		prenas_share(frame, a->groups, attend_group, a);
	}
	free(a->stacked);
	free(a->places);
	return a->failed ? prenas_error(frame, FFI_RESOURCE_EXHAUSTED, "no memory left for attention") : NULL;
}

static ffi_error *misshapen(ffi_frame *frame) {
	return prenas_error(frame, FFI_INVALID_ARGUMENT, "attention of shapes that do not go together, or on a processor without AVX-512");
}

// The result [n, tokens, heads·d] of qkv and the tables.
ffi_error *prenas_attention(ffi_frame *frame) {
	if (prenas_described(frame)) {
		return NULL;
	}
	attention a;
	if (frame->results.size != 1 || !read_attention(&a, frame, false) || !like_qkv(&a, frame->results.buffers[0], 1)) {
		return misshapen(frame);
	}
	a.o = frame->results.buffers[0]->data;
	return run(frame, &a);
}

// The adjoints of qkv and of the tables, of qkv, the adjoint of the result and the tables.
ffi_error *prenas_attention_adjoint(ffi_frame *frame) {
	if (prenas_described(frame)) {
		return NULL;
	}
	attention a;
	if (frame->operands.size < 2 || frame->results.size < 1 || !read_attention(&a, frame, true) ||
	    frame->results.size != (a.rows ? 5 : 1) || !like_qkv(&a, frame->operands.buffers[1], 1) || !like_qkv(&a, frame->results.buffers[0], 3)) {
		return misshapen(frame);
	}
	int64_t table = a.rows * a.size;
	for (int i = 1; i < frame->results.size; i++) {
		const ffi_buffer *b = frame->results.buffers[i];
		if (b->dtype != FFI_FLOAT32 || b->rank != 2 || b->dims[0] != a.rows || b->dims[1] != a.size) {
			return misshapen(frame);
		}
	}
	a.e = frame->operands.buffers[1]->data;
	a.adjoint = frame->results.buffers[0]->data;
	ffi_error *error = run(frame, &a);
	for (int i = 0; i < 4 && a.rows && !error; i++) {
		float *to = frame->results.buffers[1 + i]->data;
		memset(to, 0, table * sizeof(float));
		for (int64_t g = 0; g < a.groups; g++) {
			const float *from = a.sums + (g * 4 + i) * table;
			for (int64_t j = 0; j < table; j++) {
				to[j] += from[j];
			}
		}
	}
	free(a.sums);
	return error;
}

#else

static ffi_error *refused(ffi_frame *frame) {
	return prenas_described(frame) ? NULL : prenas_error(frame, FFI_INVALID_ARGUMENT, "attention needs a processor with AVX-512");
}

ffi_error *prenas_attention(ffi_frame *frame) { return refused(frame); }
ffi_error *prenas_attention_adjoint(ffi_frame *frame) { return refused(frame); }

#endif
