// The G.729 kernel of one instruction set (compiled once for each, see callreplay_isa_sources).
#include "decode/g729/decoder.h"

namespace callreplay::CR_ISA {

template <class V>
struct G729Lanes {
  using State = g729::State<V::kLanes>;
  static void reset(void *state, int lane) { g729::reset_lane(*static_cast<State *>(state), lane); }
  static void decode(void *state, const G729Frame *frames, int16_t *const *pcm) {
    g729::decode_group<V>(*static_cast<State *>(state), frames, pcm);
  }
  static constexpr G729Kernel kernel(cr_isa isa) { return {isa, V::kLanes, sizeof(State), reset, decode}; }
};

#if defined(CR_ISA_avx512)
extern const G729Kernel kG729Kernel;
const G729Kernel kG729Kernel = G729Lanes<I32>::kernel(CR_ISA_AVX512);
#elif defined(CR_ISA_avx2)
extern const G729Kernel kG729Kernel;
const G729Kernel kG729Kernel = G729Lanes<I32>::kernel(CR_ISA_AVX2);
#elif defined(CR_ISA_neon)
extern const G729Kernel kG729Kernel;
const G729Kernel kG729Kernel = G729Lanes<I32>::kernel(CR_ISA_NEON);
#else
extern const G729Kernel kG729Scalar, kG729Kernel;
const G729Kernel kG729Scalar = G729Lanes<I32x1>::kernel(CR_ISA_SCALAR);
#if defined(__SSE2__)
const G729Kernel kG729Kernel = G729Lanes<I32>::kernel(CR_ISA_BASELINE);
#else
const G729Kernel kG729Kernel = G729Lanes<I32x1>::kernel(CR_ISA_BASELINE);
#endif
#endif

}  // namespace callreplay::CR_ISA
