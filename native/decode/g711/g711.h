// Decoding of ITU-T G.711 on lanes of int16: arithmetic instead of tables, but where four registers hold a table.
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

#if defined(CR_AVX512)

// What an octet comes to by its lower seven bits if its sign is not set, which is negative.
struct Negated {
  int16_t ulaw[128] = {}, alaw[128] = {};
  constexpr Negated() {
    for (int octet = 0; octet < 128; ++octet) {
      const int u = octet ^ 127, a = octet ^ 0x55, segment = a >> 4, curved = segment > 0 ? 1 : 0;
      ulaw[octet] = static_cast<int16_t>(132 - (((u & 15) * 8 + 132) << (u >> 4)));
      alaw[octet] = static_cast<int16_t>(-(((a & 15) * 16 + 8 + 256 * curved) << (segment - curved)));
    }
  }
};
inline constexpr Negated kNegated;

CR_LANE I16 decoded(const Lut<32, 128> &negated, I16 octet) {
  return negate_if(negated(octet & splat<I16>(127)), sign(shl<8>(octet)));
}

template <>
struct UlawDecoder<32> {
  static CR_LANE I16 apply(I16 octet) { return decoded(Lut<32, 128>(kNegated.ulaw), octet); }
};

template <>
struct AlawDecoder<32> {
  static CR_LANE I16 apply(I16 octet) { return decoded(Lut<32, 128>(kNegated.alaw), octet); }
};

#endif

}  // namespace callreplay::CR_ISA::g711
