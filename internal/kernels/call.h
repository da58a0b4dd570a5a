// Around a kernel: what it was called with, and how it shares its work.

#ifndef PRENAS_CALL_H
#define PRENAS_CALL_H

#include "ffi.h"

#include <stdbool.h>

// True if the frame asks what the function is, in place of calling it.
bool prenas_described(ffi_frame *frame);

// An error with a message, which is copied.
ffi_error *prenas_error(ffi_frame *frame, int code, const char *message);

// How many values a tensor has.
int64_t prenas_values(const ffi_buffer *b);

// True if two tensors have the same axes, of any types.
bool prenas_same_shape(const ffi_buffer *a, const ffi_buffer *b);

// True if a tensor is float32 [size].
bool prenas_is_vector(const ffi_buffer *b, int64_t size);

// The attribute of that name, an integer; missing if there is none.
int64_t prenas_attribute(ffi_frame *frame, const char *name, int64_t missing);

// Values in the widest vectors of this processor, 16, 8 or 4; of at most so many.
int64_t prenas_lanes(int64_t most);

// How many threads share what a call does, this one included.
int64_t prenas_threads(ffi_frame *frame);

// Runs part(work, 0) to part(work, parts - 1) on the threads of XLA, this one included,
// each once, and returns when all are done. Which thread runs which, and in what order, is
// not said: a part must write what no other does.
//
// It does not wait for a thread to become free: parts that no other thread has taken, this one does.
void prenas_share(ffi_frame *frame, int64_t parts, void (*part)(void *work, int64_t i), void *work);

// Functions that XLA may call, by the names that call.c registers.
ffi_handler prenas_depthwise, prenas_depthwise_kernel, prenas_product, prenas_attention, prenas_attention_adjoint,
	prenas_layer_norm, prenas_layer_norm_adjoint, prenas_bias_gelu, prenas_bias_gelu_adjoint, prenas_batch_norm, prenas_batch_norm_adjoint, prenas_adamw,
	prenas_squares, prenas_pack, prenas_branch, prenas_branch_adjoint;

// What prenas_product sums over, and prenas_pack is for, the attribute "over": the columns of a and the rows of b, the
// columns of both, the rows of both.
enum { PRENAS_OVER_BOTH, PRENAS_OVER_COLUMNS, PRENAS_OVER_ROWS };

// True if the processor has what prenas_product and prenas_attention take, with operands of bf16 or of float32.
bool prenas_products(bool bf16);

// Registers them in a plug-in that is loaded, for its platform "Host". NULL, or why not; the message
// stays for ever.
const char *prenas_register(const char *plugin);

#endif
