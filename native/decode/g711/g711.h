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
  static CR_LANE V apply(const V &octet) {
    const V code = octet ^ V(255);
    const V magnitude = shl_each(shl<3>(code & V(15)) + V(132), shr<4>(code) & V(7)) - V(132);
    return negate_if(magnitude, sign(shl<8>(code)));
  }
};

// Octet: sign (1 = positive), segment, interval, even bits inverted. Segments 0 and 1 have the same step.
template <int N>
struct AlawDecoder {
  using V = Lanes<int16_t, N>;
  static CR_LANE V apply(const V &octet) {
    const V code = octet ^ V(0xD5);
    const V segment = shr<4>(code) & V(7);
    const V curved = min(segment, V(1));
    const V magnitude = shl_each(shl<4>(code & V(15)) + V(8) + shl<8>(curved), segment - curved);
    return negate_if(magnitude, sign(shl<8>(code)));
  }
};

template <int N>
struct UlawEncoder {
  using V = Lanes<int16_t, N>;
  static CR_LANE V apply(const V &pcm) {
    const V negative = sign(pcm);
    const V biased = min(shr<2>(pcm ^ negative) + V(33), V(8191));
    return (log2_q4(biased) - V(80)) ^ (V(255) ^ (negative & V(128)));
  }
};

template <int N>
struct AlawEncoder {
  using V = Lanes<int16_t, N>;
  static CR_LANE V apply(const V &pcm) {
    const V negative = sign(pcm);
    const V magnitude = shr<4>(pcm ^ negative);
    // Below 16 the code is the magnitude; from 16 on it is log2_q4 - 48, and 16 at 16.
    const V code = log2_q4(max(magnitude, V(16))) + min(magnitude, V(16)) - V(64);
    return code ^ (V(0xD5) ^ (negative & V(128)));
  }
};

template <int N>
CR_LANE Lanes<int16_t, N> load(const uint8_t *from) {
  return Lanes<int16_t, N>::widen(from);
}
template <int N>
CR_LANE Lanes<int16_t, N> load(const int16_t *from) {
  return Lanes<int16_t, N>::load(from);
}
template <int N>
CR_LANE void store(const Lanes<int16_t, N> &x, uint8_t *to) {
  x.store_low_octets(to);
}
template <int N>
CR_LANE void store(const Lanes<int16_t, N> &x, int16_t *to) {
  x.store(to);
}

// A whole buffer. The last register of a longer one overlaps its predecessor; input and output never overlap.
template <template <int> class Law, int N, class From, class To>
void convert(const From *from, To *to, size_t count) {
  size_t at = 0;
  for (; at + N <= count; at += N) store<N>(Law<N>::apply(load<N>(from + at)), to + at);
  if (at == count) return;
  if (count >= N) {
    at = count - N;
    return store<N>(Law<N>::apply(load<N>(from + at)), to + at);
  }
  From few_from[N] = {};
  To few_to[N];
  std::memcpy(few_from, from, count * sizeof(From));
  store<N>(Law<N>::apply(load<N>(few_from)), few_to);
  std::memcpy(to, few_to, count * sizeof(To));
}

}  // namespace callreplay::CR_ISA::g711
