//go:build linux && cgo

// Batch norm in training, and the activation function that follows it, forward and backward.
//
// XLA makes a pass over the images of each of the sums and of what is computed from them, in float32: an image of bf16 it writes
// out as float32 first, and keeps that for the backward pass. Here images are read twice and written once, forward and backward,
// in the type that they have:
//
//	forward    sums of x and x²  ─►  mean, variance  ─►  z = (x - mean) / √(variance + ε) · weight + bias,  y = f(z)
//	backward   u = v · f'(z);  sums of u and u · (x - mean)  ─►  adjoints of bias and weight
//	           dx = weight/√(variance + ε) · (u - mean(u) - (x - mean) · mean(u · (x - mean)) / (variance + ε))
//
// (Ioffe and Szegedy, Batch Normalization, 2015, differentiated.) z is computed anew. The sums are of x less a pivot, a mean of some rows: squares of
// values far from zero would leave nothing of a small variance.
//
// A row here is of as many features as fill whole vectors, two pixels of 24 for example: width is the least common multiple
// of features and lanes, and all vectors by feature are that wide, repeated. Rows are divided into parts by shape alone, whose sums are added in
// order and in double precision: the number of threads does not change a bit.

#include "call.h"
#include "numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC optimize("O3")
#pragma GCC diagnostic ignored "-Wpsabi" // vectors are never passed between files

// What follows a norm; as in engine/activations.go.
enum { IDENTITY, RELU, HARD_SWISH, RELU6 };

enum {
	PART_VALUES = 1 << 15,
	PIVOT_ROWS = 64, // whose mean is the pivot
};

typedef struct {
	const void *x, *v;                           // v: the adjoint of y
	void *y;                                     // or the adjoint of x
	int64_t features, values, width, rows;       // values of x; rows of width of them, the last perhaps not whole
	bool bf16;                                   // x, v and y
	int kind;                                    // of what follows
	float *pivot, *scale, *shift, *mean_u, *along; // [width]; backward the pivot is the mean
	float *sums;                                 // [parts, 2, width]
	int64_t parts;
	char *memory;                                // of all these
	const struct functions *run;
} batch_norm;

// The functions of one width of vectors.
typedef struct functions {
	void (*sum_moments)(const batch_norm *, int64_t from, int64_t to, float *sums);
	void (*normalise)(const batch_norm *, int64_t from, int64_t to);
	void (*sum_adjoints)(const batch_norm *, int64_t from, int64_t to, float *sums);
	void (*adjoint)(const batch_norm *, int64_t from, int64_t to);
} functions;

#define FUNCTIONS(suffix) {sum_moments##suffix, normalise##suffix, sum_adjoints##suffix, adjoint##suffix}
#define LOOPS "batchnorm_lanes.h"
#include "widths.h"

static int64_t first_of(const batch_norm *n, int64_t part) { return n->rows * part / n->parts; }

static void sum_moments_part(void *work, int64_t i) {
	batch_norm *n = work;
	n->run->sum_moments(n, first_of(n, i), first_of(n, i + 1), n->sums + 2 * i * n->width);
}

static void normalise_part(void *work, int64_t i) {
	batch_norm *n = work;
	n->run->normalise(n, first_of(n, i), first_of(n, i + 1));
}

static void sum_adjoints_part(void *work, int64_t i) {
	batch_norm *n = work;
	n->run->sum_adjoints(n, first_of(n, i), first_of(n, i + 1), n->sums + 2 * i * n->width);
}

static void adjoint_part(void *work, int64_t i) {
	batch_norm *n = work;
	n->run->adjoint(n, first_of(n, i), first_of(n, i + 1));
}

// The sum which (0 or 1) of a feature, over all parts.
static double sum_of(const batch_norm *n, int which, int64_t feature) {
	double sum = 0;
	for (int64_t p = 0; p < n->parts; p++) {
		for (int64_t k = feature; k < n->width; k += n->features) {
			sum += n->sums[(2 * p + which) * n->width + k];
		}
	}
	return sum;
}

// Puts a value of a feature wherever a row has the feature.
static void set(const batch_norm *n, float *vector, int64_t feature, float value) {
	for (int64_t k = feature; k < n->width; k += n->features) {
		vector[k] = value;
	}
}

