//go:build linux && cgo

#include "tiles.h"

#include <stddef.h>

#pragma GCC optimize("O3")

#if defined(__x86_64__)
#include <immintrin.h>

#define NAME(x) x##_float32
#define TARGET __attribute__((target("avx512f,prefer-vector-width=512")))
#define MULTIPLY_ADD(sum, x, y) _mm512_fmadd_ps(_mm512_castsi512_ps(x), y, sum)
#include "tiles_body.h"
#undef NAME
#undef TARGET
#undef MULTIPLY_ADD

#define NAME(x) x##_bf16
#define TARGET __attribute__((target("avx512f,avx512bf16,prefer-vector-width=512")))
#define MULTIPLY_ADD(sum, x, y) _mm512_dpbf16_ps(sum, (__m512bh)(x), (__m512bh)(y))
#include "tiles_body.h"

static bool tiles_of(prenas_tiles *tiles, int vectors, prenas_tile *const *two, prenas_tile *const *three) {
	*tiles = vectors == 2 ? (prenas_tiles){2, PRENAS_TILE_2, two} : (prenas_tiles){3, PRENAS_TILE_3, three};
	return true;
}

bool prenas_tiles_float32(int vectors, prenas_tiles *tiles) {
	return __builtin_cpu_supports("avx512f") && tiles_of(tiles, vectors, tiles_2_float32, tiles_3_float32);
}

bool prenas_tiles_bf16(int vectors, prenas_tiles *tiles) {
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bf16") && tiles_of(tiles, vectors, tiles_2_bf16, tiles_3_bf16);
}

#else

bool prenas_tiles_float32(int vectors, prenas_tiles *tiles) { return false; }
bool prenas_tiles_bf16(int vectors, prenas_tiles *tiles) { return false; }

#endif
