#include "decode/g722/g722.h"
#include "decode/kernels.h"
#include "lanes/isa_name.h"
#if defined(CR_ISA_baseline)
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
          g722::save<N>,
          g722::load<N>};
}
}  // namespace

extern const G722Kernel g722_lanes;
constexpr G722Kernel g722_lanes = kernel<kWidth16>(kIsa);

#if defined(CR_ISA_baseline)
extern const G722Kernel g722_scalar;
constexpr G722Kernel g722_scalar = kernel<1>(CR_ISA_SCALAR);
#endif

}  // namespace callreplay::CR_ISA
