#include "decode/conceal/kernels.h"

#include "lanes/choose.h"

namespace callreplay {

CR_KERNELS(ConcealKernel, conceal)

}  // namespace callreplay
