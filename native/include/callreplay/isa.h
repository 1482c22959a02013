/* Which instruction set the vector kernels use. Chosen once per process, at the first call. */
#ifndef CALLREPLAY_ISA_H
#define CALLREPLAY_ISA_H

#include <stddef.h>

#include "callreplay/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Ordered: a later one is preferred where the CPU has it. SCALAR is N = 1 of the same sources, the law. */
typedef enum cr_isa {
  CR_ISA_SCALAR = 0,
  CR_ISA_BASELINE = 1, /* what every CPU of the architecture has: SSE2 on x86-64, scalar code elsewhere */
  CR_ISA_NEON = 2,
  CR_ISA_AVX2 = 3,
  CR_ISA_AVX512 = 4 /* F, BW, DQ, VL, CD */
} cr_isa;

/* The best one that was compiled in and that the CPU and operating system support, or the one that the
 * environment variable CALLREPLAY_SIMD (scalar, baseline, neon, avx2, avx512) names. A forced one that this
 * CPU lacks, or an unknown name, falls back to the best available; cr_isa_forced() then says 0. */
cr_isa cr_isa_active(void);

/* 1 if CALLREPLAY_SIMD decided, else 0. */
int cr_isa_forced(void);

/* 1 if `isa` was compiled in and this CPU can run it. Tests walk all of them, whatever is active. */
int cr_isa_available(cr_isa isa);

/* "scalar", "baseline", "neon", "avx2", "avx512"; "unknown" for any other value. */
const char *cr_isa_name(cr_isa isa);

#ifdef __cplusplus
}
#endif
#endif
