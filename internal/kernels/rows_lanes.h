// The inner loops of rows.c, for vectors of LANES values: included once for each
// width, with NAME(x) the name of x for it and TARGET what the compiler may use.

#include "lanes.h"

INLINE float NAME(total)(V x) {
	for (int width = LANES / 2; width > 0; width /= 2) {
		for (int i = 0; i < width; i++) {
			x[i] += x[i + width];
		}
	}
	return x[0];
}

// Σ x - minus over a row, or Σ (x - minus)². Sums that wait for one another would take most of the time.
INLINE float NAME(sum_of)(const float *x, int64_t size, float minus, bool squared) {
	V sums[4] = {0};
	int64_t j = 0;
	for (int64_t step = 4; step > 0; step -= 3) { // four vectors at a time, then one
		for (; j + step * LANES <= size; j += step * LANES) {
			for (int64_t k = 0; k < step; k++) {
				V y = NAME(load)(x, j + k * LANES, size, false) - minus;
				sums[k] += squared ? y * y : y;
			}
		}
	}
	float sum = NAME(total)((sums[0] + sums[1]) + (sums[2] + sums[3]));
	for (; j < size; j++) {
		sum += squared ? (x[j] - minus) * (x[j] - minus) : x[j] - minus;
	}
	return sum;
}

// Mean and 1/√(variance + ε) of a row of d values.
INLINE void NAME(moments)(const float *x, int64_t d, float eps, float *mean, float *scale) {
	*mean = NAME(sum_of)(x, d, 0, false) / d;
	*scale = 1 / sqrtf(NAME(sum_of)(x, d, *mean, true) / d + eps);
}

INLINE void NAME(normalise_as)(const norm *n, int64_t from, int64_t to, bool bf16) {
	int64_t d = n->size;
	for (int64_t i = from; i < to; i++) {
		const float *x = n->x + i * d;
		char *y = (char *)n->y + i * d * (bf16 ? 2 : 4);
		float mean, scale;
		NAME(moments)(x, d, n->eps, &mean, &scale);
		for (int64_t j = 0; j < d; j += LANES) {
			V h = (NAME(load)(x, j, d, false) - mean) * scale;
			NAME(store)(y, j, d, bf16, h * NAME(load)(n->weight, j, d, false) + NAME(load)(n->bias, j, d, false));
		}
	}
}

TARGET static void NAME(normalise)(const norm *n, int64_t from, int64_t to) {
	if (n->bf16) {
		NAME(normalise_as)(n, from, to, true);
	} else {
		NAME(normalise_as)(n, from, to, false);
	}
}

INLINE void NAME(normalise_adjoint_as)(const norm *n, int64_t from, int64_t to, float *of_weight, float *of_bias, bool bf16) {
	int64_t d = n->size;
	for (int64_t i = from; i < to; i++) {
		const float *x = n->x + i * d;
		const char *v = (const char *)n->v + i * d * (bf16 ? 2 : 4);
		float mean, scale;
		NAME(moments)(x, d, n->eps, &mean, &scale);
		V of_u = {0}, of_uh = {0};
		for (int64_t j = 0; j < d; j += LANES) {
			V h = (NAME(load)(x, j, d, false) - mean) * scale, e = NAME(load)(v, j, d, bf16), u = e * NAME(load)(n->weight, j, d, false);
			of_u += u;
			of_uh += u * h;
			NAME(store)(of_weight, j, d, false, NAME(load)(of_weight, j, d, false) + e * h);
			NAME(store)(of_bias, j, d, false, NAME(load)(of_bias, j, d, false) + e);
		}
		float mean_u = NAME(total)(of_u) / d, mean_uh = NAME(total)(of_uh) / d;
		for (int64_t j = 0; j < d; j += LANES) {
			V h = (NAME(load)(x, j, d, false) - mean) * scale, u = NAME(load)(v, j, d, bf16) * NAME(load)(n->weight, j, d, false);
			NAME(store)(n->y, i * d + j, (i + 1) * d, false, scale * (u - mean_u - h * mean_uh));
		}
	}
}

TARGET static void NAME(normalise_adjoint)(const norm *n, int64_t from, int64_t to, float *of_weight, float *of_bias) {
	if (n->bf16) {
		NAME(normalise_adjoint_as)(n, from, to, of_weight, of_bias, true);
	} else {
		NAME(normalise_adjoint_as)(n, from, to, of_weight, of_bias, false);
	}
}

