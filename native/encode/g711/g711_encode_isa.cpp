#include "encode/g711/g711_encode.h"
#include "encode/g711/kernels.h"

namespace callreplay::CR_ISA {

namespace {
template <int N>
constexpr G711Encoder kernel(cr_isa isa) {
  return {isa, convert<g711::UlawEncoder, N, int16_t, uint8_t>,
          convert<g711::AlawEncoder, N, int16_t, uint8_t>};
}
}  // namespace

CR_DEFINE_KERNELS(G711Encoder, g711_encoder, kernel<kWidth16>, kernel<1>)

}  // namespace callreplay::CR_ISA
