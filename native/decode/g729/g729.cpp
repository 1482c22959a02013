#include "decode/kernels.h"

namespace callreplay {

namespace baseline {
extern const G729Kernel kG729Scalar, kG729Kernel;
}
#ifdef CR_X86
namespace avx2 {
extern const G729Kernel kG729Kernel;
}
namespace avx512 {
extern const G729Kernel kG729Kernel;
}
#endif
#ifdef CR_AARCH64
namespace neon {
extern const G729Kernel kG729Kernel;
}
#endif

const G729Kernel *g729_kernel(cr_isa isa) {
  if (!cr_isa_available(isa)) {
    return nullptr;
  }
  switch (isa) {
    case CR_ISA_SCALAR:
      return &baseline::kG729Scalar;
    case CR_ISA_BASELINE:
      return &baseline::kG729Kernel;
#ifdef CR_X86
    case CR_ISA_AVX2:
      return &avx2::kG729Kernel;
    case CR_ISA_AVX512:
      return &avx512::kG729Kernel;
#endif
#ifdef CR_AARCH64
    case CR_ISA_NEON:
      return &neon::kG729Kernel;
#endif
    default:
      return nullptr;
  }
}

}  // namespace callreplay
