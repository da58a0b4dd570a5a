// The tiles of one type of operands: included with NAME(x), TARGET and MULTIPLY_ADD(sum, x, y).

TARGET static inline __attribute__((always_inline)) void NAME(tile)(int rows, int vectors, const int32_t *a, int64_t a_row, int64_t a_step,
	const float *b, int64_t steps, float *c, int64_t c_row, bool add) {
	__m512 sum[PRENAS_TILE_2][3];
	for (int i = 0; i < rows; i++) {
		for (int v = 0; v < vectors; v++) {
			sum[i][v] = _mm512_setzero_ps();
			if (add) { // at the end: it need not wait for it
				__builtin_prefetch(c + i * c_row + 16 * v, 1);
			}
		}
	}
	for (int64_t s = 0; s < steps; s++) {
		__m512 columns[3];
		for (int v = 0; v < vectors; v++) {
			columns[v] = _mm512_load_ps(b + (s * vectors + v) * 16);
		}
		for (int i = 0; i < rows; i++) {
			__m512i x = _mm512_set1_epi32(a[i * a_row + s * a_step]);
			for (int v = 0; v < vectors; v++) {
				sum[i][v] = MULTIPLY_ADD(sum[i][v], x, columns[v]);
			}
		}
	}
	for (int i = 0; i < rows; i++) {
		for (int v = 0; v < vectors; v++) {
			float *to = c + i * c_row + 16 * v;
			_mm512_storeu_ps(to, add ? _mm512_add_ps(_mm512_loadu_ps(to), sum[i][v]) : sum[i][v]);
		}
	}
}

#define TILE(rows, vectors)                                                                                        \
	TARGET static void NAME(tile_##rows##_##vectors)(const void *a, int64_t a_row, int64_t a_step, const void *b,  \
		int64_t steps, float *c, int64_t c_row, bool add) {                                                        \
		NAME(tile)(rows, vectors, a, a_row, a_step, b, steps, c, c_row, add);                                      \
	}

TILE(1, 2) TILE(2, 2) TILE(3, 2) TILE(4, 2) TILE(5, 2) TILE(6, 2) TILE(7, 2)
TILE(8, 2) TILE(9, 2) TILE(10, 2) TILE(11, 2) TILE(12, 2) TILE(13, 2) TILE(14, 2)
TILE(1, 3) TILE(2, 3) TILE(3, 3) TILE(4, 3) TILE(5, 3) TILE(6, 3) TILE(7, 3) TILE(8, 3) TILE(9, 3)

static prenas_tile *const NAME(tiles_2)[] = {NULL, NAME(tile_1_2), NAME(tile_2_2), NAME(tile_3_2), NAME(tile_4_2), NAME(tile_5_2),
	NAME(tile_6_2), NAME(tile_7_2), NAME(tile_8_2), NAME(tile_9_2), NAME(tile_10_2), NAME(tile_11_2), NAME(tile_12_2), NAME(tile_13_2),
	NAME(tile_14_2)};
static prenas_tile *const NAME(tiles_3)[] = {NULL, NAME(tile_1_3), NAME(tile_2_3), NAME(tile_3_3), NAME(tile_4_3), NAME(tile_5_3),
	NAME(tile_6_3), NAME(tile_7_3), NAME(tile_8_3), NAME(tile_9_3)};

#undef TILE
