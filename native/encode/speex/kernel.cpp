#include "encode/speex/kernel.h"

#include "encode/speex/kernel_list.h"

namespace callreplay::speex {

const SpeexKernel *speex_kernel(cr_isa isa) {
  if (!cr_isa_available(isa)) {
    return nullptr;
  }
  switch (isa) {
    case CR_ISA_SCALAR:
      return &baseline::kSpeexScalar;
    case CR_ISA_BASELINE:
      return &baseline::kSpeexLanes;
#if defined(CR_X86)
    case CR_ISA_AVX2:
      return &avx2::kSpeexLanes;
    case CR_ISA_AVX512:
      return &avx512::kSpeexLanes;
#endif
#if defined(CR_AARCH64)
    case CR_ISA_NEON:
      return &neon::kSpeexLanes;
#endif
    default:
      return nullptr;
  }
}

const SpeexKernel *speex_single_kernel(cr_isa isa) {
  if (!cr_isa_available(isa)) {
    return nullptr;
  }
  switch (isa) {
    case CR_ISA_SCALAR:
      return &baseline::kSpeexScalar;
    case CR_ISA_BASELINE:
      return &baseline::kSpeexSingle;
#if defined(CR_X86)
    case CR_ISA_AVX2:
      return &avx2::kSpeexSingle;
    case CR_ISA_AVX512:
      return &avx512::kSpeexSingle;
#endif
#if defined(CR_AARCH64)
    case CR_ISA_NEON:
      return &neon::kSpeexSingle;
#endif
    default:
      return nullptr;
  }
}

}  // namespace callreplay::speex
