// Encoding of ITU-T G.711 on lanes of int16, as the ITU-T Software Tool Library does it: samples are cut to 14 (mu-law)
// or 12 bits and magnitude, negative ones by one's complement, so that -1 is "-0".
#pragma once

#include "lanes/convert.h"

namespace callreplay::CR_ISA::g711 {

template <int N>
struct UlawEncoder {
  using V = Lanes<int16_t, N>;
  static CR_LANE V apply(V pcm) {
    const V negative = sign(pcm);
    const V biased = min(shr<2>(pcm ^ negative) + splat<V>(33), splat<V>(8191));
    return (log2_q4(biased) - splat<V>(80)) ^ (splat<V>(255) ^ (negative & splat<V>(128)));
  }
};

template <int N>
struct AlawEncoder {
  using V = Lanes<int16_t, N>;
  static CR_LANE V apply(V pcm) {
    const V negative = sign(pcm);
    const V magnitude = shr<4>(pcm ^ negative);
    // Below 16 the code is the magnitude; from 16 on it is log2_q4 - 48, and 16 at 16.
    const V code = log2_q4(max(magnitude, splat<V>(16))) + min(magnitude, splat<V>(16)) - splat<V>(64);
    return code ^ (splat<V>(0xD5) ^ (negative & splat<V>(128)));
  }
};

}  // namespace callreplay::CR_ISA::g711
