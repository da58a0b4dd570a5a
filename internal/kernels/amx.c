//go:build linux && cgo

#include "amx.h"

#include <stddef.h>

#ifdef PRENAS_AMX

#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// As in Linux's asm/prctl.h and asm/fpu/types.h.
enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };

static const char *refusal;

static const char *ask(void) {
	unsigned a, b, c, d;
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & 1 << 22) || !(d & 1 << 24) || !__builtin_cpu_supports("avx512bw") ||
	    !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512bf16")) {
		return "not in this processor";
	}
	const char *off = getenv("PRENAS_NO_AMX");
	if (off && *off && strcmp(off, "0") != 0) {
		return "turned off by PRENAS_NO_AMX";
	}
	if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0) {
		return NULL;
	}
	// A stack for signals that some thread of this process has must hold the state of tiles too.
	return errno == ENOSPC ? "refused by the system: a thread's stack for signals is too small" : "refused by the system";
}

static void ask_once(void) { refusal = ask(); }

const char *prenas_amx_refused(void) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, ask_once);
	return refusal;
}

void prenas_amx_begin(void) {
	struct __attribute__((packed)) {
		uint8_t palette, start_row, reserved[14];
		uint16_t row_bytes[16];
		uint8_t rows[16];
	} all = {.palette = 1};
	for (int i = 0; i < 8; i++) {
		all.row_bytes[i] = 64;
		all.rows[i] = AMX_ROWS;
	}
	__asm__ volatile("ldtilecfg %0" : : "m"(all));
}

void prenas_amx_end(void) { __asm__ volatile("tilerelease" : :); }

static double processor_seconds(void) {
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec + 1e-9 * t.tv_nsec;
}

double prenas_amx_peak(void) {
	enum { STEPS = 8, REPEATS = 5, BLOCKS = 4000 }; // some milliseconds each
	if (!prenas_amx()) {
		return 0;
	}
	char *operands = aligned_alloc(64, 4 * STEPS * AMX_TILE);
	float *sums = aligned_alloc(64, 4 * AMX_TILE);
	double most = 0;
	if (operands && sums) {
		for (int i = 0; i < 2 * STEPS * AMX_TILE; i++) {
			((uint16_t *)operands)[i] = 0x3f80; // 1
		}
		prenas_amx_begin();
		for (int repeat = 0; repeat < REPEATS; repeat++) {
			double began = processor_seconds();
			for (int i = 0; i < BLOCKS; i++) {
				prenas_amx_block(2, 2, operands, STEPS * AMX_TILE, AMX_TILE, operands + 2 * STEPS * AMX_TILE, STEPS * AMX_TILE, AMX_TILE, STEPS, sums, AMX_BLOCK, false);
			}
			double gflops = 2.0 * BLOCKS * AMX_BLOCK * AMX_BLOCK * STEPS * AMX_DEPTH / (processor_seconds() - began) / 1e9;
			most = gflops > most ? gflops : most;
		}
		prenas_amx_end();
	}
	free(operands);
	free(sums);
	return most;
}

#else

const char *prenas_amx_refused(void) { return "not in what this program was compiled for"; }
double prenas_amx_peak(void) { return 0; }

#endif
