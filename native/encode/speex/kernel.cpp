#include "encode/speex/kernel.h"

#include "lanes/kernels.h"

namespace callreplay {

using speex::SpeexKernel;
CR_KERNELS(SpeexKernel, speex)
CR_KERNELS(SpeexKernel, speex_single)

}  // namespace callreplay
