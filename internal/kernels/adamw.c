//go:build linux && cgo

// The update of AdamW, of all tensors in one call, and the sum of the squares of all gradients, by which they are
// clipped.
//
// As operations of XLA an update is several kernels for each of hundreds of tensors, each divided between the
// threads and waited for, and each gradient is read for every moment and for the weight. Here all that there is of a weight
// is read once and written once:
//
//	x = factor · gradient                               factor: of clipping
//	m = m + (1-β1) · (x - m)
//	v = β2 · v + (1-β2) · x²
//	w = (1 - rate·decay) · w - rate/(1-β1ᵗ) · m / (√v/√(1-β2ᵗ) + ε)
//	average = average + (1 - its decay) · (w - average)
//
// as torch.optim.AdamW has it (Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019), and a moving average of
// the weights if there is one. A gradient may be that of the first indices of a weight along each axis, which an
// architecture uses: for the rest it is zero.
//
// Work is divided by values, over all tensors. The sum of squares is taken part by part, and the parts are added in
// their order: the number of threads does not change a bit.

#include "call.h"
#include "numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#pragma GCC optimize("O3")

enum {
	PART = 1 << 16,  // values
	PIECE = 1 << 10, // values that the nearest cache has room for with all that is computed of them
	LANES = 16,      // sums side by side
};

// Some values of a tensor.
typedef struct {
	int64_t tensor, from, to;
} range;

// Divides tensors into ranges. NULL: no memory.
static range *divide(ffi_buffer *const *tensors, int64_t count, int64_t *ranges) {
	*ranges = 0;
	for (int64_t k = 0; k < count; k++) {
		*ranges += divided_up(prenas_values(tensors[k]), PART);
	}
	range *all = malloc(at_least(1, *ranges) * sizeof *all), *next = all;
	for (int64_t k = 0; k < count && all; k++) {
		for (int64_t from = 0, values = prenas_values(tensors[k]); from < values; from += PART) {
			*next++ = (range){k, from, at_most(from + PART, values)};
		}
	}
	return all;
}

static bool all_float32(const ffi_buffers *buffers) {
	for (int64_t i = 0; i < buffers->size; i++) {
		if (buffers->buffers[i]->dtype != FFI_FLOAT32) {
			return false;
		}
	}
	return true;
}

// The groups of tensors, in the order of operands and results.
enum { WEIGHTS, M, V, AVERAGES, MOST_GROUPS };

// What is the same for all tensors, in the order of the last operand.
enum { FACTOR, FINITE, OF_GRADIENT, KEEP, OF_SQUARE, EPSILON, OF_WEIGHT, SETTINGS };

// What each tensor has of its own: the rows of the operand before it.
enum { REMAINS, STEP, ROOT, OWN };

typedef void updater(const float *settings, const float own[OWN], int64_t count, const float *gradient, const float *const *before,
	float *const *after, bool average);

typedef struct {
	const float *settings, *own;
	ffi_buffer *const *gradients, *const *before, *const *after; // [tensors], [groups, tensors]
	int64_t tensors, groups;
	const range *ranges;
	updater *update;
} adamw;

// Square roots in place; count is a multiple of LANES. (The compiler makes none of them side by side, because sqrtf may set errno.)
typedef void roots(float *x, int64_t count);

// A piece at most.
static inline __attribute__((always_inline)) void update(const float *settings, const float own[OWN], int64_t count, const float *gradient,
	const float *const *before, float *const *after, bool average, roots *roots) {
	float factor = settings[FACTOR], of_gradient = settings[OF_GRADIENT], keep = settings[KEEP], of_square = settings[OF_SQUARE];
	float epsilon = settings[EPSILON], of_weight = settings[OF_WEIGHT], remains = own[REMAINS], step = own[STEP], root = own[ROOT];
	const float *w = before[WEIGHTS], *m = before[M], *v = before[V];
	float *to_w = after[WEIGHTS], *to_m = after[M], *to_v = after[V], deviation[PIECE];
#pragma GCC ivdep // a result may be where its operand is, but nowhere else
	for (int64_t i = 0; i < count; i++) {
		float x = factor * gradient[i];
		deviation[i] = to_v[i] = keep * v[i] + of_square * (x * x);
		to_m[i] = m[i] + of_gradient * (x - m[i]);
	}
	for (int64_t i = count; i % LANES; i++) {
		deviation[i] = 0;
	}
	roots(deviation, rounded_up(count, LANES));
#pragma GCC ivdep
	for (int64_t i = 0; i < count; i++) {
		to_w[i] = remains * w[i] - step * (to_m[i] / (deviation[i] / root + epsilon));
	}
	if (average) {
		const float *a = before[AVERAGES];
		float *to_a = after[AVERAGES];
#pragma GCC ivdep
		for (int64_t i = 0; i < count; i++) {
			to_a[i] = a[i] + of_weight * (to_w[i] - a[i]);
		}
	}
}

