#include "decode/kernels.h"

namespace callreplay {

namespace baseline {
extern const G722Kernel g722_scalar, g722_lanes;
}
#ifdef CR_X86
namespace avx2 {
extern const G722Kernel g722_lanes;
}
namespace avx512 {
extern const G722Kernel g722_lanes;
}
#endif
#ifdef CR_AARCH64
namespace neon {
extern const G722Kernel g722_lanes;
}
#endif

const G722Kernel *g722_kernel(cr_isa isa) {
  if (!cr_isa_available(isa)) return nullptr;
  switch (isa) {
    case CR_ISA_SCALAR:
      return &baseline::g722_scalar;
    case CR_ISA_BASELINE:
      return &baseline::g722_lanes;
#ifdef CR_X86
    case CR_ISA_AVX2:
      return &avx2::g722_lanes;
    case CR_ISA_AVX512:
      return &avx512::g722_lanes;
#endif
#ifdef CR_AARCH64
    case CR_ISA_NEON:
      return &neon::g722_lanes;
#endif
    default:
      return nullptr;
  }
}

}  // namespace callreplay
