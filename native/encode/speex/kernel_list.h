// The kernels that encode_isa.cpp defines, one set per instruction set of the build.
#pragma once

#include "encode/speex/kernel.h"

namespace callreplay {

namespace baseline {
extern const speex::SpeexKernel kSpeexLanes, kSpeexSingle, kSpeexScalar;
}
#if defined(CR_X86) || defined(__x86_64__)
namespace avx2 {
extern const speex::SpeexKernel kSpeexLanes, kSpeexSingle;
}
namespace avx512 {
extern const speex::SpeexKernel kSpeexLanes, kSpeexSingle;
}
#endif
#if defined(CR_AARCH64) || defined(__aarch64__)
namespace neon {
extern const speex::SpeexKernel kSpeexLanes, kSpeexSingle;
}
#endif

}  // namespace callreplay
