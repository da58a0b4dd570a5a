// The inner loops of batchnorm.c, for vectors of LANES values: included once for each
// width, with NAME(x) the name of x for it and TARGET what the compiler may use.

#include "lanes.h"

// What follows a norm, and the adjoint of its argument z of that of its result. NaN stays NaN.
INLINE V NAME(activation)(V z, int kind) {
	V zero = {0}, six = zero + 6;
	if (kind == RELU) {
		return NAME(choose)(z <= zero, zero, z);
	}
	if (kind == HARD_SWISH) {
		V h = z + 3;
		h = NAME(choose)(h <= zero, zero, h);
		return z * NAME(choose)(h >= six, six, h) * (1 / 6.0f);
	}
	if (kind == RELU6) {
		V h = NAME(choose)(z <= zero, zero, z);
		return NAME(choose)(h >= six, six, h);
	}
	return z;
}

INLINE V NAME(activation_adjoint)(V z, V v, int kind) {
	V zero = {0}, three = zero + 3, six = zero + 6;
	if (kind == RELU) {
		return NAME(choose)(z <= zero, zero, v);
	}
	if (kind == RELU6) {
		return NAME(choose)(z <= zero, zero, NAME(choose)(z >= six, zero, v));
	}
	if (kind == HARD_SWISH) {
		V d = NAME(choose)(z >= three, zero + 1, z * (1 / 3.0f) + 0.5f);
		return v * NAME(choose)(z <= -three, zero, d);
	}
	return v;
}

// The vectors of rows from to to: the one at value at, whose features are those at k of a row.
#define EACH_VECTOR(at, k)                                                      \
	for (int64_t i = from; i < to; i++)                                         \
		for (int64_t k = 0, at = i * n->width; k < n->width && at < n->values; k += LANES, at += LANES)
#define FEATURES(vector) (*(const V *)((vector) + k))

// Σ x - pivot and Σ (x - pivot)².
INLINE void NAME(sum_moments_as)(const batch_norm *n, int64_t from, int64_t to, float *sums, bool bf16) {
	EACH_VECTOR(at, k) {
		V d = NAME(load)(n->x, at, n->values, bf16) - FEATURES(n->pivot);
		if (n->values - at < LANES) { // zeros behind the end are not there
			for (int64_t l = n->values - at; l < LANES; l++) {
				d[l] = 0;
			}
		}
		*(V *)(sums + k) += d;
		*(V *)(sums + n->width + k) += d * d;
	}
}

// y of x.
INLINE void NAME(normalise_as)(const batch_norm *n, int64_t from, int64_t to, bool bf16, int kind) {
	EACH_VECTOR(at, k) {
		V z = NAME(load)(n->x, at, n->values, bf16) * FEATURES(n->scale) + FEATURES(n->shift);
		NAME(store)(n->y, at, n->values, bf16, NAME(activation)(z, kind));
	}
}

// Σ u and Σ u·(x - mean), u the adjoint of z.
INLINE void NAME(sum_adjoints_as)(const batch_norm *n, int64_t from, int64_t to, float *sums, bool bf16, int kind) {
	EACH_VECTOR(at, k) {
		V x = NAME(load)(n->x, at, n->values, bf16), z = x * FEATURES(n->scale) + FEATURES(n->shift);
		V u = NAME(activation_adjoint)(z, NAME(load)(n->v, at, n->values, bf16), kind);
		*(V *)(sums + k) += u;
		*(V *)(sums + n->width + k) += u * (x - FEATURES(n->pivot));
	}
}

// The adjoint of x.
INLINE void NAME(adjoint_as)(const batch_norm *n, int64_t from, int64_t to, bool bf16, int kind) {
	EACH_VECTOR(at, k) {
		V x = NAME(load)(n->x, at, n->values, bf16), z = x * FEATURES(n->scale) + FEATURES(n->shift);
		V u = NAME(activation_adjoint)(z, NAME(load)(n->v, at, n->values, bf16), kind);
		V rest = u - FEATURES(n->mean_u) - (x - FEATURES(n->pivot)) * FEATURES(n->along);
		NAME(store)(n->y, at, n->values, bf16, FEATURES(n->scale) * rest);
	}
}

// Calls one of these with constants for what does not change within its loops.
#define BY_KIND(function, ...)                                                  \
	do {                                                                        \
		switch (n->kind) {                                                      \
		case RELU:                                                              \
			if (n->bf16) {                                                      \
				function(__VA_ARGS__, true, RELU);                              \
			} else {                                                            \
				function(__VA_ARGS__, false, RELU);                             \
			}                                                                   \
			break;                                                              \
		case HARD_SWISH:                                                        \
			if (n->bf16) {                                                      \
				function(__VA_ARGS__, true, HARD_SWISH);                        \
			} else {                                                            \
				function(__VA_ARGS__, false, HARD_SWISH);                       \
			}                                                                   \
			break;                                                              \
		case RELU6:                                                             \
			if (n->bf16) {                                                      \
				function(__VA_ARGS__, true, RELU6);                             \
			} else {                                                            \
				function(__VA_ARGS__, false, RELU6);                            \
			}                                                                   \
			break;                                                              \
		default:                                                                \
			if (n->bf16) {                                                      \
				function(__VA_ARGS__, true, IDENTITY);                          \
			} else {                                                            \
				function(__VA_ARGS__, false, IDENTITY);                         \
			}                                                                   \
		}                                                                       \
	} while (0)

TARGET static void NAME(sum_moments)(const batch_norm *n, int64_t from, int64_t to, float *sums) {
	if (n->bf16) {
		NAME(sum_moments_as)(n, from, to, sums, true);
	} else {
		NAME(sum_moments_as)(n, from, to, sums, false);
	}
}

TARGET static void NAME(normalise)(const batch_norm *n, int64_t from, int64_t to) { BY_KIND(NAME(normalise_as), n, from, to); }

TARGET static void NAME(sum_adjoints)(const batch_norm *n, int64_t from, int64_t to, float *sums) {
	BY_KIND(NAME(sum_adjoints_as), n, from, to, sums);
}

TARGET static void NAME(adjoint)(const batch_norm *n, int64_t from, int64_t to) { BY_KIND(NAME(adjoint_as), n, from, to); }

#undef EACH_VECTOR
#undef FEATURES
#undef BY_KIND
