//go:build linux && cgo

// A residual branch of a transformer's block in bf16 on tiles of AMX (amx.h), with all that is beside its products.
//
// Tiles make products so fast that most of a step would be matrices that go to memory and back between a product, its bias, GELU, the
// residual sum and LayerNorm. Here some rows at a time stay in the second cache from one end of a branch to the other:
//
//	first    h = LayerNorm(x)    z = h · W1ᵀ + b1
//	second   y = x + factor · (o · W2ᵀ + b2)        factor: one of each sample, of stochastic depth
//
// A call has one of these, with z or o in bf16 beside x, as attention needs it; or both, with o = GELU(z), an MLP, of which then
// nothing is written but y. The backward pass computes h, z and o anew. With v the adjoint of y and e = factor · v:
//
//	second   of o: e · W2    of W2: eᵀ · o    of b2: Σ e
//	first    with u the adjoint of z:   of x: v + the adjoint of LayerNorm for u · W1    of W1: uᵀ · h    of b1: Σ u
//
// The adjoints of weights are sums over all rows. What they are made of is packed for them while it is in the cache, in groups of
// rows; some groups later all threads sum these.
//
// Weights come packed (prenas_pack), once for all programs' calls that take them in that form.
//
// Tiles and vectors work at the same time: while tiles make the sums of some rows and columns, what is done with those made before them, GELU for one,
// is done between their steps.
//
// Products are summed in an order that sizes alone decide, and so are the sums over rows:
// the number of threads does not change a bit.

#include "amx.h"
#include "call.h"
#include "numbers.h"
#include "packing.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC optimize("O3")

#ifdef PRENAS_AMX

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,prefer-vector-width=512")))
#define INLINE TARGET static inline __attribute__((always_inline))

enum {
	PART_ROWS = 256,         // of a part, at most: what it needs of the second cache is
	PART_BYTES = 1300 << 10, // at most
	CHUNK = 16,              // steps of a depth, at most, whose right operand stays in the nearest cache
	GROUP_STEPS = 16,        // of rows that are packed for the adjoints of weights, and summed in one go
	GROUP_ROWS = GROUP_STEPS * AMX_DEPTH,
	PACKED_BYTES = 24 << 20, // of such groups at a time
	SUMS_BYTES = 640 << 10,  // of an adjoint of a weight, of a part: they stay in the second cache
	PAST_CACHES = 2 << 20,   // bytes of a result that is written past them
};

// GELU and its slope. Both are a matter of a = |z|:
//
//	GELU(z) = max(z, 0) - a · Φ(-a)
//	GELU'(z) = s(a) for z < 0, else 1 - s(a);   s(a) = Φ(-a) - a · φ(a)
//
// Φ(-a) and s(a) are quadratics of a in pieces of a width, around its multiples, by interpolation in Chebyshev's points: 1e-5 and 4e-5 from what
// they should be, a hundredth of what bf16 rounds off. Two registers hold a coefficient of all pieces.
enum { PIECES = 32, POWERS = 3 };
#define PIECE 0.171875
#define LAST_PIECE ((PIECES - 1) * PIECE)

typedef float quadratics[POWERS][PIECES]; // coefficients of the powers 0 to 2 of a

static _Alignas(64) quadratics below, slope;

static double below_at(double a) { return 0.5 * erfc(a * M_SQRT1_2); }
static double slope_at(double a) { return below_at(a) - a * exp(-0.5 * a * a) * 0.3989422804014327; }

static void interpolate(quadratics to, double (*f)(double)) {
	for (int i = 0; i < PIECES; i++) {
		double at[POWERS], by[POWERS]; // points, and divided differences of the values there
		for (int k = 0; k < POWERS; k++) {
			at[k] = (i + 0.5 * cos(M_PI * (2 * k + 1) / (2 * POWERS))) * PIECE;
			by[k] = f(at[k]);
		}
		for (int order = 1; order < POWERS; order++) {
			for (int k = POWERS - 1; k >= order; k--) {
				by[k] = (by[k] - by[k - 1]) / (at[k] - at[k - order]);
			}
		}
		double c[POWERS] = {by[POWERS - 1]};
		for (int k = POWERS - 2; k >= 0; k--) { // c = c · (a - at[k]) + by[k]
			for (int power = POWERS - 1; power > 0; power--) {
				c[power] = c[power - 1] - at[k] * c[power];
			}
			c[0] = by[k] - at[k] * c[0];
		}
		for (int power = 0; power < POWERS; power++) {
			to[power][i] = c[power];
		}
	}
}

static void make_pieces(void) {
	interpolate(below, below_at);
	interpolate(slope, slope_at);
}

// The quadratics of a function, in registers.
typedef struct {
	__m512 of[POWERS][2];
} pieces;

INLINE pieces pieces_of(quadratics f) {
	pieces q;
	for (int power = 0; power < POWERS; power++) {
		q.of[power][0] = _mm512_load_ps(f[power]);
		q.of[power][1] = _mm512_load_ps(f[power] + 16);
	}
	return q;
}

typedef struct {
	__m512 a;
	__m512i piece;
} place;

INLINE place place_of(__m512 z) {
	const __m512 whole = _mm512_set1_ps(0x1.8p23f); // added, it leaves the nearest whole number in the last bits
	__m512 a = _mm512_min_ps(_mm512_set1_ps(LAST_PIECE), _mm512_abs_ps(z)); // NaN of NaN
	return (place){a, _mm512_castps_si512(_mm512_fmadd_ps(a, _mm512_set1_ps(1 / PIECE), whole))};
}

INLINE __m512 value_at(const pieces *q, place p) {
	__m512 y = _mm512_permutex2var_ps(q->of[2][0], p.piece, q->of[2][1]);
	y = _mm512_fmadd_ps(y, p.a, _mm512_permutex2var_ps(q->of[1][0], p.piece, q->of[1][1]));
	return _mm512_fmadd_ps(y, p.a, _mm512_permutex2var_ps(q->of[0][0], p.piece, q->of[0][1]));
}

INLINE __m512 gelu(const pieces *of_below, __m512 z, place p) {
	return _mm512_fnmadd_ps(p.a, value_at(of_below, p), _mm512_max_ps(_mm512_setzero_ps(), z));
}

INLINE __m512 gelu_slope(const pieces *of_slope, __m512 z, place p) {
	__m512 s = value_at(of_slope, p);
	return _mm512_mask_sub_ps(s, _mm512_cmp_ps_mask(z, _mm512_setzero_ps(), _CMP_GT_OQ), _mm512_set1_ps(1), s);
}

typedef struct {
	pieces below, slope;
} functions;

// 32 values in bf16, and the first and the last 16 of them.
INLINE __m512i narrow(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }
INLINE __m512 widen(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }
INLINE __m512 low_of(__m512i x) { return widen(_mm512_castsi512_si256(x)); }
INLINE __m512 high_of(__m512i x) { return widen(_mm512_extracti64x4_epi64(x, 1)); }

