// The inner loops of depthwise.c, for vectors of LANES values: included once for each
// width, with NAME(x) the name of x for it and TARGET what the compiler may use.

#include "lanes.h"

// TILE pixels of a row side by side: as many sums in registers.
#define TILE_OF(tile, s)                                                             \
	do {                                                                             \
		V sum[tile] = {0};                                                           \
		for (int64_t i = 0; i < rows; i++) {                                         \
			const V *x = (const V *)images[i] + at * s;                              \
			const V *k = (const V *)kernels[i];                                      \
			for (int64_t t = 0; t < taps; t++) {                                     \
				V tap = k[t * tap_step];                                             \
				for (int j = 0; j < tile; j++) {                                     \
					sum[j] += tap * x[j * s + t];                                    \
				}                                                                    \
			}                                                                        \
		}                                                                            \
		int64_t count = columns - at < tile ? columns - at : tile;                   \
		for (int j = 0; j < tile; j++) {                                             \
			if (j < count) {                                                         \
				NAME(store)(y, (at + j) * y_step, (at + j) * y_step + features, bf16, sum[j]); \
			}                                                                        \
		}                                                                            \
		at += tile;                                                                  \
	} while (0)

// A row of y: for each column the sum over the rows i of the image and the taps t of
// kernels[i][t·tap_step] · images[i][stride·column + t].
INLINE void NAME(row_as)(void *y, int64_t y_step, int64_t columns, int64_t features, int64_t rows,
	float *const *images, float *const *kernels, int64_t taps, int64_t tap_step, int64_t stride, bool bf16) {
	int64_t at = 0;
	if (stride == 1) {
		while (columns - at > 8) {
			TILE_OF(14, 1);
		}
		while (columns - at > 4) {
			TILE_OF(8, 1);
		}
		while (at < columns) {
			TILE_OF(4, 1);
		}
	} else if (stride == 2) {
		while (columns - at > 8) {
			TILE_OF(14, 2);
		}
		while (columns - at > 4) {
			TILE_OF(8, 2);
		}
		while (at < columns) {
			TILE_OF(4, 2);
		}
	} else {
		while (at < columns) {
			TILE_OF(4, stride);
		}
	}
}

TARGET static void NAME(row)(void *y, int64_t y_step, int64_t columns, int64_t features, int64_t rows,
	float *const *images, float *const *kernels, int64_t taps, int64_t tap_step, int64_t stride, bool bf16) {
	if (bf16) {
		NAME(row_as)(y, y_step, columns, features, rows, images, kernels, taps, tap_step, stride, true);
	} else {
		NAME(row_as)(y, y_step, columns, features, rows, images, kernels, taps, tap_step, stride, false);
	}
}

// Copies a row [pixels, features] vector by vector, vector b to to + b·step.
INLINE void NAME(split_as)(float *to, int64_t step, const void *row, int64_t pixels, int64_t features, bool bf16) {
	for (int64_t p = 0; p < pixels; p++, to += LANES) {
		const char *pixel = (const char *)row + p * features * (bf16 ? 2 : 4);
		float *at = to;
		for (int64_t f = 0; f < features; f += LANES, at += step) {
			*(V *)at = NAME(load)(pixel, f, features, bf16);
		}
	}
}

TARGET static void NAME(split)(float *to, int64_t step, const void *row, int64_t pixels, int64_t features, bool bf16) {
	if (bf16) {
		NAME(split_as)(to, step, row, pixels, features, true);
	} else {
		NAME(split_as)(to, step, row, pixels, features, false);
	}
}

// For count rows of an image at once, taps side by side: to[i][t] += the sum over the columns of
// v[column] · images[i][stride·column + t].
#define TAPS_OF(count, taps)                                                         \
	do {                                                                             \
		V sum[count][taps] = {0};                                                    \
		for (int64_t j = 0; j < columns; j++) {                                      \
			V value = ((const V *)v)[j];                                             \
			for (int i = 0; i < count; i++) {                                        \
				const V *x = (const V *)images[i] + j * stride + from;               \
				for (int t = 0; t < taps; t++) {                                     \
					sum[i][t] += value * x[t];                                       \
				}                                                                    \
			}                                                                        \
		}                                                                            \
		for (int i = 0; i < count; i++) {                                            \
			for (int t = 0; t < taps; t++) {                                         \
				((V *)to[i])[from + t] += sum[i][t];                                 \
			}                                                                        \
		}                                                                            \
	} while (0)

TARGET static void NAME(taps)(float *const *to, const float *v, int64_t columns, int64_t rows, float *const *images,
	int64_t taps, int64_t stride) {
	int64_t from = 0;
	if (taps == 3 && rows == 3) { // one row alone has too few sums to keep the processor busy
		TAPS_OF(3, 3);
		return;
	}
	for (; rows > 0; rows--, to++, images++) {
		for (from = 0; taps - from >= 7; from += 7) {
			TAPS_OF(1, 7);
		}
		for (; taps - from >= 5; from += 5) {
			TAPS_OF(1, 5);
		}
		for (; taps - from >= 3; from += 3) {
			TAPS_OF(1, 3);
		}
		for (; taps - from >= 1; from++) {
			TAPS_OF(1, 1);
		}
	}
}

#undef TILE_OF
#undef TAPS_OF
