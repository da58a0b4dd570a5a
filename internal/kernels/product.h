// Products of matrices in bf16 on tiles of AMX.

#ifndef PRENAS_PRODUCT_H
#define PRENAS_PRODUCT_H

#include "call.h"

// c [rows, columns], bf16 or float32, of a and b in bf16: what they are depends on what is summed over (call.h).
typedef struct {
	const uint16_t *a, *b;
	void *c;
	int64_t rows, columns, depth;
	int64_t over;
	bool c_bf16;
} prenas_factors;

// Only where prenas_amx() says so. False if there is no memory left.
bool prenas_product_amx(ffi_frame *frame, const prenas_factors *of);

#endif