typedef struct {
	bool first, second;
	int64_t rows, size, inner, tokens;     // size: of x; inner: of z and o; tokens: rows of a sample
	int64_t size_steps, inner_steps;
	const float *x, *weight, *bias;        // of LayerNorm
	float eps;
	const char *w1, *w2;                   // W1ᵀ and W2ᵀ, packed
	const float *b1, *b2, *factor;
	const char *w1_adjoint, *w2_adjoint;   // W1 and W2, packed
	const float *v;
	const uint16_t *given;                 // o, or backward the adjoint of z, if the call has one half
	float *to;                             // y, or the adjoint of x
	uint16_t *beside;                      // z, or the adjoint of o, if the call has one half
	int64_t parts, part_rows;              // part_rows: backward
	bool past_caches;
	bool failed;

	// Backward.
	float *vectors;                        // sums of each part: of LayerNorm's weight and bias, b1, b2
	float *sums1, *sums2;                  // adjoints of W1ᵀ and W2: [blocks of size, blocks of inner, 32, 32]
	char *h, *e, *u, *o;                   // groups, packed as operands of these
	int64_t group, groups_end;             // that are packed
	int64_t width;                         // of a part of their inner blocks
} branch;

static int64_t blocks_of(int64_t values) { return divided_up(values, AMX_BLOCK); }

// What one part has in the cache.
typedef struct {
	const branch *b;
	int64_t first, rows;
	char *all;
	char *h, *e, *inner;  // left operands: h, e, and o or u
	float *sums, *z;      // of 32 columns, while their depth is not through
	float *made;          // four blocks of 32 rows and columns
	float *dh;            // u · W1, [rows, size in blocks]
	float *mean, *scale, *factor;
	float *of_weight, *of_bias, *of_b1, *of_b2;
	char *u_group, *o_group, *h_group, *e_group; // where its rows begin in the groups
} part;

static bool part_make(part *p, bool backward) {
	const branch *b = p->b;
	int64_t tiles = divided_up(p->rows, AMX_ROWS), size = tiles * b->size_steps * AMX_TILE, padded = blocks_of(p->rows) * AMX_BLOCK;
	struct {
		void *field;
		int64_t bytes;
	} fields[] = {
		{&p->h, b->first ? size : 0},
		{&p->e, backward && b->second ? size : 0},
		{&p->inner, !backward && !b->second ? 0 : tiles * b->inner_steps * AMX_TILE},
		{&p->sums, padded * AMX_BLOCK * sizeof(float)},
		{&p->z, backward && b->first && b->second ? padded * AMX_BLOCK * sizeof(float) : 0},
		{&p->made, 4 * AMX_BLOCK * AMX_BLOCK * sizeof(float)},
		{&p->dh, backward && b->first ? padded * b->size_steps * AMX_DEPTH * sizeof(float) : 0},
		{&p->mean, padded * sizeof(float)},
		{&p->scale, padded * sizeof(float)},
		{&p->factor, padded * sizeof(float)},
	};
	int64_t bytes = 0, count = sizeof fields / sizeof *fields;
	for (int i = 0; i < count; i++) {
		bytes += rounded_up(fields[i].bytes, 64);
	}
	if (!(p->all = aligned_alloc(64, bytes))) {
		return false;
	}
	char *at = p->all;
	for (int i = 0; i < count; i++) {
		*(char **)fields[i].field = at;
		at += rounded_up(fields[i].bytes, 64);
	}
	for (int64_t i = 0; i < p->rows && b->second; i++) {
		p->factor[i] = b->factor[(p->first + i) / b->tokens];
	}
	return true;
}

// Takes so many rows of sums of 32 columns, of which columns are there, those of a part from row on; z: sums of the product before it, if there are two.
typedef void epilogue(part *p, const functions *f, int64_t row, int64_t column, int64_t columns, const float *sums, const float *z, int64_t count);

// A product of all rows of a part and its right operand, both packed.
typedef struct {
	const char *left, *right;
	float *sums; // [rows, 32], while their depth is not through
} factors;

// Products of the same shape, one or two, over all columns, 32 at a time. done takes the sums of the last, and of the first of two as z.
//
// What it takes of whole blocks waits until tiles make those of the next block: then it takes some rows beside each of their steps.
INLINE void times(part *p, const functions *f, const factors *of, int products, int64_t steps, int64_t columns, epilogue *done) {
	enum { BLOCK = AMX_BLOCK * AMX_BLOCK };
	int64_t next = steps * AMX_TILE, chunks = divided_up(steps, CHUNK), beside = 4 / products;
	int64_t row = 0, column = 0, taken = AMX_BLOCK; // of what waits
	int turn = 0;
	for (int64_t j = 0; j < columns; j += AMX_BLOCK) {
		int64_t count = at_most(AMX_BLOCK, columns - j);
		for (int64_t chunk = 0; chunk < chunks; chunk++) {
			int64_t from = steps * chunk / chunks, length = steps * (chunk + 1) / chunks - from;
			for (int64_t i = 0; i < p->rows; i += AMX_BLOCK) {
				float *made = p->made + turn * 2 * BLOCK, *waiting = p->made + (1 - turn) * 2 * BLOCK;
				bool last = chunk + 1 == chunks, whole = p->rows - i >= AMX_BLOCK && count == AMX_BLOCK;
				for (int k = 0; k < products; k++) {
					const char *a = of[k].left + i / AMX_ROWS * next + from * AMX_TILE, *b = of[k].right + j / 16 * next + from * AMX_TILE;
					float *sums = of[k].sums + i * AMX_BLOCK;
					if (!last || !whole) {
						prenas_amx_packed(p->rows - i, count, a, b, next, length, sums, AMX_BLOCK, chunk > 0);
						continue;
					}
					prenas_amx_start(2, 2, sums, AMX_BLOCK, chunk > 0);
					for (int64_t s = 0; s < length; s++) {
						prenas_amx_step(2, 2, a + s * AMX_TILE, next, b + s * AMX_TILE, next);
						if (taken < AMX_BLOCK) {
							done(p, f, row + taken, column, AMX_BLOCK, waiting + (products - 1) * BLOCK + taken * AMX_BLOCK, waiting + taken * AMX_BLOCK, beside);
							taken += beside;
						}
					}
					prenas_amx_finish(2, 2, made + k * BLOCK, AMX_BLOCK);
				}
				if (!last) {
					continue;
				}
				for (; taken < AMX_BLOCK; taken += beside) {
					done(p, f, row + taken, column, AMX_BLOCK, waiting + (products - 1) * BLOCK + taken * AMX_BLOCK, waiting + taken * AMX_BLOCK, beside);
				}
				if (whole) {
					row = i;
					column = j;
					taken = 0;
					turn = 1 - turn;
				} else {
					done(p, f, i, j, count, of[products - 1].sums + i * AMX_BLOCK, of[0].sums + i * AMX_BLOCK, at_most(AMX_BLOCK, p->rows - i));
				}
			}
		}
	}
	for (const float *waiting = p->made + (1 - turn) * 2 * BLOCK; taken < AMX_BLOCK; taken += beside) {
		done(p, f, row + taken, column, AMX_BLOCK, waiting + (products - 1) * BLOCK + taken * AMX_BLOCK, waiting + taken * AMX_BLOCK, beside);
	}
}

