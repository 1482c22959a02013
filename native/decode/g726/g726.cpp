#include "decode/kernels.h"
#include "lanes/choose.h"

namespace callreplay {

CR_KERNELS(G726Kernel, g726)

}  // namespace callreplay
