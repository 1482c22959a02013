#include "decode/kernels.h"
#include "lanes/choose.h"

namespace callreplay {

CR_KERNELS(G711Kernel, g711)

}  // namespace callreplay