// Where a row's 32 values from column on are in a left operand.
INLINE char *in_tiles(char *tiles, int64_t steps, int64_t row, int64_t column) {
	return tiles + ((uint64_t)row / AMX_ROWS * steps + (uint64_t)column / AMX_DEPTH) * AMX_TILE + (uint64_t)row % AMX_ROWS * 64;
}

// Rows of bf16 values as a left operand.
TARGET static void pack_rows(part *p, char *to, const uint16_t *rows, int64_t size, int64_t steps) {
	for (int64_t i = 0; i < rounded_up(p->rows, AMX_ROWS); i++, rows += size) {
		for (int64_t j = 0; j < size; j += AMX_DEPTH) {
			_mm512_store_si512(in_tiles(to, steps, i, j), i < p->rows ? _mm512_maskz_loadu_epi16(halves(size - j), rows + j) : _mm512_setzero_si512());
		}
	}
}

// 32 values, of which count are there, to a row in memory.
INLINE void store_row(const branch *b, uint16_t *to, int64_t count, __m512i x) {
	if (b->past_caches && count == AMX_BLOCK && ((uintptr_t)to & 63) == 0) {
		_mm512_stream_si512((void *)to, x);
	} else {
		_mm512_mask_storeu_epi16(to, halves(count), x);
	}
}

// Mean and 1/√(variance + ε) of each row of x.
TARGET static void moments(part *p) {
	const branch *b = p->b;
	int64_t size = b->size;
	for (int64_t i = 0; i < p->rows; i++) {
		const float *x = b->x + (p->first + i) * size;
		__m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()}, squares[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
		int64_t j = 0;
		for (; j + 32 <= size; j += 32) {
			sums[0] = _mm512_add_ps(sums[0], _mm512_loadu_ps(x + j));
			sums[1] = _mm512_add_ps(sums[1], _mm512_loadu_ps(x + j + 16));
		}
		for (; j < size; j += 16) {
			sums[0] = _mm512_add_ps(sums[0], _mm512_maskz_loadu_ps(lanes(size - j), x + j));
		}
		float mean = _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1])) / size;
		__m512 means = _mm512_set1_ps(mean);
		for (j = 0; j + 32 <= size; j += 32) {
			for (int k = 0; k < 2; k++) {
				__m512 d = _mm512_sub_ps(_mm512_loadu_ps(x + j + 16 * k), means);
				squares[k] = _mm512_fmadd_ps(d, d, squares[k]);
			}
		}
		for (; j < size; j += 16) {
			__mmask16 there = lanes(size - j);
			__m512 d = _mm512_maskz_sub_ps(there, _mm512_maskz_loadu_ps(there, x + j), means);
			squares[0] = _mm512_fmadd_ps(d, d, squares[0]);
		}
		p->mean[i] = mean;
		p->scale[i] = 1 / sqrtf(_mm512_reduce_add_ps(_mm512_add_ps(squares[0], squares[1])) / size + b->eps);
	}
}

// h as a left operand.
TARGET static void normalise(part *p) {
	const branch *b = p->b;
	moments(p);
	for (int64_t i = 0; i < rounded_up(p->rows, AMX_ROWS); i++) {
		const float *x = b->x + (p->first + i) * b->size;
		for (int64_t j = 0; j < b->size; j += AMX_DEPTH) {
			__m512 h[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
			for (int k = 0; k < 2 && i < p->rows; k++) {
				__mmask16 there = lanes(b->size - j - 16 * k);
				__m512 d = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(there, x + j + 16 * k), _mm512_set1_ps(p->mean[i])), _mm512_set1_ps(p->scale[i]));
				h[k] = _mm512_maskz_fmadd_ps(there, d, _mm512_maskz_loadu_ps(there, b->weight + j + 16 * k), _mm512_maskz_loadu_ps(there, b->bias + j + 16 * k));
			}
			_mm512_store_si512(in_tiles(p->h, b->size_steps, i, j), narrow(h[0], h[1]));
		}
	}
}

// Up to 16 values of a vector of which count are there.
INLINE __m512 some(int64_t count, const float *from) { return count >= 16 ? _mm512_loadu_ps(from) : _mm512_maskz_loadu_ps(lanes(count), from); }

// z of 32 columns: sums and bias.
typedef struct {
	__m512 low, high;
} vectors;

INLINE vectors with_bias(vectors bias, const float *sums) {
	return (vectors){_mm512_add_ps(_mm512_load_ps(sums), bias.low), _mm512_add_ps(_mm512_load_ps(sums + 16), bias.high)};
}

INLINE vectors bias_of(const float *bias, int64_t columns) { return (vectors){some(columns, bias), some(columns - 16, bias + 16)}; }

INLINE __m512i only(int64_t columns, __m512i x) { return columns >= AMX_BLOCK ? x : _mm512_maskz_mov_epi16(halves(columns), x); }

INLINE void store_z(part *p, const functions *f, int64_t row, int64_t column, int64_t columns, const float *sums, const float *unused, int64_t count) {
	(void)f, (void)unused;
	const branch *b = p->b;
	uint16_t *to = b->beside + (p->first + row) * b->inner + column;
	vectors bias = bias_of(b->b1 + column, columns);
	for (int64_t i = 0; i < count; i++, to += b->inner, sums += AMX_BLOCK) {
		vectors z = with_bias(bias, sums);
		store_row(b, to, columns, narrow(z.low, z.high));
	}
}

INLINE void activate(part *p, const functions *f, int64_t row, int64_t column, int64_t columns, const float *sums, const float *unused, int64_t count) {
	(void)unused;
	const branch *b = p->b;
	vectors bias = bias_of(b->b1 + column, columns);
	for (int64_t i = 0; i < count; i++, sums += AMX_BLOCK) {
		vectors z = with_bias(bias, sums);
		__m512i o = narrow(gelu(&f->below, z.low, place_of(z.low)), gelu(&f->below, z.high, place_of(z.high)));
		_mm512_store_si512(in_tiles(p->inner, b->inner_steps, row + i, column), only(columns, o));
	}
}

