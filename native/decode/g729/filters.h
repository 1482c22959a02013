// The filters that take nearly all the time: pitch interpolation, A(z) and 1/A(z) of order 10. Each comes
// twice: with plain sums of un-doubled products, two in one multiply-add, and with the standard's saturation
// after every term. The plain one tells by a guard whether the other would have differed; the proof of each
// guard stands there.
#pragma once

#include "decode/g729/state.h"

namespace callreplay::CR_ISA::g729 {

// A predictor's coefficients, Q12: a[0], then the pairs (a1, a2), (a3, a4) ... that meet rows (y[n-1],
// y[n-2]) ...
template <class V>
struct Predictor {
  V a[11];
  V pairs[5];
  V weight;  // 1 + (sum of |a|) / 16, rounded down: sum of |a| < 16 * weight
};

template <class V>
CR_INLINE void predictor(const V *a, Predictor<V> &p) {
  V sum = splat<V>(0);
  for (int j = 0; j <= 10; ++j) {
    p.a[j] = a[j];
    sum = sum + abs32(a[j]);
  }
  for (int j = 0; j < 5; ++j) {
    p.pairs[j] = cross(shl<16>(a[2 * j + 2]), a[2 * j + 1]);
  }
  p.weight = shr<4>(sum) + splat<V>(1);
}

// G2: with A the sum of |a| and P the largest |sample| that the pass saw, A * P < 2^30 keeps every doubled
// partial sum below 2^31. A wrapped sum implies A * P >= 2^31 with the samples before it, so the test may
// come afterwards. At the rails the flag of the synthesis and -32768 (of which `peak` may say 32767) want a
// closer look.
template <class V>
CR_INLINE bool predictor_is_safe(const Predictor<V> &p, V peak) {
  return all(lt(mul(p.weight, peak), splat<V>(1 << 26)) & lt(peak, splat<V>(32767)));
}

// 1/A(z): y[n] = (y[n], y[n-1]) for n in [0, count), even, from rows x(n) = 4096 * sample and the row y[-1]
// .. y[-10]. Returns the widest output, packed.
template <class V, class Input>
CR_INLINE V synthesis(const Predictor<V> &p, Input x, V *y, int count) {
  V widest_so_far = splat<V>(0);
  V last = y[-1];
  const V round = splat<V>(2048);
  const V p0 = p.pairs[0], p1 = p.pairs[1], p2 = p.pairs[2], p3 = p.pairs[3], p4 = p.pairs[4];
  auto last_half = sat(low(last));
  for (int n = 0; n < count; ++n) {
    V rest = x(n) + round - madd(y[n - 9], p4) - madd(y[n - 7], p3);
    rest = rest - madd(y[n - 5], p2) - madd(y[n - 3], p1);
    const auto half = sat(sar<12>(rest - madd(last, p0)));
    last = pair(half, last_half);
    last_half = half;
    y[n] = last;
    if (n % 2 == 1) {
      widest_so_far = widest(widest_so_far, last);
    }
  }
  return widest_so_far;
}

// The same in the standard's words; x(n) is the sample. Returns the lanes in which anything saturated.
template <class V, class Input>
__attribute__((noinline)) typename V::Mask synthesis_saturating(const Predictor<V> &p, Input x, V *y,
                                                                int count) {
  auto raised = lt(splat<V>(0), splat<V>(0));
  const V top = splat<V>(0x7FFFFFFF), bottom = splat<V>(INT32_MIN);
  for (int n = 0; n < count; ++n) {
    V sum = shl<13>(x(n));  // 2 * 4096 * x
    for (int j = 1; j <= 10; ++j) {
      const V product = mul16(p.a[j], low(y[n - j]));
      const auto square = eq(product, splat<V>(1 << 30));
      const V doubled = select(square, top, shl<1>(product));
      const V next = ssub(sum, doubled);
      raised = raised | square | (eq(next, top) & ~eq(sum - doubled, top)) |
               (eq(next, bottom) & ~eq(sum - doubled, bottom));
      sum = next;
    }
    raised = raised | ~lt(sum, splat<V>((1 << 28) - 4096)) | lt(sum, splat<V>(-(1 << 28)));
    const V rounded = sar<13>(min(sum, splat<V>(1 << 30)) + splat<V>(4096));
    y[n] = pair(sat(rounded), sat(low(y[n - 1])));
  }
  return raised;
}

// A(z) over rows of (y[n], y[n-1]): the rows out[n] = (r[n], r[n+1]) for n in [-1, 39), the low half of
// out[39].
template <class V>
CR_INLINE void residual(const Predictor<V> &p, const V *y, V *out) {
  const V round = splat<V>(2048);
  V taps[6];
  taps[0] = cross(shl<16>(p.a[1]), p.a[0]);
  for (int j = 1; j < 5; ++j) {
    taps[j] = cross(shl<16>(p.a[2 * j + 1]), p.a[2 * j]);
  }
  taps[5] = p.a[10] & splat<V>(0xFFFF);
  auto last = sat(low(out[-1]));
  for (int n = 0; n < kSubframe; ++n) {
    V sum = madd(y[n], taps[0]) + madd(y[n - 2], taps[1]) + round;
    sum = sum + madd(y[n - 4], taps[2]) + madd(y[n - 6], taps[3]);
    sum = sum + madd(y[n - 8], taps[4]) + madd(y[n - 10], taps[5]);
    const auto half = sat(sar<12>(sum));
    out[n - 1] = pair(last, half);
    last = half;
  }
  out[kSubframe - 1] = pair(last, last);
}

template <class V>
__attribute__((noinline)) void residual_saturating(const Predictor<V> &p, const V *y, V *out) {
  auto last = sat(low(out[-1]));
  for (int n = 0; n < kSubframe; ++n) {
    V sum = shl<13>(low(y[n]));
    for (int j = 1; j <= 10; ++j) {
      sum = lmac(sum, p.a[j], low(y[n - j]));
    }
    const auto half = sat(sar<13>(min(sum, splat<V>(1 << 30)) + splat<V>(4096)));
    out[n - 1] = pair(last, half);
    last = half;
  }
  out[kSubframe - 1] = pair(last, last);
}

// 3.7.1 (A.3.7.1), in place: the excitation at the fractional lag d - k/3 becomes the subframe's. `x` is its
// first row. The window of taps starts 9 samples before n - d and slides by one a sample; the newest sample
// it reads is n - 9, so rows that are gathered two samples ahead are complete.
template <bool kSaturating, class V>
CR_INLINE V adaptive_codebook_pass(const V *taps, V d, V *x) {
  constexpr int kLanes = V::kLanes;
  V window[30], crossed[30];
  V index = mul(splat<V>(-9) - d, splat<V>(kLanes)) + iota<V>();
  const V step = splat<V>(2 * kLanes);
  const int32_t *rows = as_table(x);
  V widest_so_far = splat<V>(0);
  auto take = [&](int i) {
    window[i] = gather(rows, index);
    index = index + step;
    widest_so_far = widest(widest_so_far, window[i]);
  };
  V odd_taps[10];
  for (int j = 0; j < 10; ++j) {
    take(j);
    odd_taps[j] = swap(taps[j]);
  }
  for (int j = 0; j < 9; ++j) {
    crossed[j] = cross(window[j], window[j + 1]);
  }
  const V round = splat<V>(16384);
  auto last = sat(low(x[-1]));
  for (int n = 0; n < kSubframe; n += 2) {
    const int at = n / 2;
    take(at + 10);
    crossed[at + 9] = cross(window[at + 9], window[at + 10]);
    typename V::Half first, second;
    if constexpr (kSaturating) {
      V sums[2];
      for (int odd = 0; odd < 2; ++odd) {
        V sum = splat<V>(0);
        auto term = [&](int j) {  // sample j of the window of this output, and its tap
          const int i = j + odd;
          const V sample = i % 2 == 0 ? low(window[at + i / 2]) : high(window[at + i / 2]);
          sum = lmac(sum, sample, j % 2 == 0 ? low(taps[j / 2]) : high(taps[j / 2]));
        };
        for (int i = 0; i < 10; ++i) {
          term(9 - i);
          term(10 + i);
        }
        sums[odd] = sar<16>(min(sum, splat<V>(0x7FFF7FFF)) + splat<V>(32768));
      }
      first = sat(sums[0]);
      second = sat(sums[1]);
    } else {
      V even_sum = round, odd_sum = round;
      for (int j = 0; j < 10; ++j) {
        even_sum = even_sum + madd(window[at + j], taps[j]);
        odd_sum = odd_sum + madd(crossed[at + j], odd_taps[j]);
      }
      first = sat(sar<15>(even_sum));
      second = sat(sar<15>(odd_sum));
    }
    x[n - 1] = pair(last, first);
    x[n] = pair(first, second);
    last = second;
  }
  x[kSubframe - 1] = pair(last, last);
  return widest_so_far;
}

template <class V>
__attribute__((noinline)) void adaptive_codebook_saturating(const V *taps, V d, V *x) {
  adaptive_codebook_pass<true>(taps, d, x);
}

template <class V>
__attribute__((noinline)) void adaptive_codebook(V lag, V frac, V *x) {
  const V zero = splat<V>(0);
  const auto one_third = eq(frac, splat<V>(-1)), two_thirds = eq(frac, splat<V>(1));  // k = 1, 2
  const V d = lag + select(two_thirds, splat<V>(1), zero);
  V taps[10];
  for (int j = 0; j < 10; ++j) {
    taps[j] = select(one_third, splat<V>(tables::kTapPairs.at[1][j]), splat<V>(tables::kTapPairs.at[0][j]));
    taps[j] = select(two_thirds, splat<V>(tables::kTapPairs.at[2][j]), taps[j]);
  }
  // G1: the taps' sizes sum to at most 59398, so below 18077 no doubled partial sum reaches 2^31.
  const V width = peak(adaptive_codebook_pass<false>(taps, d, x));
  if (!all(lt(width, splat<V>(18078)))) {
    adaptive_codebook_saturating(taps, d, x);
  }
}

}  // namespace callreplay::CR_ISA::g729
