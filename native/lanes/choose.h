// The table of kernels of one codec: CR_KERNELS(G722Kernel, g722) declares g722_scalar and g722_lanes of
// every instruction set that is compiled in and defines g722_kernel(isa).
#pragma once

#include "callreplay/isa.h"

#ifdef CR_X86
#define CR_KERNELS_DECLARE_X86(Kernel, codec) \
  namespace avx2 {                            \
  extern const Kernel codec##_lanes;          \
  }                                           \
  namespace avx512 {                          \
  extern const Kernel codec##_lanes;          \
  }
#define CR_KERNELS_CASE_X86(codec) \
  case CR_ISA_AVX2:                \
    return &avx2::codec##_lanes;   \
  case CR_ISA_AVX512:              \
    return &avx512::codec##_lanes;
#else
#define CR_KERNELS_DECLARE_X86(Kernel, codec)
#define CR_KERNELS_CASE_X86(codec)
#endif

#ifdef CR_AARCH64
#define CR_KERNELS_DECLARE_AARCH64(Kernel, codec) \
  namespace neon {                                \
  extern const Kernel codec##_lanes;              \
  }
#define CR_KERNELS_CASE_AARCH64(codec) \
  case CR_ISA_NEON:                    \
    return &neon::codec##_lanes;
#else
#define CR_KERNELS_DECLARE_AARCH64(Kernel, codec)
#define CR_KERNELS_CASE_AARCH64(codec)
#endif

#define CR_KERNELS(Kernel, codec)                    \
  namespace baseline {                               \
  extern const Kernel codec##_scalar, codec##_lanes; \
  }                                                  \
  CR_KERNELS_DECLARE_X86(Kernel, codec)              \
  CR_KERNELS_DECLARE_AARCH64(Kernel, codec)          \
  const Kernel *codec##_kernel(cr_isa isa) {         \
    if (!cr_isa_available(isa)) return nullptr;      \
    switch (isa) {                                   \
      case CR_ISA_SCALAR:                            \
        return &baseline::codec##_scalar;            \
      case CR_ISA_BASELINE:                          \
        return &baseline::codec##_lanes;             \
        CR_KERNELS_CASE_X86(codec)                   \
        CR_KERNELS_CASE_AARCH64(codec)               \
      default:                                       \
        return nullptr;                              \
    }                                                \
  }