INLINE void add_residual(part *p, const functions *f, int64_t row, int64_t column, int64_t columns, const float *sums, const float *unused, int64_t count) {
	(void)f, (void)unused;
	const branch *b = p->b;
	vectors bias = bias_of(b->b2 + column, columns);
	int64_t at = (p->first + row) * b->size + column;
	bool stream = b->past_caches && columns == AMX_BLOCK && ((uintptr_t)b->to | 4 * b->size) % 64 == 0;
	for (int64_t i = 0; i < count; i++, at += b->size, sums += AMX_BLOCK) {
		__m512 factor = _mm512_set1_ps(p->factor[row + i]);
		vectors y = with_bias(bias, sums);
		y.low = _mm512_fmadd_ps(factor, y.low, some(columns, b->x + at));
		y.high = _mm512_fmadd_ps(factor, y.high, some(columns - 16, b->x + at + 16));
		if (stream) {
			_mm512_stream_ps(b->to + at, y.low);
			_mm512_stream_ps(b->to + at + 16, y.high);
		} else {
			_mm512_mask_storeu_ps(b->to + at, lanes(columns), y.low);
			_mm512_mask_storeu_ps(b->to + at + 16, lanes(columns - 16), y.high);
		}
	}
}

static void fail(branch *b) { __atomic_store_n(&b->failed, true, __ATOMIC_RELAXED); }

TARGET static void forward_part(void *work, int64_t i) {
	branch *b = work;
	int64_t tiles = divided_up(b->rows, AMX_ROWS), first = tiles * i / b->parts * AMX_ROWS;
	part p = {.b = b, .first = first, .rows = at_most(b->rows, tiles * (i + 1) / b->parts * AMX_ROWS) - first};
	if (!part_make(&p, false)) {
		fail(b);
		return;
	}
	prenas_amx_begin();
	if (b->first) {
		normalise(&p);
	} else {
		pack_rows(&p, p.inner, b->given + first * b->inner, b->inner, b->inner_steps);
	}
	factors one = {p.h, b->w1, p.sums}, two = {p.inner, b->w2, p.sums};
	if (b->first && b->second) {
		functions f = {.below = pieces_of(below)};
		times(&p, &f, &one, 1, b->size_steps, b->inner, activate);
	} else if (b->first) {
		times(&p, NULL, &one, 1, b->size_steps, b->inner, store_z);
	}
	if (b->second) {
		times(&p, NULL, &two, 1, b->inner_steps, b->size, add_residual);
	}
	prenas_amx_end();
	_mm_sfence();
	free(p.all);
}

// Packs 32 columns of two tiles of 16 rows as a step of the depth of a product over rows, as two tiles, a group's steps apart: of the right operand or, transposed, of the
// left. lower is NULL for rows that are not there.
INLINE void over_rows(char *to, bool wide, const char *upper, const char *lower, bool transposed) {
	__m512i x[2][16];
	for (int i = 0; i < 8; i++) {
		pair(&x[0][i], &x[1][i], _mm512_load_si512(upper + 128 * i), _mm512_load_si512(upper + 128 * i + 64));
	}
	for (int i = 0; i < 8; i++) {
		if (lower) {
			pair(&x[0][8 + i], &x[1][8 + i], _mm512_load_si512(lower + 128 * i), _mm512_load_si512(lower + 128 * i + 64));
		} else {
			x[0][8 + i] = x[1][8 + i] = _mm512_setzero_si512();
		}
	}
	for (int half = 0; half < 1 + wide; half++, to += GROUP_STEPS * AMX_TILE) {
		if (transposed) {
			transpose(x[half]);
		}
		for (int i = 0; i < 16; i++) {
			_mm512_store_si512(to + 64 * i, x[half][i]);
		}
	}
}

// The same of a whole left operand, for a group.
TARGET static void pack_over_rows(part *p, char *group, char *tiles, int64_t size, int64_t steps, bool transposed) {
	for (int64_t i = 0; i < p->rows; i += AMX_DEPTH) {
		for (int64_t j = 0; j < size; j += AMX_BLOCK) {
			const char *upper = in_tiles(tiles, steps, i, j), *lower = p->rows - i > AMX_ROWS ? upper + steps * AMX_TILE : NULL;
			over_rows(group + (j / 16 * GROUP_STEPS + i / AMX_DEPTH) * AMX_TILE, size - j > 16, upper, lower, transposed);
		}
	}
}