typedef float vector __attribute__((vector_size(4 * LANES), aligned(4)));

// Sums of a piece are of float32, of pieces of float64.
static inline __attribute__((always_inline)) double squares(const float *x, int64_t count) {
	double total = 0;
	for (int64_t piece; count > 0; count -= piece, x += piece) {
		piece = at_most(count, PIECE);
		vector sums[4] = {{0}};
		int64_t i = 0;
		for (; i + 4 * LANES <= piece; i += 4 * LANES) {
			for (int j = 0; j < 4; j++) {
				vector some = *(const vector *)(x + i + j * LANES);
				sums[j] += some * some;
			}
		}
		sums[0] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
		for (int lane = 0; lane < LANES; lane++) {
			total += sums[0][lane];
		}
		for (; i < piece; i++) {
			total += x[i] * x[i];
		}
	}
	return total;
}

// For vectors of so many lanes; root stores the roots of those at an address.
#define OF_WIDTH(lanes, root, target)                                                                                        \
	target static void roots_##lanes(float *x, int64_t count) {                                                              \
		for (float *end = x + count; x < end; x += lanes) {                                                                  \
			root;                                                                                                            \
		}                                                                                                                    \
	}                                                                                                                        \
	target static void update_##lanes(const float *settings, const float own[OWN], int64_t count, const float *gradient,    \
		const float *const *before, float *const *after, bool average) {                                                     \
		update(settings, own, count, gradient, before, after, average, roots_##lanes);                                       \
	}                                                                                                                        \
	target static double squares_##lanes(const float *x, int64_t count) { return squares(x, count); }

#if defined(__x86_64__)
OF_WIDTH(4, _mm_storeu_ps(x, _mm_sqrt_ps(_mm_loadu_ps(x))), )
OF_WIDTH(8, _mm256_storeu_ps(x, _mm256_sqrt_ps(_mm256_loadu_ps(x))), __attribute__((target("avx2,fma"))))
OF_WIDTH(16, _mm512_storeu_ps(x, _mm512_sqrt_ps(_mm512_loadu_ps(x))), __attribute__((target("avx512f,prefer-vector-width=512"))))
#else
OF_WIDTH(4, for (int i = 0; i < 4; i++) x[i] = sqrtf(x[i]), )
#endif

typedef double summer(const float *x, int64_t count);

// The functions for the widest vectors of the processor, or of the attribute "lanes".
static void choose(ffi_frame *frame, updater **update, summer **squares) {
	*update = update_4;
	*squares = squares_4;
#if defined(__x86_64__)
	switch (prenas_lanes(prenas_attribute(frame, "lanes", LANES))) {
	case 16:
		*update = update_16;
		*squares = squares_16;
		break;
	case 8:
		*update = update_8;
		*squares = squares_8;
	}
#else
	(void)frame;
#endif
}

// Updates some values of a tensor, which lie side by side and so do their gradients; NULL: these are zero.
static void update_run(const adamw *a, int64_t tensor, int64_t from, int64_t count, const float *gradient) {
	static const float zeros[PIECE];
	float own[OWN];
	for (int i = 0; i < OWN; i++) {
		own[i] = a->own[i * a->tensors + tensor];
	}
	for (int64_t at = 0; at < count; at += PIECE) {
		const float *before[MOST_GROUPS];
		float *after[MOST_GROUPS];
		for (int64_t g = 0; g < a->groups; g++) {
			before[g] = (const float *)a->before[g * a->tensors + tensor]->data + from + at;
			after[g] = (float *)a->after[g * a->tensors + tensor]->data + from + at;
		}
		a->update(a->settings, own, at_most(PIECE, count - at), gradient ? gradient + at : zeros, before, after, a->groups > AVERAGES);
	}
}

static void update_range(void *work, int64_t part) {
	const adamw *a = work;
	range r = a->ranges[part];
	if (!a->settings[FINITE]) {
		for (int64_t g = 0; g < a->groups; g++) {
			const float *before = a->before[g * a->tensors + r.tensor]->data;
			float *after = a->after[g * a->tensors + r.tensor]->data;
			if (after != before) {
				memcpy(after + r.from, before + r.from, (r.to - r.from) * sizeof(float));
			}
		}
		return;
	}
	const ffi_buffer *gradient = a->gradients[r.tensor], *weight = a->before[r.tensor];
	// Rows of both that begin alike: beyond their axis all is the same.
	int64_t axis = at_least(0, weight->rank - 1), row = 1, of_gradient = 1;
	while (axis > 0 && gradient->dims[axis] == weight->dims[axis]) {
		row *= weight->dims[axis--];
	}
	if (weight->rank > 0) {
		of_gradient = row * gradient->dims[axis];
		row *= weight->dims[axis];
	}
	for (int64_t at = r.from, end; at < r.to; at = end) {
		int64_t offset = at % row, rest = at / row, size = 1, index = 0;
		end = at_most(r.to, at - offset + row);
		bool within = true;
		for (int64_t i = axis - 1; i >= 0; i--) {
			int64_t coordinate = rest % weight->dims[i];
			within = within && coordinate < gradient->dims[i];
			index += coordinate * size;
			size *= gradient->dims[i];
			rest /= weight->dims[i];
		}
		int64_t given = within ? at_least(0, at_most(end - at, of_gradient - offset)) : 0;
		if (given) {
			update_run(a, r.tensor, at, given, (const float *)gradient->data + index * of_gradient + offset);
		}
		update_run(a, r.tensor, at + given, end - at - given, NULL);
	}
}

static bool read_adamw(adamw *a, ffi_frame *frame) {
	const ffi_buffers *operands = &frame->operands, *results = &frame->results;
	int64_t tensors = operands->size - 2 - results->size; // those of the gradients
	if (tensors < 1 || results->size % tensors || !all_float32(operands) || !all_float32(results)) {
		return false;
	}
	ffi_buffer *const *all = operands->buffers;
	const ffi_buffer *own = all[operands->size - 2], *settings = all[operands->size - 1];
	*a = (adamw){.gradients = all, .before = all + tensors, .after = results->buffers, .own = own->data, .settings = settings->data,
		.tensors = tensors, .groups = results->size / tensors};
	bool fits = (a->groups == MOST_GROUPS || a->groups == AVERAGES) && prenas_values(own) == OWN * tensors && prenas_values(settings) == SETTINGS;
	for (int64_t i = 0; i < results->size && fits; i++) {
		const ffi_buffer *weight = a->before[i % tensors], *gradient = a->gradients[i % tensors];
		fits = a->before[i]->rank == weight->rank && a->after[i]->rank == weight->rank && gradient->rank == weight->rank;
		for (int64_t axis = 0; axis < weight->rank && fits; axis++) {
			fits = a->before[i]->dims[axis] == weight->dims[axis] && a->after[i]->dims[axis] == weight->dims[axis] &&
			       gradient->dims[axis] <= weight->dims[axis];
		}
	}
	return fits;
}

static ffi_error *no_memory(ffi_frame *frame) {
	return prenas_error(frame, FFI_RESOURCE_EXHAUSTED, "no memory left for an update");
}

// The new weights, m, v and averages, if there are any, [tensors] each, of the gradients, weights, m, v and
// averages, [tensors] each, what each tensor has of its own, [OWN, tensors], and the settings, [SETTINGS].
ffi_error *prenas_adamw(ffi_frame *frame) {
	if (prenas_described(frame)) {
		return NULL;
	}
	adamw a;
	if (!read_adamw(&a, frame)) {
		return prenas_error(frame, FFI_INVALID_ARGUMENT, "update by AdamW of tensors that do not go together");
	}
	int64_t ranges;
	range *all = divide(a.before, a.tensors, &ranges);
	if (!all) {
		return no_memory(frame);
	}
	a.ranges = all;
	summer *squares;
	choose(frame, &a.update, &squares);
	prenas_share(frame, ranges, update_range, &a);
	free(all);
	return NULL;
}

typedef struct {
	ffi_buffer *const *tensors;
	const range *ranges;
	double *sums;
	summer *squares;
} square_sum;

static void sum_range(void *work, int64_t part) {
	const square_sum *s = work;
	range r = s->ranges[part];
	s->sums[part] = s->squares((const float *)s->tensors[r.tensor]->data + r.from, r.to - r.from);
}

// The sum [1] of the squares of all values of all operands.
ffi_error *prenas_squares(ffi_frame *frame) {
	if (prenas_described(frame)) {
		return NULL;
	}
	if (!all_float32(&frame->operands) || !all_float32(&frame->results) || frame->results.size != 1 || prenas_values(frame->results.buffers[0]) != 1) {
		return prenas_error(frame, FFI_INVALID_ARGUMENT, "squares of tensors that are not float32, or a sum that is not one number");
	}
	square_sum s = {.tensors = frame->operands.buffers};
	int64_t ranges;
	range *all = divide(s.tensors, frame->operands.size, &ranges);
	s.ranges = all;
	s.sums = malloc(at_least(1, ranges) * sizeof *s.sums);
	if (!all || !s.sums) {
		free(all);
		free(s.sums);
		return no_memory(frame);
	}
	updater *update;
	choose(frame, &update, &s.squares);
	prenas_share(frame, ranges, sum_range, &s);
	double total = 0;
	for (int64_t i = 0; i < ranges; i++) {
		total += s.sums[i];
	}
	*(float *)frame->results.buffers[0]->data = total;
	free(all);
	free(s.sums);
	return NULL;
}
