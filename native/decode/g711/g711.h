// Decoding of ITU-T G.711 on lanes of int16: arithmetic instead of tables.
#pragma once

#include "lanes/convert.h"

namespace callreplay::CR_ISA::g711 {

// Octet: sign (1 = positive), segment, interval, all inverted. Magnitude: (interval * 8 + 132) * 2^segment -
// 132.
template <int N>
struct UlawDecoder {
  using V = Lanes<int16_t, N>;
  static CR_LANE V apply(V octet) {
    const V code = octet ^ splat<V>(255);
    const V magnitude =
        shl_each(shl<3>(code & splat<V>(15)) + splat<V>(132), shr<4>(code) & splat<V>(7)) - splat<V>(132);
    return negate_if(magnitude, sign(shl<8>(code)));
  }
};

// Octet: sign (1 = positive), segment, interval, even bits inverted. Segments 0 and 1 have the same step.
template <int N>
struct AlawDecoder {
  using V = Lanes<int16_t, N>;
  static CR_LANE V apply(V octet) {
    const V code = octet ^ splat<V>(0xD5);
    const V segment = shr<4>(code) & splat<V>(7);
    const V curved = min(segment, splat<V>(1));
    const V magnitude =
        shl_each(shl<4>(code & splat<V>(15)) + splat<V>(8) + shl<8>(curved), segment - curved);
    return negate_if(magnitude, sign(shl<8>(code)));
  }
};

}  // namespace callreplay::CR_ISA::g711
