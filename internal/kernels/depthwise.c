//go:build linux && cgo

// Depthwise convolutions: each feature of an image is convolved with a kernel of its own.
//
// XLA's code for a CPU has two ways, both slow: its convolution (170 ms for 7x7 on
// [16, 56, 56, 144], two cores) and the same written as a sum of shifted images (10 ms), which
// reads its operands from the cache beyond the nearest for every tap. Here the vectors are
// of 16 features, and what the taps of a pixel have in common stays in registers and the nearest cache:
//
//	image    [n, h, w, c]     16 features of a row with zeros around it lie side by side, as a row of
//	                          vectors; those rows of the image that a row of the result needs are
//	                          kept in a ring. A row enters the ring once.
//	result   14 pixels of a row are summed at a time, in 14 registers: for each tap one load of
//	         the kernel and 14 products with what is side by side in the ring.
//
// So images are read once, in order, and the result is written once, in order.
//
// The adjoint of the image is the same with the kernel turned, where the convolution strides
// over a result with zeros put between (its dilation): the taps that meet zeros are left out, so
// the columns of each remainder by the dilation have taps of their own. The adjoint of the kernel is summed
// in registers over each row, then over the rows of an image, and last over the images in order: the same bits
// whatever the number of threads.

#include "call.h"
#include "numbers.h"

#include <stdlib.h>
#include <string.h>

#pragma GCC optimize("O3")
#pragma GCC diagnostic ignored "-Wpsabi" // vectors are never passed between files

#define MAX_KERNEL 31

// The functions of one width.
typedef struct {
	void (*row)(void *y, int64_t y_step, int64_t columns, int64_t features, int64_t rows, float *const *images, float *const *kernels,
		int64_t taps, int64_t tap_step, int64_t stride, bool bf16);
	void (*taps)(float *const *to, const float *v, int64_t columns, int64_t rows, float *const *images, int64_t taps, int64_t stride);
	void (*split)(float *to, int64_t step, const void *row, int64_t pixels, int64_t features, bool bf16);
} functions;

#define FUNCTIONS(suffix) {row##suffix, taps##suffix, split##suffix}
#define LOOPS "depthwise_lanes.h"
#include "widths.h"

typedef struct {
	int64_t images, height, width, features; // of x
	int64_t rows, columns;                   // of y
	int64_t kernel;                          // its height and width
	int64_t stride;                          // between the pixels of x that belong to neighbours of y
	int64_t dilation;                        // of x: its pixels are that far apart, with zeros between
	int64_t pad;                             // zeros above and left of x
	bool bf16;                               // x and y; all else is float32
	int64_t lanes;                           // features of a block
	const functions *run;                    // for so many
	int64_t blocks;                          // that have all features
} shape;

// Bytes of a value of x and y.
static int64_t value_of(const shape *s) { return s->bf16 ? 2 : 4; }

// Rows of an image, kept block by block with zeros left and right of them.
typedef struct {
	float *values;   // [blocks, kernel, width, lanes]
	int64_t width;   // in vectors, zeros included
	int64_t left;    // zeros left of the row, in vectors
	int64_t next;    // the first row that has not entered
} ring;

static int64_t ring_width(const shape *s) {
	int64_t tiled = rounded_up(divided_up(s->columns, s->dilation), 4) + 14; // a tile may reach so far beyond the row
	return at_least(s->kernel + s->width, s->pad + tiled * s->stride + s->kernel);
}

static bool ring_make(ring *r, const shape *s) {
	r->width = ring_width(s);
	r->left = s->pad;
	r->next = 0;
	size_t bytes = s->blocks * s->kernel * r->width * s->lanes * sizeof(float);
	r->values = aligned_alloc(64, rounded_up(bytes, 64));
	if (r->values) {
		memset(r->values, 0, bytes);
	}
	return r->values;
}

static float *ring_row(const ring *r, const shape *s, int64_t block, int64_t i) {
	return r->values + ((block * s->kernel + i % s->kernel) * r->width) * s->lanes;
}

// Lets the rows of the image up to last enter.
static void ring_fill(ring *r, const shape *s, const char *image, int64_t last) {
	for (last = at_most(last, s->height - 1); r->next <= last; r->next++) {
		s->run->split(ring_row(r, s, 0, r->next) + r->left * s->lanes, s->kernel * r->width * s->lanes,
			image + r->next * s->width * s->features * value_of(s), s->width, s->features, s->bf16);
	}
}

typedef struct {
	shape s;
	const char *x;
	const void *other; // the kernel [kernel², features]; or the adjoint of y
	float *blocks;     // the kernel, [blocks, kernel², lanes]; or a sum of that shape for each image
	char *y;
	int64_t parts;     // of an image
	bool failed;
} convolution;

