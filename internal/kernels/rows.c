//go:build linux && cgo

// What is computed row by row: LayerNorm, and GELU of a sum with a bias.
//
// XLA makes several loops of each, since it does not mix a sum over a row with what is done with it, nor sums over
// rows with anything: forward and backward they read and write a matrix some fifteen times. Here a row is in the
// nearest cache while all of it is done:
//
//	LayerNorm   h = (x - mean) / √(variance + ε)    y = h · weight + bias
//	            with u = v · weight:  dx = (u - mean(u) - h · mean(u·h)) / √(variance + ε),  Σ v·h of weight, Σ v of bias
//	GELU        z = x + bias    y = z · Φ(z)
//	            dx = v · (Φ(z) + z · exp(-z²/2)/√(2π)),  Σ dx of bias
//
// Nothing is kept from the forward for the backward pass: mean, variance and Φ are computed anew. What is an operand
// of a product may be bf16, which is read and written but never computed with.
//
// Rows are divided into parts by shape alone, and each part sums the adjoints of vectors in its order: the number of threads
// does not change a bit.

#include "call.h"
#include "numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC optimize("O3")
#pragma GCC diagnostic ignored "-Wpsabi" // vectors are never passed between files

typedef struct {
	const float *x, *weight, *bias;
	const void *v; // adjoint of y
	void *y;       // the result; of the backward pass the adjoint of x, float32
	int64_t size;  // of a row
	float eps;
	bool bf16;     // y forward, v backward
} norm;

typedef struct {
	const void *x, *v;
	const float *bias;
	void *y;
	int64_t size;
	bool bf16; // x, v and y
} activation;

// The functions of one width.
typedef struct {
	void (*normalise)(const norm *, int64_t from, int64_t to);
	void (*normalise_adjoint)(const norm *, int64_t from, int64_t to, float *of_weight, float *of_bias);
	void (*activate)(const activation *, int64_t from, int64_t to);
	void (*activate_adjoint)(const activation *, int64_t from, int64_t to, float *of_bias);
} functions;

#define FUNCTIONS(suffix) {normalise##suffix, normalise_adjoint##suffix, activate##suffix, activate_adjoint##suffix}
#define LOOPS "rows_lanes.h"
#include "widths.h"

enum { PART_VALUES = 1 << 16, PARTS = 64 };

typedef struct {
	const functions *run;
	norm norm;             // of one of the two
	activation activation;
	int64_t rows, parts;
	float *sums;           // of each part, of vectors: [parts, vectors, size]
} rows;

// Rows of a part.
static int64_t first_of(const rows *r, int64_t part) { return r->rows * part / r->parts; }

static void normalise_part(void *work, int64_t i) {
	rows *r = work;
	r->run->normalise(&r->norm, first_of(r, i), first_of(r, i + 1));
}

static void normalise_adjoint_part(void *work, int64_t i) {
	rows *r = work;
	float *of_weight = r->sums + i * 2 * r->norm.size;
	r->run->normalise_adjoint(&r->norm, first_of(r, i), first_of(r, i + 1), of_weight, of_weight + r->norm.size);
}

static void activate_part(void *work, int64_t i) {
	rows *r = work;
	r->run->activate(&r->activation, first_of(r, i), first_of(r, i + 1));
}

static void activate_adjoint_part(void *work, int64_t i) {
	rows *r = work;
	r->run->activate_adjoint(&r->activation, first_of(r, i), first_of(r, i + 1), r->sums + i * r->activation.size);
}

static bool is_float(const ffi_buffer *b) { return b->dtype == FFI_FLOAT32 || b->dtype == FFI_BF16; }

// Reads the rows of x.
static bool read_rows(rows *r, ffi_frame *frame, int operands, int results) {
	if (frame->operands.size != operands || frame->results.size != results) {
		return false;
	}
	const ffi_buffer *x = frame->operands.buffers[0];
	if (x->rank < 1 || x->dims[x->rank - 1] < 1) {
		return false;
	}
	int64_t size = x->dims[x->rank - 1], values = prenas_values(x);
	*r = (rows){.run = functions_of(prenas_lanes(prenas_attribute(frame, "lanes", 16))), .rows = values / size};
	r->parts = at_least(1, at_most(at_most(PARTS, r->rows), values / PART_VALUES));
	return true;
}

static ffi_error *misshapen(ffi_frame *frame) {
	return prenas_error(frame, FFI_INVALID_ARGUMENT, "LayerNorm or GELU of shapes that do not go together");
}

// Runs parts that each sum for some vectors, and adds the sums in the order of the parts to the results behind the first.
static ffi_error *sum_parts(ffi_frame *frame, rows *r, void (*part)(void *, int64_t), int64_t vectors, int64_t size) {
	if (!(r->sums = calloc(r->parts * vectors * size, sizeof(float)))) {
		return prenas_error(frame, FFI_RESOURCE_EXHAUSTED, "no memory left for the adjoint of LayerNorm or GELU");
	}
	prenas_share(frame, r->parts, part, r);
	for (int64_t k = 0; k < vectors; k++) {
		float *to = frame->results.buffers[1 + k]->data;
		memcpy(to, r->sums + k * size, size * sizeof(float));
		for (int64_t p = 1; p < r->parts; p++) {
			const float *from = r->sums + (p * vectors + k) * size;
			for (int64_t j = 0; j < size; j++) {
				to[j] += from[j];
			}
		}
	}
	free(r->sums);
	return NULL;
}