static float value_at(const batch_norm *n, int64_t at) {
	if (!n->bf16) {
		return ((const float *)n->x)[at];
	}
	uint32_t bits = (uint32_t)((const uint16_t *)n->x)[at] << 16;
	float value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

static void set_pivot(batch_norm *n) {
	int64_t pixels = n->values / n->features, some = at_most(PIVOT_ROWS, pixels);
	for (int64_t f = 0; f < n->features; f++) {
		double sum = 0;
		for (int64_t i = 0; i < some; i++) {
			sum += value_at(n, pixels * i / some * n->features + f);
		}
		set(n, n->pivot, f, isfinite(sum) ? sum / some : 0);
	}
}

static bool like_x(const ffi_buffer *x, const ffi_buffer *b) { return x->dtype == b->dtype && prenas_same_shape(x, b); }

// Reads x [..., features] and what is like it, and checks that all other operands but the last, ε, are vectors. False if they are not.
static bool read_norm(batch_norm *n, ffi_frame *frame, int operands, int results, const ffi_buffer *like) {
	if (frame->operands.size != operands || frame->results.size != results) {
		return false;
	}
	ffi_buffer **in = frame->operands.buffers, **out = frame->results.buffers, *x = in[0], *eps = in[operands - 1];
	if (x->rank < 1 || (x->dtype != FFI_FLOAT32 && x->dtype != FFI_BF16) || !like_x(x, out[0]) || (like && !like_x(x, like)) ||
	    eps->dtype != FFI_FLOAT32 || eps->rank != 0) {
		return false;
	}
	int64_t lanes = prenas_lanes(prenas_attribute(frame, "lanes", 16)), features = x->dims[x->rank - 1], values = prenas_values(x);
	for (int i = 1; i + 1 < operands; i++) {
		if (in[i] != like && !prenas_is_vector(in[i], features)) {
			return false;
		}
	}
	for (int i = 1; i < results; i++) {
		if (!prenas_is_vector(out[i], features)) {
			return false;
		}
	}
	if (values < 1) {
		return false;
	}
	int64_t width = features;
	while (width % lanes) {
		width += features;
	}
	*n = (batch_norm){.x = x->data, .y = out[0]->data, .features = features, .values = values, .width = width, .rows = divided_up(values, width),
		.bf16 = x->dtype == FFI_BF16, .kind = prenas_attribute(frame, "activation", IDENTITY), .run = functions_of(lanes)};
	n->parts = at_least(1, n->rows / at_least(1, PART_VALUES / width));
	return true;
}

// Memory for vectors and sums, the sums zero. False: there is none.
static bool norm_make(batch_norm *n) {
	float **vectors[] = {&n->pivot, &n->scale, &n->shift, &n->mean_u, &n->along};
	int64_t count = sizeof vectors / sizeof *vectors, bytes = (count + 2 * n->parts) * n->width * sizeof(float);
	if (!(n->memory = aligned_alloc(64, rounded_up(bytes, 64)))) {
		return false;
	}
	memset(n->memory, 0, bytes);
	for (int64_t i = 0; i < count; i++) {
		*vectors[i] = (float *)n->memory + i * n->width;
	}
	n->sums = (float *)n->memory + count * n->width;
	return true;
}

static ffi_error *misshapen(ffi_frame *frame) {
	return prenas_error(frame, FFI_INVALID_ARGUMENT, "batch norm of shapes that do not go together");
}

static ffi_error *no_memory(ffi_frame *frame) { return prenas_error(frame, FFI_RESOURCE_EXHAUSTED, "no memory left for a batch norm"); }

// y [..., c], mean [c] and variance [c], of x [..., c], weight [c], bias [c] and ε.
ffi_error *prenas_batch_norm(ffi_frame *frame) {
	if (prenas_described(frame)) {
		return NULL;
	}
	batch_norm n;
	if (!read_norm(&n, frame, 4, 3, NULL)) {
		return misshapen(frame);
	}
	if (!norm_make(&n)) {
		return no_memory(frame);
	}
	const float *weight = frame->operands.buffers[1]->data, *bias = frame->operands.buffers[2]->data, *eps = frame->operands.buffers[3]->data;
	float *mean = frame->results.buffers[1]->data, *variance = frame->results.buffers[2]->data;
	set_pivot(&n);
	prenas_share(frame, n.parts, sum_moments_part, &n);
	double pixels = n.values / n.features;
	for (int64_t f = 0; f < n.features; f++) {
		double from_pivot = sum_of(&n, 0, f) / pixels, square = sum_of(&n, 1, f) / pixels - from_pivot * from_pivot;
		mean[f] = n.pivot[f] + from_pivot;
		variance[f] = square < 0 ? 0 : square;
		float scale = weight[f] / sqrtf(variance[f] + *eps);
		set(&n, n.scale, f, scale);
		set(&n, n.shift, f, bias[f] - mean[f] * scale);
	}
	prenas_share(frame, n.parts, normalise_part, &n);
	free(n.memory);
	return NULL;
}

// The adjoints of x, weight and bias, of x, that of y, weight, bias, mean, variance and ε.
ffi_error *prenas_batch_norm_adjoint(ffi_frame *frame) {
	if (prenas_described(frame)) {
		return NULL;
	}
	batch_norm n;
	if (!read_norm(&n, frame, 7, 3, frame->operands.size > 1 ? frame->operands.buffers[1] : NULL)) {
		return misshapen(frame);
	}
	if (!norm_make(&n)) {
		return no_memory(frame);
	}
	ffi_buffer **in = frame->operands.buffers;
	const float *weight = in[2]->data, *bias = in[3]->data, *mean = in[4]->data, *variance = in[5]->data, *eps = in[6]->data;
	float *of_weight = frame->results.buffers[1]->data, *of_bias = frame->results.buffers[2]->data;
	n.v = in[1]->data;
	for (int64_t f = 0; f < n.features; f++) {
		float scale = weight[f] / sqrtf(variance[f] + *eps);
		set(&n, n.pivot, f, mean[f]);
		set(&n, n.scale, f, scale);
		set(&n, n.shift, f, bias[f] - mean[f] * scale);
	}
	prenas_share(frame, n.parts, sum_adjoints_part, &n);
	double pixels = n.values / n.features;
	for (int64_t f = 0; f < n.features; f++) {
		double sum = sum_of(&n, 0, f), along = sum_of(&n, 1, f), deviation = sqrt((double)variance[f] + *eps);
		of_bias[f] = sum;
		of_weight[f] = along / deviation;
		set(&n, n.mean_u, f, sum / pixels);
		set(&n, n.along, f, along / pixels / (deviation * deviation));
	}
	prenas_share(frame, n.parts, adjoint_part, &n);
	free(n.memory);
	return NULL;
}
