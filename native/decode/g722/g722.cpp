#include "decode/kernels.h"
#include "lanes/choose.h"

namespace callreplay {

CR_KERNELS(G722Kernel, g722)

}  // namespace callreplay
