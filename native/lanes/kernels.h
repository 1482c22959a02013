// The table of kernels of one codec or stage, all of one shape. `Kernel` is a struct whose first member is
// `cr_isa isa`, the set that it is of; the others are what it offers. CR_DEFINE_KERNELS of lanes.h defines
// the kernels, in the file that is compiled once per instruction set; CR_KERNELS(G722Kernel, g722), in one
// other file, defines
//   const G722Kernel *g722_kernel(cr_isa)
// which is null for a set that was not compiled in or that this CPU lacks.
#pragma once

#include "callreplay/isa.h"

// The namespace of the units that are built without further options, and where they stand in the order.
#if defined(__aarch64__) && defined(__ARM_NEON) && !defined(__ARM_BIG_ENDIAN) && !defined(CR_NO_REGISTERS)
#define CR_BASE neon
#define CR_BASE_ISA CR_ISA_NEON
#else
#define CR_BASE baseline
#define CR_BASE_ISA CR_ISA_BASELINE
#endif

#if defined(__x86_64__) && !defined(CR_NO_REGISTERS)
#define CR_MORE_SETS 1
#define CR_KERNELS_DECLARE_MORE(Kernel, codec) \
  namespace avx2 {                             \
  extern const Kernel codec##_lanes;           \
  }                                            \
  namespace avx512 {                           \
  extern const Kernel codec##_lanes;           \
  }
#define CR_KERNELS_CASE_MORE(codec) \
  case CR_ISA_AVX2:                 \
    return &avx2::codec##_lanes;    \
  case CR_ISA_AVX512:               \
    return &avx512::codec##_lanes;
#else
#define CR_KERNELS_DECLARE_MORE(Kernel, codec)
#define CR_KERNELS_CASE_MORE(codec)
#endif

#define CR_KERNELS(Kernel, codec)                    \
  namespace CR_BASE {                                \
  extern const Kernel codec##_scalar, codec##_lanes; \
  }                                                  \
  CR_KERNELS_DECLARE_MORE(Kernel, codec)             \
  const Kernel *codec##_kernel(cr_isa isa) {         \
    if (!cr_isa_available(isa)) return nullptr;      \
    switch (isa) {                                   \
      case CR_ISA_SCALAR:                            \
        return &CR_BASE::codec##_scalar;             \
      case CR_BASE_ISA:                              \
        return &CR_BASE::codec##_lanes;              \
        CR_KERNELS_CASE_MORE(codec)                  \
      default:                                       \
        return nullptr;                              \
    }                                                \
  }
