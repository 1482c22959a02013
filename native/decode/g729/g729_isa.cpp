#include "decode/g729/decoder.h"

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
}  // namespace

CR_DEFINE_KERNELS(G729Kernel, g729, G729Lanes<I32>::kernel, G729Lanes<I32x1>::kernel)

}  // namespace callreplay::CR_ISA
