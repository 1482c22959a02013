#include "decode/g711/g711.h"
#include "decode/kernels.h"
#include "lanes/isa_name.h"

namespace callreplay::CR_ISA {

namespace {
template <int N>
constexpr G711Kernel kernel(cr_isa isa) {
  return {isa, g711::convert<g711::UlawDecoder, N, uint8_t, int16_t>,
          g711::convert<g711::AlawDecoder, N, uint8_t, int16_t>,
          g711::convert<g711::UlawEncoder, N, int16_t, uint8_t>,
          g711::convert<g711::AlawEncoder, N, int16_t, uint8_t>};
}
}  // namespace

extern const G711Kernel g711_lanes;
constexpr G711Kernel g711_lanes = kernel<kWidth16>(kIsa);

#if defined(CR_ISA_baseline)
extern const G711Kernel g711_scalar;
constexpr G711Kernel g711_scalar = kernel<1>(CR_ISA_SCALAR);
#endif

}  // namespace callreplay::CR_ISA
