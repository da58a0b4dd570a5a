// Includes a file of inner loops, LOOPS, once for each width of vectors that a processor may have, and chooses between what
// comes of it. Who includes this has a type functions, and FUNCTIONS(suffix): a value of it, of the functions whose
// names end so.

#if defined(__x86_64__)
#include <immintrin.h>

#define LANES 16
#define NATIVE_BF16 1
#define NAME(x) x##_16_bf16
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,prefer-vector-width=512")))
#include LOOPS
#undef NATIVE_BF16
#undef NAME
#undef TARGET
#define NATIVE_BF16 0
#define NAME(x) x##_16
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512")))
#include LOOPS
#undef LANES
#undef NAME
#undef TARGET
#define LANES 8
#define NAME(x) x##_8
#define TARGET __attribute__((target("avx2,fma")))
#include LOOPS
#undef LANES
#undef NAME
#undef TARGET
#else
#define NATIVE_BF16 0
#endif
#define LANES 4
#define NAME(x) x##_4
#define TARGET
#include LOOPS

// The functions for vectors of so many lanes, which prenas_lanes has given.
static const functions *functions_of(int64_t lanes) {
#if defined(__x86_64__)
	static const functions of_16_bf16 = FUNCTIONS(_16_bf16), of_16 = FUNCTIONS(_16), of_8 = FUNCTIONS(_8);
	if (lanes == 16) {
		return __builtin_cpu_supports("avx512bf16") ? &of_16_bf16 : &of_16;
	}
	if (lanes == 8) {
		return &of_8;
	}
#endif
	static const functions of_4 = FUNCTIONS(_4);
	(void)lanes;
	return &of_4;
}
