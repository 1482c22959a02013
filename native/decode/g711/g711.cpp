#include "decode/kernels.h"
#include "lanes/kernels.h"

namespace callreplay {

CR_KERNELS(G711Kernel, g711)

}  // namespace callreplay
