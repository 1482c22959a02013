// Which cr_isa this compilation is.
#pragma once

#include "callreplay/isa.h"
#include "lanes/lanes.h"

namespace callreplay::CR_ISA {

#if defined(CR_ISA_avx512)
inline constexpr cr_isa kIsa = CR_ISA_AVX512;
#elif defined(CR_ISA_avx2)
inline constexpr cr_isa kIsa = CR_ISA_AVX2;
#elif defined(CR_ISA_neon)
inline constexpr cr_isa kIsa = CR_ISA_NEON;
#else
inline constexpr cr_isa kIsa = CR_ISA_BASELINE;
#endif

}  // namespace callreplay::CR_ISA
