// Tiles: the inner loops of matrix products, for processors with AVX-512.
//
// A tile of c, of up to 14 rows and 32 columns or 9 rows and 48 columns, is summed in
// registers. What a and b are summed over goes by steps of four bytes: a value of
// float32, or a pair of neighbouring values of bf16, which one instruction
// multiplies and adds. In each step a vector of b's columns meets one four-byte value of each of a's
// rows:
//
//	c[i][j] += Σ over steps s of a[i·a_row + s·a_step] · b[s·width + j]
//
// so b must lie packed, step by step, width columns side by side (16·vectors of them), each column's pair together;
// a may lie as it is, row by row, if its pairs are along its rows.

#ifndef PRENAS_TILES_H
#define PRENAS_TILES_H

#include <stdbool.h>
#include <stdint.h>

// Rows of a tile at most, by its number of vectors: 28 and 27 of the 32 registers hold sums.
enum { PRENAS_TILE_2 = 14, PRENAS_TILE_3 = 9 };

// All strides in steps (a) and values (c). With add, what c holds is added to.
typedef void prenas_tile(const void *a, int64_t a_row, int64_t a_step, const void *b, int64_t steps, float *c, int64_t c_row, bool add);

typedef struct {
	int vectors, rows;           // of the largest tile
	prenas_tile *const *of_rows; // by number of rows, from 1 on
} prenas_tiles;

// Tiles of 2 or 3 vectors. False if the processor lacks the instructions.
bool prenas_tiles_float32(int vectors, prenas_tiles *tiles);
bool prenas_tiles_bf16(int vectors, prenas_tiles *tiles);

#endif
