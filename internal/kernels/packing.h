// What packs the operands of products in vectors of 16 values of four bytes, for processors with AVX-512.

#ifndef PRENAS_PACKING_H
#define PRENAS_PACKING_H

#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

// The first so many lanes of a vector.
static inline __mmask16 lanes(int64_t count) { return count >= 16 ? 0xffff : count > 0 ? (1u << count) - 1 : 0; }

// Transposes 16 vectors of 16. Each round puts the halves of all values side by side, so
// the highest bit of a value's place among 256 becomes the lowest; after four, its row is its column.
__attribute__((target("avx512f,prefer-vector-width=512"))) static inline void transpose(__m512i v[16]) {
	__m512i low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0), high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
	for (int round = 0; round < 4; round++) {
		__m512i w[16];
		for (int i = 0; i < 8; i++) {
			w[2 * i] = _mm512_permutex2var_epi32(v[i], low, v[i + 8]);
			w[2 * i + 1] = _mm512_permutex2var_epi32(v[i], high, v[i + 8]);
		}
		memcpy(v, w, sizeof w);
	}
}

#endif

#endif
