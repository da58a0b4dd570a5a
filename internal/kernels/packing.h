// What packs the operands of products in vectors of 16 values of four bytes, for processors with AVX-512.

#ifndef PRENAS_PACKING_H
#define PRENAS_PACKING_H

#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

// The first so many lanes of a vector.
static inline __mmask16 lanes(int64_t count) { return count >= 16 ? 0xffff : count > 0 ? (1u << count) - 1 : 0; }

// The same of 32 values of two bytes.
static inline __mmask32 halves(int64_t count) { return count >= 32 ? 0xffffffff : count > 0 ? (1u << count) - 1 : 0; }

// Values of two bytes: one of the first 16, then one of the last 16, in turns.
__attribute__((target("avx512f,avx512bw,prefer-vector-width=512"))) static inline __m512i pair_order(void) {
	return _mm512_setr_epi32(0x100000, 0x110001, 0x120002, 0x130003, 0x140004, 0x150005, 0x160006, 0x170007, 0x180008, 0x190009, 0x1a000a, 0x1b000b, 0x1c000c,
		0x1d000d, 0x1e000e, 0x1f000f);
}

// Pairs of the values that two rows of 32 have in the same columns: of the first 16 and of the last 16 columns.
__attribute__((target("avx512f,avx512bw,prefer-vector-width=512"))) static inline void pair(__m512i *low, __m512i *high, __m512i even, __m512i odd) {
	const __m512i first = _mm512_setr_epi32(0x200000, 0x210001, 0x220002, 0x230003, 0x240004, 0x250005, 0x260006, 0x270007, 0x280008, 0x290009, 0x2a000a,
		0x2b000b, 0x2c000c, 0x2d000d, 0x2e000e, 0x2f000f);
	*low = _mm512_permutex2var_epi16(even, first, odd);
	*high = _mm512_permutex2var_epi16(even, _mm512_add_epi16(first, _mm512_set1_epi16(16)), odd);
}

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