// e as a left operand, and its sums.
TARGET static void scale_adjoint(part *p) {
	const branch *b = p->b;
	for (int64_t i = 0; i < rounded_up(p->rows, AMX_ROWS); i++) {
		const float *v = b->v + (p->first + i) * b->size;
		for (int64_t j = 0; j < b->size; j += AMX_DEPTH) {
			__m512 e[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
			for (int k = 0; k < 2 && i < p->rows; k++) {
				__mmask16 there = lanes(b->size - j - 16 * k);
				float *sum = p->of_b2 + j + 16 * k;
				e[k] = _mm512_maskz_mul_ps(there, _mm512_set1_ps(p->factor[i]), _mm512_maskz_loadu_ps(there, v + j + 16 * k));
				_mm512_mask_storeu_ps(sum, there, _mm512_add_ps(e[k], _mm512_maskz_loadu_ps(there, sum)));
			}
			_mm512_store_si512(in_tiles(p->e, b->size_steps, i, j), narrow(e[0], e[1]));
		}
	}
}

// Adds sums over rows of 32 columns.
INLINE void add_sums(float *to, int64_t columns, __m512 low, __m512 high) {
	_mm512_mask_storeu_ps(to, lanes(columns), _mm512_add_ps(low, _mm512_maskz_loadu_ps(lanes(columns), to)));
	_mm512_mask_storeu_ps(to + 16, lanes(columns - 16), _mm512_add_ps(high, _mm512_maskz_loadu_ps(lanes(columns - 16), to + 16)));
}

// Two rows of 32 columns in bf16 as a line of the pairs of each of two tiles, a group's steps apart, of a right operand.
INLINE void store_pairs(char *to, int64_t columns, __m512i even, __m512i odd) {
	__m512i low, high;
	pair(&low, &high, even, odd);
	_mm512_store_si512(to, low);
	if (columns > 16) {
		_mm512_store_si512(to + GROUP_STEPS * AMX_TILE, high);
	}
}

// The adjoint of z, u, of that of o, and both u and o packed for the adjoints of weights. Rows go in pairs, from an even one on.
INLINE void activate_adjoint(part *p, const functions *f, int64_t row, int64_t column, int64_t columns, const float *sums, const float *of_z, int64_t count) {
	const branch *b = p->b;
	vectors bias = bias_of(b->b1 + column, columns);
	__m512 low = _mm512_setzero_ps(), high = low;
	int64_t line = (column / 16 * GROUP_STEPS + row / AMX_DEPTH) * AMX_TILE + row % AMX_DEPTH / 2 * 64;
	for (int64_t i = 0; i < count; i += 2, line += 64) {
		__m512i u[2], o[2];
		for (int k = 0; k < 2; k++, sums += AMX_BLOCK, of_z += AMX_BLOCK) {
			u[k] = o[k] = _mm512_setzero_si512();
			if (i + k < count) {
				vectors z = with_bias(bias, of_z);
				place p_low = place_of(z.low), p_high = place_of(z.high);
				o[k] = only(columns, narrow(gelu(&f->below, z.low, p_low), gelu(&f->below, z.high, p_high)));
				__m512 u_low = _mm512_mul_ps(_mm512_load_ps(sums), gelu_slope(&f->slope, z.low, p_low));
				__m512 u_high = _mm512_mul_ps(_mm512_load_ps(sums + 16), gelu_slope(&f->slope, z.high, p_high));
				low = _mm512_add_ps(low, u_low);
				high = _mm512_add_ps(high, u_high);
				u[k] = only(columns, narrow(u_low, u_high));
				_mm512_store_si512(in_tiles(p->inner, b->inner_steps, row + i + k, column), u[k]);
			}
		}
		store_pairs(p->u_group + line, columns, u[0], u[1]);
		store_pairs(p->o_group + line, columns, o[0], o[1]);
	}
	add_sums(p->of_b1 + column, columns, low, high);
	if (row + count < p->rows) {
		return;
	}
	// Rows that are not there, up to whole tiles.
	for (int64_t i = p->rows; i < rounded_up(p->rows, AMX_ROWS); i++) {
		_mm512_store_si512(in_tiles(p->inner, b->inner_steps, i, column), _mm512_setzero_si512());
	}
	for (int64_t i = rounded_up(p->rows, 2); i < rounded_up(p->rows, AMX_DEPTH); i += 2, line += 64) {
		store_pairs(p->u_group + line, columns, _mm512_setzero_si512(), _mm512_setzero_si512());
		store_pairs(p->o_group + line, columns, _mm512_setzero_si512(), _mm512_setzero_si512());
	}
}

INLINE void store_adjoint(part *p, const functions *f, int64_t row, int64_t column, int64_t columns, const float *sums, const float *unused, int64_t count) {
	(void)f, (void)unused;
	const branch *b = p->b;
	uint16_t *to = b->beside + (p->first + row) * b->inner + column;
	for (int64_t i = 0; i < count; i++, to += b->inner, sums += AMX_BLOCK) {
		store_row(b, to, columns, narrow(_mm512_load_ps(sums), _mm512_load_ps(sums + 16)));
	}
}

INLINE void store_dh(part *p, const functions *f, int64_t row, int64_t column, int64_t columns, const float *sums, const float *unused, int64_t count) {
	(void)f, (void)columns, (void)unused;
	int64_t line = p->b->size_steps * AMX_DEPTH;
	float *to = p->dh + row * line + column;
	for (int64_t i = 0; i < count; i++, to += line, sums += AMX_BLOCK) {
		_mm512_store_ps(to, _mm512_load_ps(sums));
		_mm512_store_ps(to + 16, _mm512_load_ps(sums + 16));
	}
}

// Sums over the rows of a left operand.
TARGET static void sum_rows(part *p, char *tiles, int64_t size, int64_t steps, float *to) {
	for (int64_t j = 0; j < size; j += AMX_DEPTH) {
		__m512 low = _mm512_setzero_ps(), high = low;
		for (int64_t i = 0; i < p->rows; i++) {
			__m512i x = _mm512_load_si512(in_tiles(tiles, steps, i, j));
			low = _mm512_add_ps(low, low_of(x));
			high = _mm512_add_ps(high, high_of(x));
		}
		add_sums(to + j, size - j, low, high);
	}
}

// The adjoint of x, of those of h and y, and the sums of those of LayerNorm's weight and bias.
TARGET static void normalise_adjoint(part *p) {
	const branch *b = p->b;
	int64_t size = b->size, line = b->size_steps * AMX_DEPTH;
	for (int64_t i = 0; i < p->rows; i++) {
		const float *dh = p->dh + i * line, *x = b->x + (p->first + i) * size, *v = b->v + (p->first + i) * size;
		float *to = b->to + (p->first + i) * size;
		__m512 mean = _mm512_set1_ps(p->mean[i]), scale = _mm512_set1_ps(p->scale[i]), of_u = _mm512_setzero_ps(), of_uh = of_u;
		for (int64_t j = 0; j < size; j += 16) {
			__mmask16 there = lanes(size - j);
			__m512 d = _mm512_maskz_mov_ps(there, _mm512_load_ps(dh + j)), h = _mm512_mul_ps(scale, _mm512_maskz_sub_ps(there, _mm512_maskz_loadu_ps(there, x + j), mean));
			__m512 u = _mm512_mul_ps(d, _mm512_maskz_loadu_ps(there, b->weight + j));
			of_u = _mm512_add_ps(of_u, u);
			of_uh = _mm512_fmadd_ps(u, h, of_uh);
			_mm512_mask_storeu_ps(p->of_weight + j, there, _mm512_fmadd_ps(d, h, _mm512_maskz_loadu_ps(there, p->of_weight + j)));
			_mm512_mask_storeu_ps(p->of_bias + j, there, _mm512_add_ps(d, _mm512_maskz_loadu_ps(there, p->of_bias + j)));
		}
		__m512 mean_u = _mm512_set1_ps(_mm512_reduce_add_ps(of_u) / size), mean_uh = _mm512_set1_ps(_mm512_reduce_add_ps(of_uh) / size);
		for (int64_t j = 0; j < size; j += 16) {
			__mmask16 there = lanes(size - j);
			__m512 h = _mm512_mul_ps(scale, _mm512_sub_ps(_mm512_maskz_loadu_ps(there, x + j), mean));
			__m512 u = _mm512_mul_ps(_mm512_load_ps(dh + j), _mm512_maskz_loadu_ps(there, b->weight + j));
			__m512 rest = _mm512_fnmadd_ps(h, mean_uh, _mm512_sub_ps(u, mean_u));
			_mm512_mask_storeu_ps(to + j, there, _mm512_fmadd_ps(scale, rest, _mm512_maskz_loadu_ps(there, v + j)));
		}
	}
}

// Bytes of a group of so many columns.
static int64_t group_bytes(int64_t columns) { return 2 * blocks_of(columns) * GROUP_STEPS * AMX_TILE; }

static int64_t vectors_of(const branch *b) { return 3 * b->size + b->inner; }

TARGET static void backward_part(void *work, int64_t i) {
	branch *b = work;
	int64_t number = b->group * (GROUP_ROWS / b->part_rows) + i, first = number * b->part_rows, group = first / GROUP_ROWS - b->group;
	part p = {.b = b, .first = first, .rows = at_most(b->rows - first, b->part_rows)};
	if (!part_make(&p, true)) {
		fail(b);
		return;
	}
	int64_t within = first % GROUP_ROWS / AMX_DEPTH * AMX_TILE;
	p.h_group = b->h + group * group_bytes(b->size) + within;
	p.e_group = b->e + group * group_bytes(b->size) + within;
	p.u_group = b->u + group * group_bytes(b->inner) + within;
	p.o_group = b->o + group * group_bytes(b->inner) + within;
	p.of_weight = b->vectors + number * vectors_of(b);
	p.of_bias = p.of_weight + b->size;
	p.of_b2 = p.of_bias + b->size;
	p.of_b1 = p.of_b2 + b->size;
	prenas_amx_begin();
	if (b->first) {
		normalise(&p);
		pack_over_rows(&p, p.h_group, p.h, b->size, b->size_steps, true);
	}
	if (b->second) {
		scale_adjoint(&p);
		pack_over_rows(&p, p.e_group, p.e, b->size, b->size_steps, true);
	}
	if (b->first && b->second) {
		functions f = {pieces_of(below), pieces_of(slope)};
		factors both[] = {{p.h, b->w1, p.z}, {p.e, b->w2_adjoint, p.sums}};
		times(&p, &f, both, 2, b->size_steps, b->inner, activate_adjoint);
	} else {
		pack_rows(&p, p.inner, b->given + first * b->inner, b->inner, b->inner_steps);
		pack_over_rows(&p, b->first ? p.u_group : p.o_group, p.inner, b->inner, b->inner_steps, false);
		if (b->first) {
			sum_rows(&p, p.inner, b->inner, b->inner_steps, p.of_b1);
		} else {
			factors of_o = {p.e, b->w2_adjoint, p.sums};
			times(&p, NULL, &of_o, 1, b->size_steps, b->inner, store_adjoint);
		}
	}
	if (b->first) {
		factors of_h = {p.inner, b->w1_adjoint, p.sums};
		times(&p, NULL, &of_h, 1, b->inner_steps, b->size, store_dh);
		normalise_adjoint(&p);
	}
	prenas_amx_end();
	_mm_sfence();
	free(p.all);
}

// Adds what is packed to some columns of the adjoints of W1ᵀ, then of W2.
TARGET static void sum_part(void *work, int64_t i) {
	branch *b = work;
	int64_t blocks = blocks_of(b->inner), of_size = blocks_of(b->size), parts = divided_up(blocks, b->width);
	bool of_first = b->first && i < parts;
	const char *left = of_first ? b->h : b->e, *right = of_first ? b->u : b->o;
	float *to = of_first ? b->sums1 : b->sums2;
	int64_t from = i % parts * b->width, end = at_most(blocks, from + b->width), next = GROUP_STEPS * AMX_TILE;
	prenas_amx_begin();
	for (int64_t group = b->group; group < b->groups_end; group++, left += group_bytes(b->size), right += group_bytes(b->inner)) {
		int64_t steps = divided_up(at_most(GROUP_ROWS, b->rows - group * GROUP_ROWS), AMX_DEPTH);
		for (int64_t j = from; j < end; j++) {
			const char *y = right + 2 * j * next;
			for (int64_t k = 0; k < of_size; k++) {
				const char *x = left + 2 * k * next;
				float *sums = to + (k * blocks + j) * AMX_BLOCK * AMX_BLOCK;
				prenas_amx_packed(b->size - k * AMX_BLOCK, b->inner - j * AMX_BLOCK, x, y, next, steps, sums, AMX_BLOCK, group > 0);
			}
		}
	}
	prenas_amx_end();
}

// What a call's weights become, with their sums.
typedef struct {
	const branch *b;
	float *w1, *w2; // [inner, size], [size, inner]
} weights;

static void store_w2(void *work, int64_t k) {
	const weights *w = work;
	const branch *b = w->b;
	const float *sums = b->sums2 + k * blocks_of(b->inner) * AMX_BLOCK * AMX_BLOCK;
	int64_t rows = at_most(AMX_BLOCK, b->size - k * AMX_BLOCK);
	for (int64_t j = 0; j < b->inner; j += AMX_BLOCK, sums += AMX_BLOCK * AMX_BLOCK) {
		for (int64_t i = 0; i < rows; i++) {
			memcpy(w->w2 + (k * AMX_BLOCK + i) * b->inner + j, sums + i * AMX_BLOCK, at_most(AMX_BLOCK, b->inner - j) * sizeof(float));
		}
	}
}

TARGET static void store_w1(void *work, int64_t j) {
	const weights *w = work;
	const branch *b = w->b;
	for (int64_t k = 0; k < b->size; k += 16) {
		const float *sums = b->sums1 + (k / AMX_BLOCK * blocks_of(b->inner) + j) * AMX_BLOCK * AMX_BLOCK + k % AMX_BLOCK * AMX_BLOCK;
		for (int64_t half = 0; half < 2; half++) {
			__m512i x[16];
			for (int i = 0; i < 16; i++) {
				x[i] = _mm512_load_si512(sums + i * AMX_BLOCK + 16 * half);
			}
			transpose(x);
			int64_t row = j * AMX_BLOCK + 16 * half;
			for (int64_t i = 0; i < 16 && row + i < b->inner; i++) {
				_mm512_mask_storeu_epi32(w->w1 + (row + i) * b->size + k, lanes(b->size - k), x[i]);
			}
		}
	}
}

// A right operand, [depth, columns], of a weight in float32 that is [columns, depth], or [depth, columns].
typedef struct {
	const float *weight;
	char *to;
	int64_t columns, depth;
	bool over_columns;
} packing;

TARGET static void pack_block(void *work, int64_t block) {
	const packing *w = work;
	int64_t steps = divided_up(w->depth, AMX_DEPTH);
	char *to = w->to + 2 * block * steps * AMX_TILE;
	for (int64_t first = block * AMX_BLOCK; first < (block + 1) * AMX_BLOCK; first += 16) {
		for (int64_t s = 0; s < steps; s++, to += AMX_TILE) {
			__m512i x[16];
			for (int64_t i = 0; i < 16; i++) {
				__m512 low, high;
				if (w->over_columns) {
					const float *row = w->weight + (first + i) * w->depth + s * AMX_DEPTH;
					int64_t count = first + i < w->columns ? w->depth - s * AMX_DEPTH : 0;
					low = _mm512_maskz_loadu_ps(lanes(count), row);
					high = _mm512_maskz_loadu_ps(lanes(count - 16), row + 16);
					x[i] = narrow(low, high);
					continue;
				}
				int64_t depth = s * AMX_DEPTH + 2 * i;
				const float *row = w->weight + depth * w->columns + first;
				__mmask16 there = lanes(w->columns - first);
				low = _mm512_maskz_loadu_ps(depth < w->depth ? there : 0, row);
				high = _mm512_maskz_loadu_ps(depth + 1 < w->depth ? there : 0, row + w->columns);
				x[i] = _mm512_permutexvar_epi16(pair_order(), narrow(low, high));
			}
			if (w->over_columns) {
				transpose(x);
			}
			for (int i = 0; i < 16; i++) {
				_mm512_store_si512(to + 64 * i, x[i]);
			}
		}
	}
}

static ffi_error *misshapen(ffi_frame *frame) {
	return prenas_error(frame, FFI_INVALID_ARGUMENT, "a branch of shapes that do not go together, or on a processor without AMX");
}

static bool is_packed(const ffi_buffer *b, int64_t columns, int64_t depth) {
	return b->dtype == FFI_BF16 && b->rank == 2 && b->dims[0] == rounded_up(columns, AMX_BLOCK) && b->dims[1] == rounded_up(depth, AMX_DEPTH);
}

static bool is_matrix(const ffi_buffer *b, int dtype, int64_t rows, int64_t columns) {
	return b->dtype == dtype && b->rank > 0 && b->dims[b->rank - 1] == columns && prenas_values(b) == rows * columns;
}

static bool is_scalar(const ffi_buffer *b) { return b->dtype == FFI_FLOAT32 && b->rank == 0; }

// A weight, [out, in] in float32, packed as a right operand for a product over its columns, or, over both, over its rows.
ffi_error *prenas_pack(ffi_frame *frame) {
	if (prenas_described(frame)) {
		return NULL;
	}
	if (frame->operands.size != 1 || frame->results.size != 1 || !prenas_amx()) {
		return misshapen(frame);
	}
	const ffi_buffer *weight = frame->operands.buffers[0], *to = frame->results.buffers[0];
	if (weight->dtype != FFI_FLOAT32 || weight->rank != 2) {
		return misshapen(frame);
	}
	bool over_columns = prenas_attribute(frame, "over", -1) == PRENAS_OVER_COLUMNS;
	packing p = {weight->data, to->data, weight->dims[!over_columns], weight->dims[over_columns], over_columns};
	if (p.columns < 1 || p.depth < 1 || !is_packed(to, p.columns, p.depth)) {
		return misshapen(frame);
	}
	prenas_share(frame, blocks_of(p.columns), pack_block, &p);
	return NULL;
}

// What both passes have: x or v, and which halves there are.
static bool read_branch(branch *b, ffi_frame *frame) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	if (frame->operands.size < 1 || !prenas_amx()) {
		return false;
	}
	pthread_once(&once, make_pieces);
	const ffi_buffer *x = frame->operands.buffers[0];
	*b = (branch){.first = prenas_attribute(frame, "first", 0), .second = prenas_attribute(frame, "second", 0), .tokens = prenas_attribute(frame, "tokens", 1)};
	if (x->dtype != FFI_FLOAT32 || x->rank < 1 || x->dims[x->rank - 1] < 1 || b->tokens < 1 || !(b->first || b->second)) {
		return false;
	}
	b->size = x->dims[x->rank - 1];
	b->rows = prenas_values(x) / b->size;
	b->size_steps = divided_up(b->size, AMX_DEPTH);
	return b->rows > 0 && b->rows % b->tokens == 0;
}

