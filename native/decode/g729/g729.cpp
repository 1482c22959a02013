#include "decode/kernels.h"
#include "lanes/kernels.h"

namespace callreplay {

CR_KERNELS(G729Kernel, g729)

}  // namespace callreplay
