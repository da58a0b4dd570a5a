// Whole numbers, as the functions divide work into parts.

#ifndef PRENAS_NUMBERS_H
#define PRENAS_NUMBERS_H

#include <stdint.h>

static inline int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }

// a / by, by > 0, rounded to the next whole number above, or below.
static inline int64_t divided_up(int64_t a, int64_t by) { return a > 0 ? (a + by - 1) / by : -(-a / by); }
static inline int64_t divided_down(int64_t a, int64_t by) { return a >= 0 ? a / by : -((-a + by - 1) / by); }

static inline int64_t rounded_up(int64_t a, int64_t to) { return divided_up(a, to) * to; }

#endif
