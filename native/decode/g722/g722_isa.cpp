#include "decode/g722/g722.h"
#include "decode/kernels.h"
#include "lanes/isa_name.h"
#if defined(CR_ISA_baseline)
#include "decode/g722/g722_encode.h"
#endif

namespace callreplay::CR_ISA {

namespace {
template <int N>
constexpr G722Kernel kernel(cr_isa isa) {
  return {isa,
          N,
          sizeof(g722::State<N>),
          g722::reset<N>,
          g722::decode<N>,
          g722::save<N>,
          g722::restore_lane<N>,
          nullptr};
}
}  // namespace

extern const G722Kernel g722_lanes;
constexpr G722Kernel g722_lanes = kernel<kWidth16>(kIsa);

#if defined(CR_ISA_baseline)
extern const G722Kernel g722_scalar;
static_assert(sizeof(g722::State<1>) <= kG722OneBytes);
constexpr G722Kernel g722_scalar = {CR_ISA_SCALAR,          1,
                                    sizeof(g722::State<1>), g722::reset<1>,
                                    g722::decode<1>,        g722::save<1>,
                                    g722::restore_lane<1>,  g722::follow};
#endif

}  // namespace callreplay::CR_ISA
