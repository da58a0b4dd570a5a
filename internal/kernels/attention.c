//go:build linux && cgo

// Attention, forward and backward, with 2-D relative positions or without, for processors with AVX-512.
//
// As operations of XLA attention writes matrices [n, heads, tokens, tokens] half a dozen times, some of
// them for the backward pass to read again. Here one head of one image at a time is computed in the cache,
// from the projections qkv [n, tokens, 3·heads·d] to the result [n, tokens, heads·d], and the backward pass
// computes the matrix of attention anew: nothing of the size tokens² leaves the cache.
//
//	s = scale · q · [k; T]ᵀ                    T: the key tables' rows [vertical; horizontal]
//	s[i][j] += s[i][column of i's and j's distance in T], the vertical and the horizontal one
//	p = exp(s - max)
//	w[i][t] = Σ p[i][j] over the keys j whose distance has row t in the value tables
//	o = [p, w] · [v; U] / Σ p                  U: the value tables' rows
//
// so relative positions (Wu et al., Rethinking and Improving Relative Position Encoding for Vision Transformer,
// 2021, as AutoFormer and PreNAS use them) are a few more columns of the same products: which row of a table stands
// for a distance is in index_of. With e the adjoint of o, the backward pass is
//
//	f = e · [v; U]ᵀ, with distances added as to s;  g = scale · p · (f - Σ p·f), with p divided by its sum
//	adjoints: of q: [g, sums of g as w] · [k; T];  of [k; T]: [g, sums]ᵀ · q;  of [v; U]: [p, w]ᵀ · e
//
// Heads are divided into groups by shape alone, and each group sums the tables' adjoints in its order: the
// number of threads does not change a bit.

#include "call.h"
#include "numbers.h"
#include "tiles.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC optimize("O3")

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512")))
#define TARGET_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,prefer-vector-width=512")))

enum {
	GROUPS = 64,    // of heads of images
	QUERIES = 28,
	PANELS = 64,    // of a product's columns at most
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
	int64_t keys;                        // tokens and the rows of two tables
	float scale;
	bool bf16;
	int64_t value;                       // bytes of one
	panels over_keys, over_size;
	prenas_tiles two, three;
	const char *qkv, *e;                 // e: the adjoint of the result
	const float *tables[4];              // key vertical, key horizontal, value vertical, value horizontal: [rows, d]
	char *o, *adjoint;                   // the result; the adjoint of qkv
	float *sums;                         // of the adjoints of the tables, [groups, 4, rows, d]
	char *stacked;                       // T and U, [2, 2·rows, d], as the operands
	int64_t groups;
	bool failed;
} attention;

// Which row of a table stands for a distance between patches. Row 0 is for pairs with the class token.
static inline int64_t index_of(const attention *a, int64_t distance) {
	return at_least(-a->limit, at_most(a->limit, distance)) + a->limit + 1;
}

// Steps of four bytes in so many values.
static inline int64_t steps_of(const attention *a, int64_t values) { return a->bf16 ? (values + 1) / 2 : values; }

// Packs rows of d values for a product over d: to[step][row], panel by panel.
TARGET static void pack_over_size(const attention *a, uint32_t *to, const char *const *rows) {
	int64_t steps = steps_of(a, a->size), first = 0;
	for (int q = 0; q < a->over_keys.count; q++) {
		int64_t width = 16 * a->over_keys.vectors[q], count = at_least(0, at_most(width, a->keys - first));
		for (int64_t j = 0; j < count; j++) {
			const uint32_t *row = (const uint32_t *)rows[first + j];
			for (int64_t s = 0; s < steps; s++) {
				to[s * width + j] = row[s];
			}
		}
		for (int64_t s = 0; s < steps && count < width; s++) {
			memset(to + s * width + count, 0, 4 * (width - count));
		}
		to += steps * width;
		first += width;
	}
}

// Packs count rows of d values for a product over the rows: to[step][value], panel by panel.
TARGET static void pack_over_rows(const attention *a, uint32_t *to, const char *const *rows, int64_t count) {
	int64_t first = 0;
	for (int q = 0; q < a->over_size.count; q++) {
		int64_t width = 16 * a->over_size.vectors[q], values = at_least(0, at_most(width, a->size - first));
		for (int64_t r = 0; r < count; r += a->bf16 ? 2 : 1, to += width) {
			if (!a->bf16) {
				memcpy(to, rows[r] + 4 * first, 4 * values);
			} else {
				const uint16_t *x = (const uint16_t *)rows[r] + first;
				if (r + 1 < count) {
					const uint16_t *y = (const uint16_t *)rows[r + 1] + first;
					for (int64_t j = 0; j < values; j++) {
						to[j] = x[j] | (uint32_t)y[j] << 16;
					}
				} else {
					for (int64_t j = 0; j < values; j++) {
						to[j] = x[j];
					}
				}
			}
			memset(to + values, 0, 4 * (width - values));
		}
		first += width;
	}
}

