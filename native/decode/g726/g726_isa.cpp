#include "decode/g726/g726.h"
#include "decode/kernels.h"
#include "lanes/isa_name.h"

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
          g726::save<N>,
          g726::load_lane<N>};
}

#if defined(CR_ISA_baseline) && !defined(__SSE2__)
using Widest = I32x1;
#else
using Widest = I32;
#endif
}  // namespace

extern const G726Kernel g726_lanes;
constexpr G726Kernel g726_lanes = kernel<Widest>(kIsa);

#if defined(CR_ISA_baseline)
extern const G726Kernel g726_scalar;
constexpr G726Kernel g726_scalar = kernel<I32x1>(CR_ISA_SCALAR);
#endif

}  // namespace callreplay::CR_ISA