// e^x for x from -85 to 0, to 1e-7 of it (the polynomial of Cephes' expf).
INLINE V NAME(exponential)(V x) {
	const float round = 0x1.8p23f; // added, it leaves the nearest whole number in the last bits
	V shifted = x * 1.44269504f + round, n = shifted - round;
	x = x - n * 0.693359375f + n * 2.12194440e-4f;
	V p = 1.9875691500e-4f * x + 1.3981999507e-3f;
	p = p * x + 8.3334519073e-3f;
	p = p * x + 4.1665795894e-2f;
	p = p * x + 1.6666665459e-1f;
	p = p * x + 5.0000001201e-1f;
	p = p * x * x + x + 1;
	return (V)((BITS)p + ((BITS)shifted << 23));
}

// The normal distribution: Φ(-a) and exp(-a²/2) for a = |x|, of at most 13. With t = 1/(1 + a/4) and a polynomial p,
// Φ(-a) = exp(-a²/2)·t·p(t), as Hastings has it (Approximations for Digital Computers, 1955); p is fitted to be
// within 4e-9 of Φ(-a), and within 5e-5 of it relatively.
INLINE V NAME(tail)(V a, V *e) {
	*e = NAME(exponential)(a * a * -0.5f);
	V t = NAME(reciprocal)(1 + 0.25f * a);
	V p = -0.091811746f * t + 0.342427153f;
	p = p * t - 0.268207279f;
	p = p * t + 0.281991398f;
	p = p * t + 0.024584840f;
	p = p * t + 0.112187974f;
	p = p * t + 0.098827655f;
	return *e * t * p;
}

// |x|, or 13 if that is less; NaN of NaN.
INLINE V NAME(magnitude)(V x) {
	V a = (V)((BITS)x & 0x7fffffff), most = {0};
	most += 13;
	return NAME(choose)(a > most, most, a);
}

INLINE void NAME(activate_as)(const activation *g, int64_t from, int64_t to, bool bf16) {
	int64_t size = g->size, value = bf16 ? 2 : 4;
	V zero = {0};
	for (int64_t i = from; i < to; i++) {
		const char *x = (const char *)g->x + i * size * value;
		char *y = (char *)g->y + i * size * value;
		for (int64_t j = 0; j < size; j += LANES) {
			V z = NAME(load)(x, j, size, bf16) + NAME(load)(g->bias, j, size, false), a = NAME(magnitude)(z), e;
			NAME(store)(y, j, size, bf16, NAME(choose)(z > zero, z, zero) - a * NAME(tail)(a, &e));
		}
	}
}

TARGET static void NAME(activate)(const activation *g, int64_t from, int64_t to) {
	if (g->bf16) {
		NAME(activate_as)(g, from, to, true);
	} else {
		NAME(activate_as)(g, from, to, false);
	}
}

INLINE void NAME(activate_adjoint_as)(const activation *g, int64_t from, int64_t to, float *of_bias, bool bf16) {
	int64_t size = g->size, value = bf16 ? 2 : 4;
	V zero = {0};
	for (int64_t i = from; i < to; i++) {
		const char *x = (const char *)g->x + i * size * value, *v = (const char *)g->v + i * size * value;
		char *y = (char *)g->y + i * size * value;
		for (int64_t j = 0; j < size; j += LANES) {
			V z = NAME(load)(x, j, size, bf16) + NAME(load)(g->bias, j, size, false), a = NAME(magnitude)(z), e, q = NAME(tail)(a, &e);
			V cumulative = NAME(choose)(z > zero, 1 - q, q);
			V w = NAME(load)(v, j, size, bf16) * (cumulative + z * (e * 0.39894228f));
			NAME(store)(y, j, size, bf16, w);
			NAME(store)(of_bias, j, size, false, NAME(load)(of_bias, j, size, false) + w);
		}
	}
}

TARGET static void NAME(activate_adjoint)(const activation *g, int64_t from, int64_t to, float *of_bias) {
	if (g->bf16) {
		NAME(activate_adjoint_as)(g, from, to, of_bias, true);
	} else {
		NAME(activate_adjoint_as)(g, from, to, of_bias, false);
	}
}
