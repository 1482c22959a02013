#include "decode/g722/g722.h"
#include "decode/kernels.h"
#if CR_BASE_UNIT
#include "decode/g722/g722_one.h"
#endif

namespace callreplay::CR_ISA {

namespace {
template <int N>
constexpr G722Kernel kernel(cr_isa isa) {
  static_assert(sizeof(Lanes<int16_t, N>) == sizeof(int16_t) * N);
  return {isa,
          N,
          sizeof(g722::State<N>),
          g722::reset<N>,
          g722::decode<N>,
          g722::kStateRows<N> * sizeof(int16_t),
          g722::save_lane<N>,
          g722::load_lane<N>};
}
}  // namespace

CR_DEFINE_KERNELS(G722Kernel, g722, kernel<kWidth16>, kernel<1>)

}  // namespace callreplay::CR_ISA
