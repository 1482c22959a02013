#include "mix/kernels.h"

#include "lanes/kernels.h"

namespace callreplay {

CR_KERNELS(MixKernel, mix)

}  // namespace callreplay
