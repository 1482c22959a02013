#include "mix/kernels.h"

#include "lanes/choose.h"

namespace callreplay {

CR_KERNELS(MixKernel, mix)

}  // namespace callreplay