// A part of the rows of one image.
static void convolve(void *work, int64_t part) {
	convolution *c = work;
	const shape *s = &c->s;
	int64_t n = part / c->parts, p = part % c->parts;
	int64_t from = s->rows * p / c->parts, to = s->rows * (p + 1) / c->parts;
	const char *image = c->x + n * s->height * s->width * s->features * value_of(s);
	ring r;
	if (!ring_make(&r, s)) {
		__atomic_store_n(&c->failed, true, __ATOMIC_RELAXED);
		return;
	}
	r.next = at_least(0, divided_up(from * s->stride - s->pad, s->dilation));
	for (int64_t i = from; i < to; i++) {
		int64_t top = i * s->stride - s->pad; // of the kernel, in the dilated image
		ring_fill(&r, s, image, divided_down(top + s->kernel - 1, s->dilation));
		for (int64_t b = 0; b < s->blocks; b++) {
			float *images[MAX_KERNEL], *kernels[MAX_KERNEL];
			for (int64_t phase = 0; phase < at_most(s->dilation, s->columns); phase++) {
				int64_t first = ((s->pad - phase) % s->dilation + s->dilation) % s->dilation; // tap of the kernel's row
				int64_t left = (phase + first - s->pad) / s->dilation;                        // the pixel under it
				int64_t rows = 0;
				for (int64_t u = 0; u < s->kernel; u++) {
					int64_t at = top + u;
					if (at >= 0 && at % s->dilation == 0 && at / s->dilation < s->height) {
						images[rows] = ring_row(&r, s, b, at / s->dilation) + (r.left + left) * s->lanes;
						kernels[rows++] = c->blocks + ((b * s->kernel + u) * s->kernel + first) * s->lanes;
					}
				}
				s->run->row(c->y + (((n * s->rows + i) * s->columns + phase) * s->features + b * s->lanes) * value_of(s),
					s->dilation * s->features, (s->columns - phase + s->dilation - 1) / s->dilation,
					at_most(s->lanes, s->features - b * s->lanes), rows, images, kernels,
					(s->kernel - first + s->dilation - 1) / s->dilation, s->dilation, s->stride, s->bf16);
			}
		}
	}
	free(r.values);
}

// The adjoint of the kernel from one image.
static void sum_taps(void *work, int64_t n) {
	convolution *c = work;
	const shape *s = &c->s;
	const char *image = c->x + n * s->height * s->width * s->features * value_of(s);
	int64_t size = s->blocks * s->kernel * s->kernel * s->lanes;
	float *sums = c->blocks + n * size;
	memset(sums, 0, size * sizeof(float));
	ring r;
	size_t bytes = rounded_up(s->blocks * s->columns * s->lanes * sizeof(float), 64);
	float *v = aligned_alloc(64, bytes); // a row of the adjoint
	if (!v || !ring_make(&r, s)) {
		__atomic_store_n(&c->failed, true, __ATOMIC_RELAXED);
		free(v);
		return;
	}
	memset(v, 0, bytes);
	for (int64_t i = 0; i < s->rows; i++) {
		int64_t top = i * s->stride - s->pad;
		ring_fill(&r, s, image, top + s->kernel - 1);
		s->run->split(v, s->columns * s->lanes, (const char *)c->other + (n * s->rows + i) * s->columns * s->features * value_of(s),
			s->columns, s->features, s->bf16);
		for (int64_t b = 0; b < s->blocks; b++) {
			float *images[MAX_KERNEL], *to[MAX_KERNEL];
			int64_t rows = 0;
			for (int64_t u = 0; u < s->kernel; u++) {
				if (top + u >= 0 && top + u < s->height) {
					images[rows] = ring_row(&r, s, b, top + u) + (r.left - s->pad) * s->lanes;
					to[rows++] = sums + (b * s->kernel + u) * s->kernel * s->lanes;
				}
			}
			s->run->taps(to, v + b * s->columns * s->lanes, s->columns, rows, images, s->kernel, s->stride);
		}
	}
	free(v);
	free(r.values);
}

static int64_t dim(const ffi_buffer *b, int64_t axis) { return b->dims[axis]; }

