#include "decode/g711/g711.h"
#include "decode/kernels.h"

namespace callreplay::CR_ISA {

namespace {
template <int N>
constexpr G711Kernel kernel(cr_isa isa) {
  return {isa, convert<g711::UlawDecoder, N, uint8_t, int16_t>,
          convert<g711::AlawDecoder, N, uint8_t, int16_t>};
}
}  // namespace

CR_DEFINE_KERNELS(G711Kernel, g711, kernel<kWidth16>, kernel<1>)

}  // namespace callreplay::CR_ISA