// c = x · packed, or added to it: rows of x and c, columns by panels.
static void times(const attention *a, const panels *p, const void *x, int64_t x_row, int64_t x_step, int64_t rows,
	const uint32_t *packed, int64_t steps, float *c, bool add) {
	for (int q = 0; q < p->count; q++) {
		const prenas_tiles *tiles = p->vectors[q] == 2 ? &a->two : &a->three;
		int64_t width = 16 * p->vectors[q], count = divided_up(rows, tiles->rows);
		float *column = c;
		for (int64_t t = 0; t < count; t++) {
			int64_t from = rows * t / count, to = rows * (t + 1) / count;
			tiles->of_rows[to - from]((const uint32_t *)x + from * x_row, x_row, x_step, packed, steps, column + from * p->width, p->width, add);
		}
		packed += steps * width;
		c += width;
	}
}

static inline __mmask16 lanes(int64_t count) { return count >= 16 ? 0xffff : (1u << count) - 1; }

// e^x for x of at most 0, to 1e-7 of it; NaN for NaN (the polynomial of Cephes' expf).
TARGET static inline __m512 exponential(__m512 x) {
	x = _mm512_max_ps(_mm512_set1_ps(-104), x);
	__m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
	x = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
	x = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), x);
	__m512 p = _mm512_set1_ps(1.9875691500e-4f);
	p = _mm512_fmadd_ps(p, x, _mm512_set1_ps(1.3981999507e-3f));
	p = _mm512_fmadd_ps(p, x, _mm512_set1_ps(8.3334519073e-3f));
	p = _mm512_fmadd_ps(p, x, _mm512_set1_ps(4.1665795894e-2f));
	p = _mm512_fmadd_ps(p, x, _mm512_set1_ps(1.6666665459e-1f));
	p = _mm512_fmadd_ps(p, x, _mm512_set1_ps(5.0000001201e-1f));
	p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(x, x), x), _mm512_set1_ps(1));
	return _mm512_scalef_ps(p, n);
}

// The same for 16 distances one after the other.
TARGET static inline __m512i indices_of(const attention *a, int64_t first) {
	__m512i distance = _mm512_add_epi32(_mm512_set1_epi32(first), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
	distance = _mm512_max_epi32(_mm512_set1_epi32(-a->limit), _mm512_min_epi32(_mm512_set1_epi32(a->limit), distance));
	return _mm512_add_epi32(distance, _mm512_set1_epi32(a->limit + 1));
}

// Adds to a query's row s its columns for distances, which lie behind the tokens.
TARGET static void add_distances(const attention *a, float *s, int64_t token) {
	const float *vertical = s + a->tokens, *horizontal = vertical + a->rows;
	float class = vertical[0] + horizontal[0];
	if (token == 0) {
		for (int64_t j = 0; j < a->tokens; j++) {
			s[j] += class;
		}
		return;
	}
	s[0] += class;
	int64_t row = (token - 1) / a->side, column = (token - 1) % a->side;
	for (int64_t from = 0; from < a->side; from += 16) {
		__mmask16 mask = lanes(a->side - from);
		__m512 both = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), mask, indices_of(a, from - column), horizontal, 4);
		for (int64_t r = 0; r < a->side; r++) {
			float *at = s + 1 + r * a->side + from;
			__m512 distance = _mm512_add_ps(both, _mm512_set1_ps(vertical[index_of(a, r - row)]));
			_mm512_mask_storeu_ps(at, mask, _mm512_add_ps(_mm512_maskz_loadu_ps(mask, at), distance));
		}
	}
}

