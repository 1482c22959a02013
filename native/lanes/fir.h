// A plain filter over float lanes, and the sum of a dot product's parts, for the resampler and the concealer.
#pragma once

#include "lanes/f32.h"

namespace callreplay::CR_ISA {

// Sixteen partial sums, added pairwise: the order that every width keeps.
CR_LANE float add_up(const float *sums) {
  float eight[8], four[4];
  for (int i = 0; i < 8; ++i) {
    eight[i] = sums[i] + sums[i + 8];
  }
  for (int i = 0; i < 4; ++i) {
    four[i] = eight[i] + eight[i + 4];
  }
  return (four[0] + four[2]) + (four[1] + four[3]);
}

// y[n] += sum over t of taps[t] * x[n + t], n < count, t < taps_count. Reads x and writes y up to the next
// multiple of 64 of count. Several vectors of outputs at a time: a tap is loaded once for all of them, and
// their sums do not wait for one another. Each sum runs over t in order, whatever the width.
template <int N>
void fir(float *__restrict y, const float *__restrict x, const float *__restrict taps, size_t taps_count,
         size_t count) {
  using V = Lanes<float, N>;
  constexpr int kVectors = N == 16 ? 4 : 8;
  static_assert(64 % (kVectors * N) == 0);
  for (size_t n = 0; n < count; n += kVectors * N) {
    V sums[kVectors];
    for (int i = 0; i < kVectors; ++i) {
      sums[i] = load<V>(y + n + i * N);
    }
    const float *from = x + n;
    for (size_t t = 0; t < taps_count; ++t, ++from) {
      const V tap = splat<V>(taps[t]);
      for (int i = 0; i < kVectors; ++i) {
        sums[i] = sums[i] + tap * load<V>(from + i * N);
      }
    }
    for (int i = 0; i < kVectors; ++i) {
      store(y + n + i * N, sums[i]);
    }
  }
}

}  // namespace callreplay::CR_ISA
