#include "decode/g726/g726.h"
#include "decode/kernels.h"
#if CR_BASE_UNIT && (defined(CR_SSE2) || defined(CR_NEON))
#include "decode/g726/g726_one.h"
#endif

namespace callreplay::CR_ISA {

namespace {
template <class V>
constexpr G726Kernel kernel(cr_isa isa) {
  constexpr int N = V::kLanes;
  return {isa,
          N,
          sizeof(g726::State<N>),
          g726::reset<N>,
          g726::decode<V>,
          g726::kRows * sizeof(int32_t),
          g726::save_lane<N>,
          g726::load_lane<N>};
}
}  // namespace

CR_DEFINE_KERNELS(G726Kernel, g726, kernel<I32>, kernel<I32x1>)

}  // namespace callreplay::CR_ISA