// The opposite: puts behind the tokens of a query's row p its sums over the keys of each distance.
TARGET static void sum_distances(const attention *a, float *p, int64_t token) {
	float *vertical = p + a->tokens, *horizontal = vertical + a->rows;
	memset(vertical, 0, 2 * a->rows * sizeof(float));
	if (token == 0) {
		float all = 0;
		for (int64_t j = 0; j < a->tokens; j++) {
			all += p[j];
		}
		vertical[0] = horizontal[0] = all;
		return;
	}
	vertical[0] = horizontal[0] = p[0];
	int64_t row = (token - 1) / a->side, column = (token - 1) % a->side;
	for (int64_t from = 0; from < a->side; from += 16) {
		__mmask16 mask = lanes(a->side - from);
		__m512 of_columns = _mm512_setzero_ps();
		for (int64_t r = 0; r < a->side; r++) {
			__m512 x = _mm512_maskz_loadu_ps(mask, p + 1 + r * a->side + from);
			of_columns = _mm512_add_ps(of_columns, x);
			vertical[index_of(a, r - row)] += _mm512_reduce_add_ps(x);
		}
		if (at_least(column - from, from + 15 - column) <= a->limit) { // a row for each distance, side by side
			float *at = horizontal + a->limit + 1 + from - column;
			_mm512_mask_storeu_ps(at, mask, _mm512_add_ps(of_columns, _mm512_maskz_loadu_ps(mask, at)));
			continue;
		}
		float sums[16];
		_mm512_storeu_ps(sums, of_columns);
		for (int64_t c = 0; c < at_most(16, a->side - from); c++) {
			horizontal[index_of(a, from + c - column)] += sums[c];
		}
	}
}

// A query's row of scores becomes exp(scale·s - max), and returns its sum.
TARGET static float exponentials(const attention *a, float *s, int64_t token) {
	if (a->rows) {
		add_distances(a, s, token);
	}
	__m512 most = _mm512_set1_ps(-INFINITY), sum = _mm512_setzero_ps(), scale = _mm512_set1_ps(a->scale);
	for (int64_t j = 0; j < a->tokens; j += 16) {
		__mmask16 mask = lanes(a->tokens - j);
		most = _mm512_mask_max_ps(most, mask, most, _mm512_maskz_loadu_ps(mask, s + j));
	}
	most = _mm512_mul_ps(scale, _mm512_set1_ps(_mm512_reduce_max_ps(most)));
	for (int64_t j = 0; j < a->tokens; j += 16) {
		__mmask16 mask = lanes(a->tokens - j);
		__m512 p = exponential(_mm512_fmsub_ps(scale, _mm512_maskz_loadu_ps(mask, s + j), most));
		_mm512_mask_storeu_ps(s + j, mask, p);
		sum = _mm512_mask_add_ps(sum, mask, sum, p);
	}
	return _mm512_reduce_add_ps(sum);
}

// Values as the operands of a product.
TARGET_BF16 static void cast_bf16(uint16_t *to, const float *from, int64_t count, float factor) {
	for (int64_t j = 0; j < count; j += 16) {
		__mmask16 mask = lanes(count - j);
		__m512 x = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, from + j), _mm512_set1_ps(factor));
		_mm256_mask_storeu_epi16(to + j, mask, (__m256i)_mm512_cvtneps_pbh(x));
	}
}