// So many rows of a part that what it has in the second cache fits.
static int64_t rows_of_part(const branch *b) {
	int64_t rows = PART_ROWS;
	while (rows > AMX_BLOCK && rows * (2 * b->inner + 8 * b->size) > PART_BYTES) {
		rows /= 2;
	}
	return rows;
}

// Operands: x [..., size]; of the first half LayerNorm's weight and bias [size] and ε, W1ᵀ packed, b1 [inner]; without it o [..., inner] in bf16; of the
// second W2ᵀ packed, b2 [size], factor [samples]. Result: y like x, or z like o without the second half.
ffi_error *prenas_branch(ffi_frame *frame) {
	if (prenas_described(frame)) {
		return NULL;
	}
	branch b;
	if (!read_branch(&b, frame) || frame->operands.size != 1 + (b.first ? 5 : 1) + (b.second ? 3 : 0) || frame->results.size != 1) {
		return misshapen(frame);
	}
	ffi_buffer **in = frame->operands.buffers, *out = frame->results.buffers[0];
	b.x = in++[0]->data;
	const ffi_buffer *middle = b.first ? in[4] : in[0];
	if (middle->rank < 1 || (b.inner = middle->dims[middle->rank - 1]) < 1) {
		return misshapen(frame);
	}
	b.inner_steps = divided_up(b.inner, AMX_DEPTH);
	if (b.first) {
		if (!prenas_is_vector(in[0], b.size) || !prenas_is_vector(in[1], b.size) || !is_scalar(in[2]) || !is_packed(in[3], b.inner, b.size) || !prenas_is_vector(in[4], b.inner)) {
			return misshapen(frame);
		}
		b.weight = in[0]->data;
		b.bias = in[1]->data;
		b.eps = *(const float *)in[2]->data;
		b.w1 = in[3]->data;
		b.b1 = in[4]->data;
		in += 5;
	} else {
		if (!is_matrix(in[0], FFI_BF16, b.rows, b.inner)) {
			return misshapen(frame);
		}
		b.given = in++[0]->data;
	}
	if (b.second) {
		if (!is_packed(in[0], b.size, b.inner) || !prenas_is_vector(in[1], b.size) || !prenas_is_vector(in[2], b.rows / b.tokens) || !is_matrix(out, FFI_FLOAT32, b.rows, b.size)) {
			return misshapen(frame);
		}
		b.w2 = in[0]->data;
		b.b2 = in[1]->data;
		b.factor = in[2]->data;
		b.to = out->data;
	} else {
		if (!is_matrix(out, FFI_BF16, b.rows, b.inner)) {
			return misshapen(frame);
		}
		b.beside = out->data;
	}
	b.past_caches = b.rows * (b.second ? 4 * b.size : 2 * b.inner) >= PAST_CACHES;
	// No sum is over rows, so threads may decide how many parts there are.
	b.parts = at_most(divided_up(b.rows, AMX_ROWS), rounded_up(divided_up(b.rows, rows_of_part(&b)), prenas_threads(frame)));
	prenas_share(frame, b.parts, forward_part, &b);
	return b.failed ? prenas_error(frame, FFI_RESOURCE_EXHAUSTED, "no memory left for a branch") : NULL;
}

