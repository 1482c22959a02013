// ITU-T G.711 on lanes of int16: arithmetic instead of tables. Encoding follows the ITU-T Software Tool
// Library: samples are cut to 14 (mu-law) or 12 bits and magnitude, negative ones by one's complement, so
// that -1 is "-0".
#pragma once

#include <cstring>

#include "lanes/i16.h"

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

template <class V>
CR_LANE V read(const uint8_t *from) {
  return load_octets<V>(from);
}
template <class V>
CR_LANE V read(const int16_t *from) {
  return load<V>(from);
}
template <class V>
CR_LANE void write(uint8_t *to, V x) {
  store_octets(to, x);
}
template <class V>
CR_LANE void write(int16_t *to, V x) {
  store(to, x);
}

// A whole buffer. The last register of a longer one overlaps its predecessor; input and output never overlap.
template <template <int> class Law, int N, class From, class To>
void convert(const From *from, To *to, size_t count) {
  using V = Lanes<int16_t, N>;
  size_t at = 0;
  for (; at + N <= count; at += N) write(to + at, Law<N>::apply(read<V>(from + at)));
  if (at == count) return;
  if (count >= N) {
    at = count - N;
    return write(to + at, Law<N>::apply(read<V>(from + at)));
  }
  From few_from[N] = {};
  To few_to[N];
  std::memcpy(few_from, from, count * sizeof(From));
  write(few_to, Law<N>::apply(read<V>(few_from)));
  std::memcpy(to, few_to, count * sizeof(To));
}

}  // namespace callreplay::CR_ISA::g711