// Reads what a call has in common: the image x, y or its adjoint, the kernel or its adjoint [k, k, 1, c].
static bool shape_of(shape *s, ffi_frame *frame, const ffi_buffer *x, const ffi_buffer *y, const ffi_buffer *kernel) {
	if (x->rank != 4 || y->rank != 4 || kernel->rank != 4 || (x->dtype != FFI_FLOAT32 && x->dtype != FFI_BF16) || y->dtype != x->dtype ||
	    kernel->dtype != FFI_FLOAT32) {
		return false;
	}
	*s = (shape){.images = dim(x, 0), .height = dim(x, 1), .width = dim(x, 2), .features = dim(x, 3),
		.rows = dim(y, 1), .columns = dim(y, 2), .kernel = dim(kernel, 0), .stride = prenas_attribute(frame, "stride", 0),
		.dilation = prenas_attribute(frame, "dilation", 1), .pad = prenas_attribute(frame, "pad", -1), .bf16 = x->dtype == FFI_BF16,
		.lanes = prenas_lanes(prenas_attribute(frame, "lanes", 16))};
	s->run = functions_of(s->lanes);
	s->blocks = (s->features + s->lanes - 1) / s->lanes;
	return dim(y, 0) == s->images && dim(y, 3) == s->features && dim(kernel, 1) == s->kernel && dim(kernel, 2) == 1 &&
	       dim(kernel, 3) == s->features && s->kernel <= MAX_KERNEL && s->stride > 0 && s->dilation > 0 &&
	       (s->stride == 1 || s->dilation == 1) && s->pad >= 0 && s->pad < s->kernel;
}

static ffi_error *misshapen(ffi_frame *frame) {
	return prenas_error(frame, FFI_INVALID_ARGUMENT, "depthwise convolution of shapes that do not go together");
}

static ffi_error *no_memory(ffi_frame *frame) {
	return prenas_error(frame, FFI_RESOURCE_EXHAUSTED, "no memory left for a depthwise convolution");
}

// y of x [n, h, w, c] and kernel [k, k, 1, c].
ffi_error *prenas_depthwise(ffi_frame *frame) {
	if (prenas_described(frame)) {
		return NULL;
	}
	if (frame->operands.size != 2 || frame->results.size != 1) {
		return misshapen(frame);
	}
	const ffi_buffer *x = frame->operands.buffers[0], *kernel = frame->operands.buffers[1], *y = frame->results.buffers[0];
	convolution c = {.x = x->data, .other = kernel->data, .y = y->data};
	if (!shape_of(&c.s, frame, x, y, kernel)) {
		return misshapen(frame);
	}
	const shape *s = &c.s;
	int64_t area = s->kernel * s->kernel;
	size_t bytes = rounded_up(s->blocks * area * s->lanes * sizeof(float), 64);
	if (!(c.blocks = aligned_alloc(64, bytes))) {
		return no_memory(frame);
	}
	memset(c.blocks, 0, bytes);
	s->run->split(c.blocks, area * s->lanes, c.other, area, s->features, false);
	c.parts = at_least(1, at_most(s->rows / 8, 8 / at_least(1, s->images)));
	prenas_share(frame, s->images * c.parts, convolve, &c);
	free(c.blocks);
	return c.failed ? no_memory(frame) : NULL;
}

// The adjoint [k, k, 1, c] of the kernel, of x [n, h, w, c] and the adjoint of y.
ffi_error *prenas_depthwise_kernel(ffi_frame *frame) {
	if (prenas_described(frame)) {
		return NULL;
	}
	if (frame->operands.size != 2 || frame->results.size != 1) {
		return misshapen(frame);
	}
	const ffi_buffer *x = frame->operands.buffers[0], *v = frame->operands.buffers[1], *kernel = frame->results.buffers[0];
	convolution c = {.x = x->data, .other = v->data};
	if (!shape_of(&c.s, frame, x, v, kernel) || c.s.dilation != 1) {
		return misshapen(frame);
	}
	const shape *s = &c.s;
	int64_t area = s->kernel * s->kernel, size = s->blocks * area * s->lanes;
	if (!(c.blocks = aligned_alloc(64, rounded_up(at_least(1, s->images) * size * sizeof(float), 64)))) {
		return no_memory(frame);
	}
	prenas_share(frame, s->images, sum_taps, &c);
	float *to = kernel->data;
	memset(to, 0, area * s->features * sizeof(float));
	for (int64_t n = 0; n < s->images && !c.failed; n++) {
		for (int64_t b = 0; b < s->blocks; b++) {
			int64_t features = at_most(s->lanes, s->features - b * s->lanes);
			for (int64_t t = 0; t < area; t++) {
				const float *sum = c.blocks + n * size + (b * area + t) * s->lanes;
				for (int64_t f = 0; f < features; f++) {
					to[t * s->features + b * s->lanes + f] += sum[f];
				}
			}
		}
	}
	free(c.blocks);
	return c.failed ? no_memory(frame) : NULL;
}