static bool backward_scratch(branch *b, int64_t groups) {
	int64_t of_size = groups * group_bytes(b->size), of_inner = groups * group_bytes(b->inner);
	int64_t sums = blocks_of(b->size) * blocks_of(b->inner) * AMX_BLOCK * AMX_BLOCK * sizeof(float);
	b->vectors = calloc(divided_up(b->rows, b->part_rows) * vectors_of(b), sizeof(float));
	bool made = b->vectors;
	if (b->first) {
		b->h = aligned_alloc(64, of_size);
		b->u = aligned_alloc(64, of_inner);
		b->sums1 = aligned_alloc(64, sums);
		made = made && b->h && b->u && b->sums1;
	}
	if (b->second) {
		b->e = aligned_alloc(64, of_size);
		b->o = aligned_alloc(64, of_inner);
		b->sums2 = aligned_alloc(64, sums);
		made = made && b->e && b->o && b->sums2;
	}
	return made;
}

// The sums of all parts of one vector, in their order.
static void sum_vectors(const branch *b, float *to, int64_t at, int64_t size) {
	memset(to, 0, size * sizeof(float));
	for (int64_t i = 0; i < divided_up(b->rows, b->part_rows); i++) {
		const float *from = b->vectors + i * vectors_of(b) + at;
		for (int64_t j = 0; j < size; j++) {
			to[j] += from[j];
		}
	}
}

