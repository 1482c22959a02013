#include "decode/kernels.h"
#include "lanes/kernels.h"

namespace callreplay {

CR_KERNELS(G726Kernel, g726)

}  // namespace callreplay
