#include "decode/kernels.h"
#include "lanes/kernels.h"

namespace callreplay {

CR_KERNELS(G722Kernel, g722)

}  // namespace callreplay