// y [..., d], float32 or bf16, of x [..., d], weight [d], bias [d] and ε.
ffi_error *prenas_layer_norm(ffi_frame *frame) {
	if (prenas_described(frame)) {
		return NULL;
	}
	rows r;
	if (!read_rows(&r, frame, 4, 1)) {
		return misshapen(frame);
	}
	ffi_buffer **in = frame->operands.buffers, *y = frame->results.buffers[0];
	int64_t size = in[0]->dims[in[0]->rank - 1];
	if (in[0]->dtype != FFI_FLOAT32 || !prenas_is_vector(in[1], size) || !prenas_is_vector(in[2], size) || in[3]->dtype != FFI_FLOAT32 || in[3]->rank != 0 ||
	    !is_float(y) || !prenas_same_shape(in[0], y)) {
		return misshapen(frame);
	}
	r.norm = (norm){.x = in[0]->data, .weight = in[1]->data, .bias = in[2]->data, .eps = *(const float *)in[3]->data, .y = y->data, .size = size,
		.bf16 = y->dtype == FFI_BF16};
	prenas_share(frame, r.parts, normalise_part, &r);
	return NULL;
}

// The adjoints of x [..., d], weight and bias, of x, weight, ε and the adjoint of y, float32 or bf16.
ffi_error *prenas_layer_norm_adjoint(ffi_frame *frame) {
	if (prenas_described(frame)) {
		return NULL;
	}
	rows r;
	if (!read_rows(&r, frame, 4, 3)) {
		return misshapen(frame);
	}
	ffi_buffer **in = frame->operands.buffers, **out = frame->results.buffers;
	int64_t size = in[0]->dims[in[0]->rank - 1];
	if (in[0]->dtype != FFI_FLOAT32 || !prenas_is_vector(in[1], size) || in[2]->dtype != FFI_FLOAT32 || in[2]->rank != 0 || !is_float(in[3]) ||
	    !prenas_same_shape(in[0], in[3]) || out[0]->dtype != FFI_FLOAT32 || !prenas_same_shape(in[0], out[0]) || !prenas_is_vector(out[1], size) || !prenas_is_vector(out[2], size)) {
		return misshapen(frame);
	}
	r.norm = (norm){.x = in[0]->data, .weight = in[1]->data, .eps = *(const float *)in[2]->data, .v = in[3]->data, .y = out[0]->data, .size = size,
		.bf16 = in[3]->dtype == FFI_BF16};
	return sum_parts(frame, &r, normalise_adjoint_part, 2, size);
}

// y [..., h] of x [..., h], both float32 or both bf16, and bias [h].
ffi_error *prenas_bias_gelu(ffi_frame *frame) {
	if (prenas_described(frame)) {
		return NULL;
	}
	rows r;
	if (!read_rows(&r, frame, 2, 1)) {
		return misshapen(frame);
	}
	ffi_buffer **in = frame->operands.buffers, *y = frame->results.buffers[0];
	int64_t size = in[0]->dims[in[0]->rank - 1];
	if (!is_float(in[0]) || !prenas_is_vector(in[1], size) || y->dtype != in[0]->dtype || !prenas_same_shape(in[0], y)) {
		return misshapen(frame);
	}
	r.activation = (activation){.x = in[0]->data, .bias = in[1]->data, .y = y->data, .size = size, .bf16 = y->dtype == FFI_BF16};
	prenas_share(frame, r.parts, activate_part, &r);
	return NULL;
}

// The adjoints of x [..., h] and bias, of x, bias and the adjoint of y. x and the adjoints of x and y have one type.
ffi_error *prenas_bias_gelu_adjoint(ffi_frame *frame) {
	if (prenas_described(frame)) {
		return NULL;
	}
	rows r;
	if (!read_rows(&r, frame, 3, 2)) {
		return misshapen(frame);
	}
	ffi_buffer **in = frame->operands.buffers, **out = frame->results.buffers;
	int64_t size = in[0]->dims[in[0]->rank - 1];
	if (!is_float(in[0]) || !prenas_is_vector(in[1], size) || in[2]->dtype != in[0]->dtype || !prenas_same_shape(in[0], in[2]) || out[0]->dtype != in[0]->dtype ||
	    !prenas_same_shape(in[0], out[0]) || !prenas_is_vector(out[1], size)) {
		return misshapen(frame);
	}
	r.activation = (activation){.x = in[0]->data, .bias = in[1]->data, .v = in[2]->data, .y = out[0]->data, .size = size, .bf16 = in[0]->dtype == FFI_BF16};
	return sum_parts(frame, &r, activate_adjoint_part, 1, size);
}