static void cast(const attention *a, char *to, const float *from, int64_t count, float factor) {
	if (a->bf16) {
		cast_bf16((uint16_t *)to, from, count, factor);
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
	for (int64_t j = 0; j < 2 * a->rows; j++) {
		rows[a->tokens + j] = a->stacked + ((part - 1) * 2 * a->rows + j) * a->size * a->value;
	}
}

// Memory of one group, one after the other.
typedef struct {
	char *all;
	const char **rows;                         // [keys]
	uint32_t *keys, *values;                   // [k; T] and [v; U] packed over d
	uint32_t *keys_by_row, *values_by_row;     // and over their rows
	float *s, *f, *result;                     // of some queries: [QUERIES, keys' width] twice, [QUERIES, d's width]
	char *p;                                   // s or f as operands, [QUERIES, row]
	int64_t row;                               // values of a row of p
	uint32_t *columns;                         // the same packed over the queries, [steps, keys]
	uint32_t *some;                            // rows of q or e packed over the queries
	float *of_keys, *of_values;                // adjoints of [k; T] and [v; U], [keys, d's width]
} scratch;

static bool scratch_make(scratch *m, const attention *a, bool backward) {
	int64_t steps = steps_of(a, a->size), key_steps = steps_of(a, a->keys), query_steps = steps_of(a, QUERIES);
	m->row = rounded_up(a->keys, 32);
	int64_t sizes[] = {
		a->keys * 8,
		4 * steps * a->over_keys.width,
		4 * key_steps * a->over_size.width,
		4 * QUERIES * a->over_keys.width,
		4 * QUERIES * a->over_size.width,
		a->value * QUERIES * m->row,
		// Backward only.
		4 * steps * a->over_keys.width,
		4 * key_steps * a->over_size.width,
		4 * QUERIES * a->over_keys.width,
		4 * query_steps * a->keys,
		4 * query_steps * a->over_size.width,
		4 * a->keys * a->over_size.width,
		4 * a->keys * a->over_size.width,
	};
	char **fields[] = {(char **)&m->rows, (char **)&m->keys, (char **)&m->values_by_row, (char **)&m->s, (char **)&m->result, &m->p,
		(char **)&m->values, (char **)&m->keys_by_row, (char **)&m->f, (char **)&m->columns, (char **)&m->some, (char **)&m->of_keys,
		(char **)&m->of_values};
	int count = backward ? sizeof sizes / sizeof *sizes : 6;
	int64_t bytes = 0;
	for (int i = 0; i < count; i++) {
		bytes += rounded_up(sizes[i], 64);
	}
	if (!(m->all = aligned_alloc(64, bytes))) {
		return false;
	}
	char *at = m->all;
	for (int i = 0; i < count; i++) {
		*fields[i] = at;
		at += rounded_up(sizes[i], 64);
	}
	memset(m->p, 0, a->value * QUERIES * m->row);
	return true;
}

// p of some queries from the first on, as exponentials in s; their sums.
static void scores(const attention *a, scratch *m, int64_t image, int64_t head, int64_t first, int64_t count, float *sums) {
	times(a, &a->over_keys, qkv_row(a, a->qkv, image, first, 0, head), 3 * a->heads * a->size * a->value / 4, 1, count, m->keys,
		steps_of(a, a->size), m->s, false);
	for (int64_t i = 0; i < count; i++) {
		float *s = m->s + i * a->over_keys.width;
		sums[i] = exponentials(a, s, first + i);
		if (a->rows) {
			sum_distances(a, s, first + i);
		}
	}
}

static void forward_head(attention *a, scratch *m, int64_t image, int64_t head) {
	rows_of_keys(a, m->rows, image, 1, head);
	pack_over_size(a, m->keys, m->rows);
	rows_of_keys(a, m->rows, image, 2, head);
	pack_over_rows(a, m->values_by_row, m->rows, a->keys);
	for (int64_t first = 0; first < a->tokens; first += QUERIES) {
		int64_t count = at_most(QUERIES, a->tokens - first);
		float sums[QUERIES];
		scores(a, m, image, head, first, count, sums);
		for (int64_t i = 0; i < count; i++) {
			cast(a, m->p + i * m->row * a->value, m->s + i * a->over_keys.width, a->keys, 1);
		}
		times(a, &a->over_size, m->p, m->row * a->value / 4, 1, count, m->values_by_row, steps_of(a, a->keys), m->result, false);
		for (int64_t i = 0; i < count; i++) {
			cast(a, (char *)o_row(a, a->o, image, first + i, head), m->result + i * a->over_size.width, a->size, 1 / sums[i]);
		}
	}
}

// A query's row of p, divided by its sum, and of f, which becomes g.
TARGET static void adjoint_of_scores(const attention *a, float *p, float *f, float sum, int64_t token) {
	if (a->rows) {
		add_distances(a, f, token);
	}
	__m512 factor = _mm512_set1_ps(1 / sum), along = _mm512_setzero_ps(), scale = _mm512_set1_ps(a->scale);
	for (int64_t j = 0; j < a->keys; j += 16) {
		__mmask16 mask = lanes(a->keys - j), of_tokens = j < a->tokens ? lanes(a->tokens - j) : 0;
		__m512 x = _mm512_mul_ps(factor, _mm512_maskz_loadu_ps(mask, p + j));
		_mm512_mask_storeu_ps(p + j, mask, x);
		along = _mm512_mask3_fmadd_ps(x, _mm512_maskz_loadu_ps(of_tokens, f + j), along, of_tokens);
	}
	__m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(along));
	for (int64_t j = 0; j < a->tokens; j += 16) {
		__mmask16 mask = lanes(a->tokens - j);
		__m512 x = _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(mask, p + j));
		_mm512_mask_storeu_ps(f + j, mask, _mm512_mul_ps(x, _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, f + j), mean)));
	}
	if (a->rows) {
		sum_distances(a, f, token);
	}
}

// Packs the rows of m->p over the queries: pairs of rows side by side, columns after one another.
TARGET static void pack_queries(const attention *a, scratch *m, int64_t count) {
	uint32_t *to = m->columns;
	for (int64_t i = 0; i < count; i += 2, to += a->keys) {
		const uint16_t *x = (const uint16_t *)m->p + i * m->row, *y = x + m->row;
		if (i + 1 < count) {
			for (int64_t j = 0; j < a->keys; j++) {
				to[j] = x[j] | (uint32_t)y[j] << 16;
			}
		} else {
			for (int64_t j = 0; j < a->keys; j++) {
				to[j] = x[j];
			}
		}
	}
}

