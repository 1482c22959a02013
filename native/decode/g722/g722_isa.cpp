#include "decode/g722/g722.h"
#if defined(CR_ISA_baseline)
#include "decode/g722/g722_one.h"
#endif
#include "decode/kernels.h"

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

extern const G722Kernel g722_lanes;
const G722Kernel g722_lanes = {kIsa, kWidth16, sizeof(g722::State<kWidth16>), g722::reset<kWidth16>,
                               g722::decode<kWidth16>};

#if defined(CR_ISA_baseline)
extern const G722Kernel g722_scalar;
const G722Kernel g722_scalar = {CR_ISA_SCALAR, 1, sizeof(g722::State<1>), g722::reset<1>, g722::decode<1>};
#endif

}  // namespace callreplay::CR_ISA
