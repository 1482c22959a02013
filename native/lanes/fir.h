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

#if defined(CR_AVX512)
// The same of each of up to 16 registers, side by side.
template <int kCount, int N>
CR_LANE void add_up_each(float *totals, const Lanes<float, N> (*sums)[1]) {
  __m512 some[16];
  for (int i = 0; i < 16; ++i) {
    some[i] = i < kCount ? sums[i][0].v : _mm512_setzero_ps();
  }
  for (int i = 0; i < 8; ++i) {
    const __m512 a = some[2 * i], b = some[2 * i + 1];
    some[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  }
  for (int i = 0; i < 4; ++i) {
    const __m512 a = some[2 * i], b = some[2 * i + 1];
    some[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  }
  for (int i = 0; i < 2; ++i) {
    const __m512d a = _mm512_castps_pd(some[2 * i]), b = _mm512_castps_pd(some[2 * i + 1]);
    some[i] =
        _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  const __m512 all =
      _mm512_add_ps(_mm512_shuffle_ps(some[0], some[1], 0x88), _mm512_shuffle_ps(some[0], some[1], 0xdd));
  // Register 4 i + j stands at 4 j + i.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_mask_storeu_ps(totals, (1u << kCount) - 1, _mm512_permutexvar_ps(order, all));
}
#endif

// Sum over t of tap(t) * x[t]; `tap(t)` gives those from t to t + N - 1. To the next multiple of 16 of the count.
template <int N, class Tap>
CR_LANE float dot_with(const float *__restrict x, size_t taps_count, Tap &&tap) {
  using V = Lanes<float, N>;
  constexpr int kVectors = 16 / N;
  V sums[kVectors];
  for (V &sum : sums) {
    sum = splat<V>(0.0f);
  }
  for (size_t t = 0; t < taps_count; t += 16) {
    for (int i = 0; i < kVectors; ++i) {
      sums[i] = sums[i] + tap(t + static_cast<size_t>(i * N)) * load<V>(x + t + i * N);
    }
  }
  float flat[16];
  for (int i = 0; i < kVectors; ++i) {
    store(flat + i * N, sums[i]);
  }
  return add_up(flat);
}

// kVectors of N outputs from y on: y[n] += sum over t of taps[t] * x[n + t]. Every second vector is read from other_x.
template <int N, int kVectors>
CR_LANE void fir_taps(Lanes<float, N> *sums, const float *x, const float *other_x, const float *taps,
                      size_t taps_count) {
  using V = Lanes<float, N>;
  for (size_t t = 0; t < taps_count; ++t, ++x, ++other_x) {
    const V tap = splat<V>(taps[t]);
    for (int i = 0; i < kVectors; ++i) {
      sums[i] = sums[i] + tap * load<V>((i % 2 == 0 ? x : other_x) + i * N);
    }
  }
}

// y[n] += sum over t of taps[t] * x[n + t], n < count, t < taps_count. Reads x and writes y up to the next
// multiple of 64 of count. Several vectors of outputs at a time: a tap is loaded once for all of them, and
// their sums do not wait for one another. Each sum runs over t in order, whatever the width.
template <int N>
CR_LANE void fir_plain(float *__restrict y, const float *__restrict x, const float *__restrict taps,
                       size_t taps_count, size_t count) {
  using V = Lanes<float, N>;
  constexpr int kVectors = N == 16 ? 4 : 8;
  static_assert(64 % (kVectors * N) == 0);
  for (size_t n = 0; n < count; n += kVectors * N) {
    V sums[kVectors];
    for (int i = 0; i < kVectors; ++i) {
      sums[i] = load<V>(y + n + i * N);
    }
    fir_taps<N, kVectors>(sums, x + n, x + n, taps, taps_count);
    for (int i = 0; i < kVectors; ++i) {
      store(y + n + i * N, sums[i]);
    }
  }
}

// The same for vectors of 32 octets. Loads bound it, and one that crosses a line of 64 octets is two. So x is copied
// twice, half a line apart: what crosses a line in the one does not in the other.
template <int N>
CR_LANE void fir_by_copies(float *__restrict y, const float *__restrict x, const float *__restrict taps,
                           size_t taps_count, size_t count) {
  using V = Lanes<float, N>;
  constexpr size_t kMost = 1024, kMostTaps = 256, kLine = 16, kHalf = 8;
  static_assert(N == kHalf);
  alignas(64) float copy[kMost + kMostTaps];
  alignas(64) float shifted[kHalf + kMost + kMostTaps];
  float *other = shifted + kHalf;
  for (size_t done = 0; done < count; done += kMost, x += kMost, y += kMost) {
    const size_t outputs = count - done < kMost ? count - done : kMost;
    const size_t needed = (outputs + 63) / 64 * 64 + taps_count - 1;
    size_t i = 0;
    for (; i + N <= needed; i += N) {
      const V some = load<V>(x + i);
      store(copy + i, some);
      store(other + i, some);
    }
    for (; i < needed; ++i) {
      copy[i] = other[i] = x[i];
    }
    for (size_t n = 0; n < outputs; n += 64) {
      V sums[8];
      for (int v = 0; v < 8; ++v) {
        sums[v] = load<V>(y + n + v * N);
      }
      for (size_t t = 0; t < taps_count; t += kLine) {
        const size_t left = taps_count - t, first = left < kHalf + 1 ? left : kHalf + 1,
                     rest = (left < kLine ? left : kLine) - first;
        fir_taps<N, 8>(sums, copy + n + t, other + n + t, taps + t, first);
        fir_taps<N, 8>(sums, other + n + t + first, copy + n + t + first, taps + t + first, rest);
      }
      for (int v = 0; v < 8; ++v) {
        store(y + n + v * N, sums[v]);
      }
    }
  }
}

template <int N>
void fir(float *__restrict y, const float *__restrict x, const float *__restrict taps, size_t taps_count,
         size_t count) {
  if constexpr (N == 8) {
    if (taps_count >= 32 && taps_count <= 256) {
      fir_by_copies<N>(y, x, taps, taps_count, count);
      return;
    }
  }
  fir_plain<N>(y, x, taps, taps_count, count);
}

}  // namespace callreplay::CR_ISA