// of += xᵀ · rows, x the rows of m->p and rows those of q or e that some queries have.
static void add_over_queries(const attention *a, scratch *m, int64_t count, const char *rows, int64_t bytes, float *of, bool add) {
	const char *each[QUERIES];
	for (int64_t i = 0; i < count; i++) {
		each[i] = rows + i * bytes;
	}
	pack_over_rows(a, m->some, each, count);
	const void *x = m->p;
	int64_t x_step = m->row;
	if (a->bf16) {
		pack_queries(a, m, count);
		x = m->columns;
		x_step = a->keys;
	}
	times(a, &a->over_size, x, 1, x_step, a->keys, m->some, steps_of(a, count), of, add);
}

static void backward_head(attention *a, scratch *m, int64_t image, int64_t head, float *of_tables) {
	int64_t row_bytes = 3 * a->heads * a->size * a->value, e_bytes = a->heads * a->size * a->value;
	rows_of_keys(a, m->rows, image, 1, head);
	pack_over_size(a, m->keys, m->rows);
	pack_over_rows(a, m->keys_by_row, m->rows, a->keys);
	rows_of_keys(a, m->rows, image, 2, head);
	pack_over_size(a, m->values, m->rows);
	for (int64_t first = 0; first < a->tokens; first += QUERIES) {
		int64_t count = at_most(QUERIES, a->tokens - first);
		const char *e = o_row(a, a->e, image, first, head);
		float sums[QUERIES];
		scores(a, m, image, head, first, count, sums);
		times(a, &a->over_keys, e, e_bytes / 4, 1, count, m->values, steps_of(a, a->size), m->f, false);
		for (int64_t i = 0; i < count; i++) {
			float *p = m->s + i * a->over_keys.width;
			adjoint_of_scores(a, p, m->f + i * a->over_keys.width, sums[i], first + i);
			cast(a, m->p + i * m->row * a->value, p, a->keys, 1);
		}
		add_over_queries(a, m, count, e, e_bytes, m->of_values, first > 0);
		for (int64_t i = 0; i < count; i++) {
			cast(a, m->p + i * m->row * a->value, m->f + i * a->over_keys.width, a->keys, 1);
		}
		add_over_queries(a, m, count, qkv_row(a, a->qkv, image, first, 0, head), row_bytes, m->of_keys, first > 0);
		times(a, &a->over_size, m->p, m->row * a->value / 4, 1, count, m->keys_by_row, steps_of(a, a->keys), m->result, false);
		for (int64_t i = 0; i < count; i++) {
			cast(a, (char *)qkv_row(a, a->adjoint, image, first + i, 0, head), m->result + i * a->over_size.width, a->size, 1);
		}
	}
	for (int part = 1; part <= 2; part++) {
		const float *of = part == 1 ? m->of_keys : m->of_values;
		for (int64_t j = 0; j < a->tokens; j++) {
			cast(a, (char *)qkv_row(a, a->adjoint, image, j, part, head), of + j * a->over_size.width, a->size, 1);
		}
		of += a->tokens * a->over_size.width;
		for (int64_t j = 0; j < 2 * a->rows; j++, of += a->over_size.width, of_tables += a->size) {
			for (int64_t c = 0; c < a->size; c++) {
				of_tables[c] += of[c];
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
	for (int64_t i = all * group / a->groups; i < all * (group + 1) / a->groups; i++) {
		if (a->adjoint) {
			backward_head(a, &m, i / a->heads, i % a->heads, of_tables);
		} else {
			forward_head(a, &m, i / a->heads, i % a->heads);
		}
	}
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
	a->keys = a->tokens + 2 * a->rows;
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

static ffi_error *run(ffi_frame *frame, attention *a) {
	int64_t table = a->rows * a->size;
	a->stacked = malloc(at_least(1, 4 * table * a->value));
	if (a->adjoint) {
		a->sums = malloc(at_least(1, a->groups * 4 * table * sizeof(float)));
	}
	if (!a->stacked || (a->adjoint && !a->sums)) {
		a->failed = true;
	} else {
		for (int i = 0; i < 4 && table; i++) {
			cast(a, a->stacked + i * table * a->value, a->tables[i], table, 1);
		}
		prenas_share(frame, a->groups, attend_group, a);
	}
	free(a->stacked);
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
