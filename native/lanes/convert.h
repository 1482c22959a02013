// A whole buffer through int16 lanes, each value by itself, between octets and samples.
#pragma once

#include <cstring>

#include "lanes/i16.h"

namespace callreplay::CR_ISA {

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

}  // namespace callreplay::CR_ISA
