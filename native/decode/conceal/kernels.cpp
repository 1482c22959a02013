#include "decode/conceal/kernels.h"

#include "lanes/kernels.h"

namespace callreplay {

CR_KERNELS(ConcealKernel, conceal)

}  // namespace callreplay
