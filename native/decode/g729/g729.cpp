#include "decode/kernels.h"
#include "lanes/choose.h"

namespace callreplay {

CR_KERNELS(G729Kernel, g729)

}  // namespace callreplay
