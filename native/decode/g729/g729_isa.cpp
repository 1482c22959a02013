#include "decode/g729/decoder.h"
#include "lanes/isa_name.h"

namespace callreplay::CR_ISA {

namespace {
template <class V>
struct G729Lanes {
  using State = g729::State<V::kLanes>;
  static void reset(void *state, int lane) { g729::reset_lane(*static_cast<State *>(state), lane); }
  static void decode(void *state, const G729Frame *frames, int16_t *const *pcm) {
    g729::decode_group<V>(*static_cast<State *>(state), frames, pcm);
  }
  static void seed(void *state, int lane, uint16_t value) {
    static_cast<State *>(state)->word[g729::kSeedFer][lane] = static_cast<int16_t>(value);
  }
  static void save(const void *state, int lane, void *stream) {
    g729::save_lane(*static_cast<const State *>(state), lane, *static_cast<g729::Stream *>(stream));
  }
  static void load(void *state, int lane, const void *stream) {
    g729::load_lane(*static_cast<State *>(state), lane, *static_cast<const g729::Stream *>(stream));
  }
  static constexpr G729Kernel kernel(cr_isa isa) {
    return {isa, V::kLanes, sizeof(State), reset, decode, seed, sizeof(g729::Stream), save, load};
  }
};

#if defined(CR_ISA_baseline) && !defined(__SSE2__)
using Widest = I32x1;
#else
using Widest = I32;
#endif
}  // namespace

extern const G729Kernel g729_lanes;
constexpr G729Kernel g729_lanes = G729Lanes<Widest>::kernel(kIsa);

#if defined(CR_ISA_baseline)
extern const G729Kernel g729_scalar;
constexpr G729Kernel g729_scalar = G729Lanes<I32x1>::kernel(CR_ISA_SCALAR);
#endif

}  // namespace callreplay::CR_ISA
