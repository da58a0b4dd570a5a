// Vectors of LANES values, and how they come out of memory and go back: included at the start of a file of inner loops, which
// widths.h includes once for each width, with NAME(x) the name of x for it, TARGET what the compiler may use, and NATIVE_BF16
// whether that has an instruction to bf16.

#undef V
#undef BITS
#undef WORDS
#undef HALVES
#undef INLINE

typedef float NAME(vector) __attribute__((vector_size(4 * LANES)));
typedef int32_t NAME(bits) __attribute__((vector_size(4 * LANES)));
typedef uint32_t NAME(words) __attribute__((vector_size(4 * LANES)));
typedef uint16_t NAME(halves) __attribute__((vector_size(2 * LANES)));
#define V NAME(vector)
#define BITS NAME(bits)
#define WORDS NAME(words)
#define HALVES NAME(halves)
#define INLINE TARGET static inline __attribute__((always_inline))

// a where the mask is set, b elsewhere.
INLINE V NAME(choose)(BITS mask, V a, V b) { return (V)((mask & (BITS)a) | (~mask & (BITS)b)); }

// bf16 as float32, and the opposite: to the nearest bf16, of two to the even one; NaN stays NaN.
INLINE V NAME(widened)(HALVES x) {
#if LANES == 16 // the compiler makes several instructions of the other
	return (V)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)x), 16);
#else
	return (V)(__builtin_convertvector(x, WORDS) << 16);
#endif
}

INLINE HALVES NAME(narrowed)(V x) {
#if NATIVE_BF16
	return (HALVES)_mm512_cvtneps_pbh((__m512)x);
#else
	WORDS bits = (WORDS)x, rounded = bits + 0x7fff + (bits >> 16 & 1);
	bits = (WORDS)NAME(choose)(x == x, (V)rounded, (V)(bits | 0x400000)) >> 16;
#if LANES == 16
	return (HALVES)_mm512_cvtepi32_epi16((__m512i)bits);
#else
	return __builtin_convertvector(bits, HALVES);
#endif
#endif
}

// The last values of a row, fewer than a vector has, and zeros; and the opposite. (They are apart for the others to stay in registers.)
TARGET static __attribute__((noinline)) void NAME(load_last)(V *to, const void *from, int64_t count, bool bf16) {
	HALVES halves = {0};
	*to = (V){0};
	memcpy(bf16 ? (void *)&halves : to, from, count * (bf16 ? 2 : 4));
	if (bf16) {
		*to = NAME(widened)(halves);
	}
}

TARGET static __attribute__((noinline)) void NAME(store_last)(void *to, const V *from, int64_t count, bool bf16) {
	HALVES halves = NAME(narrowed)(*from);
	memcpy(to, bf16 ? (const void *)&halves : from, count * (bf16 ? 2 : 4));
}

// Values of a row from some on, a vector of them.
INLINE V NAME(load)(const void *row, int64_t at, int64_t size, bool bf16) {
	const char *from = (const char *)row + at * (bf16 ? 2 : 4);
	if (size - at < LANES) {
		V x;
		NAME(load_last)(&x, from, size - at, bf16);
		return x;
	}
	if (bf16) {
		HALVES x;
		memcpy(&x, from, sizeof x);
		return NAME(widened)(x);
	}
	V x;
	memcpy(&x, from, sizeof x);
	return x;
}

INLINE void NAME(store)(void *row, int64_t at, int64_t size, bool bf16, V x) {
	char *to = (char *)row + at * (bf16 ? 2 : 4);
	if (size - at < LANES) {
		NAME(store_last)(to, &x, size - at, bf16);
	} else if (bf16) {
		HALVES y = NAME(narrowed)(x);
		memcpy(to, &y, sizeof y);
	} else {
		memcpy(to, &x, sizeof x);
	}
}

// 1/x for x from 2^-100 to 2^100, to 2e-7 of it; NaN of NaN.
INLINE V NAME(reciprocal)(V x) {
#if LANES == 16 // a division takes as long as ten multiplications
	V y = (V)_mm512_rcp14_ps((__m512)x);
	return y + y * (1 - x * y);
#else
	return 1 / x;
#endif
}