// Operands: the adjoint v of y [..., size]; of the first half x, LayerNorm's weight and bias and ε, and W1 packed; of both W1ᵀ packed and b1 too; of the
// second W2 packed and factor; of one half the adjoint of z, or o. Results: of the first half the adjoints of x, which has v in it, of LayerNorm's weight and bias, W1 and b1; of
// the second those of W2 and b2; without the first that of o.
ffi_error *prenas_branch_adjoint(ffi_frame *frame) {
	if (prenas_described(frame)) {
		return NULL;
	}
	branch b;
	if (!read_branch(&b, frame)) {
		return misshapen(frame);
	}
	bool both = b.first && b.second;
	if (frame->operands.size != 1 + (b.first ? 5 : 0) + (b.second ? 2 : 0) + (both ? 2 : 1) || frame->results.size != (b.first ? 5 : 1) + (b.second ? 2 : 0)) {
		return misshapen(frame);
	}
	ffi_buffer **in = frame->operands.buffers, **out = frame->results.buffers;
	b.v = in++[0]->data;
	const ffi_buffer *middle = both ? in[6] : frame->operands.buffers[frame->operands.size - 1];
	if (middle->rank < 1 || (b.inner = middle->dims[middle->rank - 1]) < 1) {
		return misshapen(frame);
	}
	b.inner_steps = divided_up(b.inner, AMX_DEPTH);
	if (b.first) {
		if (!is_matrix(in[0], FFI_FLOAT32, b.rows, b.size) || !prenas_is_vector(in[1], b.size) || !prenas_is_vector(in[2], b.size) || !is_scalar(in[3]) ||
		    !is_packed(in[4], b.size, b.inner) || !is_matrix(out[0], FFI_FLOAT32, b.rows, b.size) || !prenas_is_vector(out[1], b.size) || !prenas_is_vector(out[2], b.size) ||
		    !is_matrix(out[3], FFI_FLOAT32, b.inner, b.size) || !prenas_is_vector(out[4], b.inner)) {
			return misshapen(frame);
		}
		b.x = in[0]->data;
		b.weight = in[1]->data;
		b.bias = in[2]->data;
		b.eps = *(const float *)in[3]->data;
		b.w1_adjoint = in[4]->data;
		b.to = out[0]->data;
		in += 5;
	}
	if (both) {
		if (!is_packed(in[0], b.inner, b.size) || !prenas_is_vector(in[1], b.inner)) {
			return misshapen(frame);
		}
		b.w1 = in[0]->data;
		b.b1 = in[1]->data;
		in += 2;
	}
	ffi_buffer **of_second = out + (b.first ? 5 : 0);
	if (b.second) {
		if (!is_packed(in[0], b.inner, b.size) || !prenas_is_vector(in[1], b.rows / b.tokens) || !is_matrix(of_second[0], FFI_FLOAT32, b.size, b.inner) ||
		    !prenas_is_vector(of_second[1], b.size)) {
			return misshapen(frame);
		}
		b.w2_adjoint = in[0]->data;
		b.factor = in[1]->data;
		in += 2;
	}
	if (!both) {
		if (!is_matrix(in[0], FFI_BF16, b.rows, b.inner) || (b.second && !is_matrix(of_second[2], FFI_BF16, b.rows, b.inner))) {
			return misshapen(frame);
		}
		b.given = in[0]->data;
		b.beside = b.second ? of_second[2]->data : NULL;
	}
	b.past_caches = b.beside && 2 * b.rows * b.inner >= PAST_CACHES;
	b.part_rows = rows_of_part(&b);
	b.width = at_least(1, SUMS_BYTES / (4 * AMX_BLOCK * AMX_BLOCK * blocks_of(b.size)));
	b.width = at_least(1, at_most(b.width, divided_up(blocks_of(b.inner), 2 * prenas_threads(frame))));
	int64_t groups = divided_up(b.rows, GROUP_ROWS), halves = b.first + b.second;
	int64_t most = at_most(groups, at_least(1, PACKED_BYTES / (halves * (group_bytes(b.size) + group_bytes(b.inner)))));
	b.failed = !backward_scratch(&b, most);
	for (b.group = 0; b.group < groups && !b.failed; b.group = b.groups_end) {
		b.groups_end = at_most(groups, b.group + most);
		int64_t rows = at_most(b.rows, b.groups_end * GROUP_ROWS) - b.group * GROUP_ROWS;
		prenas_share(frame, divided_up(rows, b.part_rows), backward_part, &b);
		if (!b.failed) {
			prenas_share(frame, halves * divided_up(blocks_of(b.inner), b.width), sum_part, &b);
		}
	}
	if (!b.failed && b.first) {
		weights w = {.b = &b, .w1 = out[3]->data};
		prenas_share(frame, blocks_of(b.inner), store_w1, &w);
		sum_vectors(&b, out[1]->data, 0, b.size);
		sum_vectors(&b, out[2]->data, b.size, b.size);
		sum_vectors(&b, out[4]->data, 3 * b.size, b.inner);
	}
	if (!b.failed && b.second) {
		weights w = {.b = &b, .w2 = of_second[0]->data};
		prenas_share(frame, blocks_of(b.size), store_w2, &w);
		sum_vectors(&b, of_second[1]->data, 2 * b.size, b.size);
	}
	void *all[] = {b.vectors, b.sums1, b.sums2, b.h, b.e, b.u, b.o};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		free(all[i]);
	}
	return b.failed ? prenas_error(frame, FFI_RESOURCE_EXHAUSTED, "no memory left for the adjoint of a branch") : NULL;
}

#else

static ffi_error *refused(ffi_frame *frame) {
	return prenas_described(frame) ? NULL : prenas_error(frame, FFI_INVALID_ARGUMENT, "branches need a processor with AMX");
}

ffi_error *prenas_pack(ffi_frame *frame) { return refused(frame); }
ffi_error *prenas_branch(ffi_frame *frame) { return refused(frame); }
ffi_error *prenas_branch_adjoint(ffi_frame *frame) { return refused(frame); }

#endif
