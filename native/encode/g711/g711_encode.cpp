#include "encode/g711/kernels.h"
#include "lanes/kernels.h"

namespace callreplay {

CR_KERNELS(G711Encoder, g711_encoder)

}  // namespace callreplay
