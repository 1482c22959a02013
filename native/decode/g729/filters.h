// The filters that take nearly all the time: pitch interpolation, A(z) and 1/A(z) of order 10. Each comes
// twice: with plain sums of un-doubled products, two in one multiply-add, and with the standard's saturation
// after every term. The plain one tells by a guard whether the other would have differed; the proof of each
// guard stands there.
#pragma once

#include "decode/g729/state.h"

namespace callreplay::CR_ISA::g729 {

// One stream alone has its neighbours in time side by side: sums over taps then take several samples at once,
// which compilers see in a plain dot product. The callers' guards exclude overflow.
template <int count>
CR_LANE int32_t dot(const int16_t *a, const int16_t *b) {
  int32_t sum = 0;
  for (int i = 0; i < count; ++i) {
    sum += a[i] * b[i];
  }
  return sum;
}

// out[i] = the sum over t < 2 * kPairs of x[i + t] * taps[t], rounded by kShift and clamped, for i < 8.
template <int kPairs, int kShift>
CR_LANE void eight_sums(const int16_t *x, const int16_t *taps, int16_t *out) {
#if defined(CR_AVX512) || defined(CR_AVX2) || defined(CR_SSE2)
  __m128i first = _mm_set1_epi32(1 << (kShift - 1)), last = first;
  for (int t = 0; t < 2 * kPairs; t += 2) {
    const __m128i even = load_128(x + t), odd = load_128(x + t + 1);
    const __m128i pair = _mm_set1_epi32(I32x1::halves(taps[t], taps[t + 1]).v);
    first = _mm_add_epi32(first, _mm_madd_epi16(_mm_unpacklo_epi16(even, odd), pair));
    last = _mm_add_epi32(last, _mm_madd_epi16(_mm_unpackhi_epi16(even, odd), pair));
  }
  store_128(out, _mm_packs_epi32(_mm_srai_epi32(first, kShift), _mm_srai_epi32(last, kShift)));
#else
  for (int i = 0; i < 8; ++i) {
    const I32x1 sum{(dot<2 * kPairs>(x + i, taps) + (1 << (kShift - 1))) >> kShift};
    out[i] = static_cast<int16_t>(sat(sum).v);
  }
#endif
}

// The size of the largest.
CR_LANE int32_t peak_of(const int16_t *x, int count) {
  int16_t highest = 0, lowest = 0;
  for (int i = 0; i < count; ++i) {
    highest = highest > x[i] ? highest : x[i];
    lowest = lowest < x[i] ? lowest : x[i];
  }
  return highest > -lowest ? highest : -lowest;
}

CR_LANE void unpack_pairs(const I32x1 *pairs, int count, int16_t *samples) {
  for (int i = 0; i < count; ++i) {
    samples[2 * i] = pairs[i].low();
    samples[2 * i + 1] = pairs[i].high();
  }
}

// The widest of count rows, all or every second one.
template <int step, class V>
CR_LANE V widest_of(V width, const V *rows, int count) {
  for (int n = 0; n < count; n += step) {
    width = widest(width, rows[n]);
  }
  return width;
}

template <int step>
CR_LANE I32x1 widest_of(I32x1 width, const I32x1 *rows, int count) {
  int16_t samples[2 * kSubframe];
  for (int n = 0; n < count; n += step) {
    samples[2 * n / step] = rows[n].low();
    samples[2 * n / step + 1] = rows[n].high();
  }
  return max(width, I32x1{peak_of(samples, (count + step - 1) / step * 2)});
}

// A predictor's coefficients, Q12: a[0], then the pairs (a1, a2), (a3, a4) ... that meet rows
// (y[n-1], y[n-2]) ...
template <class V>
struct Predictor {
  V a[11];
  V pairs[5];
  V weight;  // 1 + (sum of |a|) / 16, rounded down: sum of |a| < 16 * weight
};

template <class V>
CR_LANE void predictor(const V *a, Predictor<V> &p) {
  V sum = splat<V>(0);
  for (int j = 0; j <= 10; ++j) {
    p.a[j] = a[j];
    sum = sum + abs(a[j]);
  }
  for (int j = 0; j < 5; ++j) {
    p.pairs[j] = cross(shl<16>(a[2 * j + 2]), a[2 * j + 1]);
  }
  p.weight = shr<4>(sum) + splat<V>(1);
}

// G2: with A the sum of |a| and P the largest |sample| that the pass saw, A * P < 2^30 keeps every
// doubled partial sum below 2^31. A wrapped sum implies A * P >= 2^31 with the samples before it, so the
// test may come afterwards. At the rails the flag of the synthesis and -32768 (of which `peak` may say
// 32767) want a closer look.
template <class V>
CR_LANE bool predictor_is_safe(const Predictor<V> &p, V peak) {
  return all((p.weight * peak < splat<V>(1 << 26)) & (peak < splat<V>(32767)));
}

// The sample of row n of even rows (x[n], x[n+1]), times 4096.
template <class V>
CR_LANE V even_q12(V row) {
  return sar<4>(shl<16>(row));
}
template <class V>
CR_LANE V odd_q12(V row) {
  return sar<4>(row & splat<V>(static_cast<int32_t>(0xFFFF0000)));
}

// 1/A(z): rows y[n] = (y[n], y[n-1]) from y[-1] .. y[-10] and x(n, &even, &odd), the samples n and n + 1
// times 4096. A recursion is as slow as its longest chain of operations, so two of them are run side by side
// where two are ready; hence steps and not a loop.
template <class V, class Input>
struct Synthesis {
  V p0, p1, p2, p3, p4;
  Input x;
  V *y;
  V last, width;
  Half32<V::kLanes> last_half;

  CR_LANE Synthesis(const Predictor<V> &p, Input input, V *rows)
      : p0(p.pairs[0]),
        p1(p.pairs[1]),
        p2(p.pairs[2]),
        p3(p.pairs[3]),
        p4(p.pairs[4]),
        x(input),
        y(rows),
        last(rows[-1]),
        width(splat<V>(0)),
        last_half(sat(low(rows[-1]))) {}

  CR_LANE void sample(V input, V *row) {
    V rest = input + splat<V>(2048) - madd(row[-9], p4) - madd(row[-7], p3);
    rest = rest - madd(row[-5], p2) - madd(row[-3], p1);
    const auto half = sat(sar<12>(rest - madd(last, p0)));
    last = pair(half, last_half);
    last_half = half;
    *row = last;
  }
  CR_LANE void two(int n) {
    V even, odd;
    x(n, &even, &odd);
    sample(even, y + n);
    sample(odd, y + n + 1);
    width = widest(width, last);
  }
  CR_LANE V widest_output() const { return width; }
};

#if defined(CR_AVX512) || defined(CR_AVX2) || defined(CR_SSE2)

// A stream alone, four samples at a time. What the ten before them give comes from five products of pairs; what
// each gives to those behind it, once it is rounded, from one more. The sums are the same in another order.
template <class Input>
struct Synthesis<I32x1, Input> {
  __m128i before[5],
      behind[3];  // coefficients for the pairs (y[n-1], y[n-2]) ..., and for y[n], y[n+1], y[n+2]
  Input x;
  I32x1 *y;
  __m128i last, highest, lowest;

  CR_LANE Synthesis(const Predictor<I32x1> &p, Input input, I32x1 *rows)
      : x(input),
        y(rows),
        last(_mm_cvtsi32_si128(static_cast<uint16_t>(rows[-1].low()))),
        highest(_mm_setzero_si128()),
        lowest(_mm_setzero_si128()) {
    int16_t a[20] = {};
    for (int j = 1; j <= 10; ++j) {
      a[3 + j] = p.a[j].low();
    }
    const auto four = [&a](int from) { return _mm_loadl_epi64(reinterpret_cast<const __m128i *>(a + from)); };
    for (int pair = 0; pair < 5; ++pair) {
      before[pair] = _mm_unpacklo_epi16(four(4 + 2 * pair), four(5 + 2 * pair));
    }
    for (int i = 0; i < 3; ++i) {
      behind[i] = _mm_unpacklo_epi16(four(3 - i), _mm_setzero_si128());
    }
  }

  static CR_LANE __m128i rounded(__m128i sum) {
    const __m128i whole = _mm_srai_epi32(sum, 12);
    return _mm_packs_epi32(whole, whole);
  }
  template <int lane>
  CR_LANE __m128i given(__m128i sum) const {
    const __m128i all = _mm_shuffle_epi32(_mm_srai_epi32(sum, 12), _MM_SHUFFLE(lane, lane, lane, lane));
    return _mm_madd_epi16(_mm_packs_epi32(all, all), behind[lane]);
  }

  CR_LANE void four(int n) {
    I32x1 in[4];
    x(n, in, in + 1);
    x(n + 2, in + 2, in + 3);
    __m128i sum = _mm_add_epi32(_mm_setr_epi32(in[0].v, in[1].v, in[2].v, in[3].v), _mm_set1_epi32(2048));
    for (int pair = 4; pair >= 0; --pair) {
      sum = _mm_sub_epi32(sum, _mm_madd_epi16(_mm_set1_epi32(y[n - 1 - 2 * pair].v), before[pair]));
    }
    sum = _mm_sub_epi32(sum, given<0>(sum));
    sum = _mm_sub_epi32(sum, given<1>(sum));
    sum = _mm_sub_epi32(sum, given<2>(sum));
    const __m128i out = rounded(sum);
    store_128(y + n, _mm_unpacklo_epi16(out, _mm_or_si128(_mm_slli_si128(out, 2), last)));
    last = _mm_srli_si128(out, 14);
    highest = _mm_max_epi16(highest, out);
    lowest = _mm_min_epi16(lowest, out);
  }
  CR_LANE void two(int n) {
    if (n % 4 == 0) {
      four(n);
    }
  }
  CR_LANE I32x1 widest_output() const {
    int16_t ends[16];
    store_128(ends, highest);
    store_128(ends + 8, lowest);
    I32x1 width{0};
    for (int i = 0; i < 4; ++i) {
      width = max(width, max(I32x1{ends[i]}, I32x1{-ends[8 + i]}));
    }
    return width;
  }
};

#endif

template <class... Steps>
CR_LANE void run_together(int count, Steps &...steps) {
  for (int n = 0; n < count; n += 2) {
    (steps.two(n), ...);
  }
}

// The same in the standard's words; x(n) is the sample. Returns the lanes in which anything saturated.
template <class V, class Input>
__attribute__((noinline)) MaskOf<V> synthesis_saturating(const Predictor<V> &p, Input x, V *y, int count) {
  auto raised = splat<V>(0) < splat<V>(0);
  const V top = splat<V>(0x7FFFFFFF), bottom = splat<V>(INT32_MIN);
  for (int n = 0; n < count; ++n) {
    V sum = shl<13>(x(n));  // 2 * 4096 * x
    for (int j = 1; j <= 10; ++j) {
      const V product = mul16(p.a[j], low(y[n - j]));
      const auto square = product == splat<V>(1 << 30);
      const V doubled = select(square, top, shl<1>(product));
      const V next = ssub(sum, doubled);
      raised = raised | square | ((next == top) & !(sum - doubled == top)) |
               ((next == bottom) & !(sum - doubled == bottom));
      sum = next;
    }
    raised = raised | !(sum < splat<V>((1 << 28) - 4096)) | (sum < splat<V>(-(1 << 28)));
    const V rounded = sar<13>(min(sum, splat<V>(1 << 30)) + splat<V>(4096));
    y[n] = pair(sat(rounded), sat(low(y[n - 1])));
  }
  return raised;
}

// A(z) over rows of (y[n], y[n-1]): the rows out[n] = (r[n], r[n+1]) for n in [-1, 39), the low
// half of out[39].
template <class V>
CR_LANE void residual(const Predictor<V> &p, const V *y, V *out) {
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

CR_LANE void residual(const Predictor<I32x1> &p, const I32x1 *y, I32x1 *out) {
  int16_t taps[16] = {}, samples[kSubframe + 16] = {}, result[kSubframe];
  for (int j = 0; j <= 10; ++j) {
    taps[10 - j] = p.a[j].low();
  }
  for (int n = -10; n < kSubframe; ++n) {
    samples[n + 10] = y[n].low();
  }
  for (int n = 0; n < kSubframe; n += 8) {
    eight_sums<6, 12>(samples + n, taps, result + n);
  }
  out[-1] = I32x1::halves(out[-1].low(), result[0]);
  for (int n = 0; n + 1 < kSubframe; ++n) {
    out[n] = I32x1::halves(result[n], result[n + 1]);
  }
  out[kSubframe - 1] = I32x1::halves(result[kSubframe - 1], result[kSubframe - 1]);
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
// first row. The 20 taps of output n meet the window w[n] .. w[n+19], w[i] = x[i - d - 9]; it is kept as rows
// of pairs that start at even i, and of (w[i+1], w[i]) for odd i. The newest sample that outputs n .. n+7
// read is n - 2, since d >= 19: so the work goes in blocks of eight outputs, and no lag needs a path of its
// own.
constexpr int kBlock = 8;

template <class V>
struct PitchWindow {
  static constexpr int kPairs = (kSubframe + 20) / 2;
  V even[kPairs + 1], odd[kPairs];
  RowsOf<V> rows;
  V width;

  CR_LANE PitchWindow(const V *x, V d)
      : rows(as_table(x), (splat<V>(-9) - d) * splat<V>(V::kLanes) + iota<V>()), width(splat<V>(0)) {}

  CR_LANE void take(int i) {
    even[i] = rows.at(2 * V::kLanes * i);
    width = widest(width, even[i]);
    if (i > 0) {
      odd[i - 1] = cross(even[i - 1], even[i]);
    }
  }
  CR_LANE void fill(int block) {
    for (int i = block == 0 ? 0 : 4 * block + 10; i < 4 * block + 14; ++i) {
      take(i);
    }
  }
};

template <class V>
CR_LANE void store_block(const Half32<V::kLanes> *out, Half32<V::kLanes> before, V *x) {
  x[-1] = pair(before, out[0]);
  for (int i = 0; i + 1 < kBlock; ++i) {
    x[i] = pair(out[i], out[i + 1]);
  }
  x[kBlock - 1] = pair(out[kBlock - 1], out[kBlock - 1]);
}

// Returns the widest sample that was read, packed.
template <class V>
CR_LANE V adaptive_codebook_plain(const V *taps, V d, V *x) {
  PitchWindow<V> window(x, d);
  V swapped[10];
  for (int j = 0; j < 10; ++j) {
    swapped[j] = swap(taps[j]);
  }
  auto before = sat(low(x[-1]));
  for (int block = 0; block < kSubframe / kBlock; ++block) {
    window.fill(block);
    const V *even = window.even + 4 * block, *odd = window.odd + 4 * block;
    V sums[kBlock];
    for (V &sum : sums) {
      sum = splat<V>(16384);
    }
    for (int j = 0; j < 10; ++j) {
      for (int i = 0; i < kBlock / 2; ++i) {
        sums[2 * i] = sums[2 * i] + madd(even[i + j], taps[j]);
        sums[2 * i + 1] = sums[2 * i + 1] + madd(odd[i + j], swapped[j]);
      }
    }
    Half32<V::kLanes> out[kBlock];
    for (int i = 0; i < kBlock; ++i) {
      out[i] = sat(sar<15>(sums[i]));
    }
    store_block(out, before, x + kBlock * block);
    before = out[kBlock - 1];
  }
  return window.width;
}

CR_LANE I32x1 adaptive_codebook_plain(const I32x1 *taps, I32x1 d, I32x1 *x) {
  constexpr int kTaps = 24;  // 20, and zeros to whole vectors
  int16_t window[kSubframe + kTaps] = {}, time_taps[kTaps] = {};
  unpack_pairs(taps, 10, time_taps);
  const I32x1 *from = x - d.v - 9;
  int16_t out[kSubframe];
  static_assert(kBlock == 8);
  for (int n = 0; n < kSubframe; n += kBlock) {
    for (int i = n == 0 ? 0 : n + 19; i < n + kBlock + 19; ++i) {
      window[i] = from[i].low();
    }
    eight_sums<10, 15>(window + n, time_taps, out + n);
    x[n - 1] = I32x1::halves(x[n - 1].low(), out[n]);
    for (int i = n; i + 1 < n + kBlock; ++i) {
      x[i] = I32x1::halves(out[i], out[i + 1]);
    }
    x[n + kBlock - 1] = I32x1::halves(out[n + kBlock - 1], out[n + kBlock - 1]);
  }
  return {peak_of(window, kSubframe + 19)};
}

template <class V>
__attribute__((noinline)) void adaptive_codebook_saturating(const V *taps, V d, V *x) {
  PitchWindow<V> window(x, d);
  auto before = sat(low(x[-1]));
  for (int block = 0; block < kSubframe / kBlock; ++block) {
    window.fill(block);
    Half32<V::kLanes> out[kBlock];
    for (int n = 0; n < kBlock; ++n) {
      const int first = kBlock * block + n;
      V sum = splat<V>(0);
      auto term = [&](int j) {
        const V samples = window.even[(first + j) / 2], both_taps = taps[j / 2];
        sum = lmac(sum, (first + j) % 2 == 0 ? low(samples) : high(samples),
                   j % 2 == 0 ? low(both_taps) : high(both_taps));
      };
      for (int i = 0; i < 10; ++i) {
        term(9 - i);
        term(10 + i);
      }
      out[n] = sat(sar<16>(min(sum, splat<V>(0x7FFF7FFF)) + splat<V>(32768)));
    }
    store_block(out, before, x + kBlock * block);
    before = out[kBlock - 1];
  }
}

template <class V>
__attribute__((noinline)) void adaptive_codebook(V lag, V frac, V *x) {
  const V zero = splat<V>(0);
  const auto one_third = frac == splat<V>(-1), two_thirds = frac == splat<V>(1);  // k = 1, 2
  const V d = lag + select(two_thirds, splat<V>(1), zero);
  V taps[10];
  for (int j = 0; j < 10; ++j) {
    taps[j] = select(one_third, splat<V>(tables::kTapPairs.at[1][j]), splat<V>(tables::kTapPairs.at[0][j]));
    taps[j] = select(two_thirds, splat<V>(tables::kTapPairs.at[2][j]), taps[j]);
  }
  // G1: the taps' sizes sum to at most 59398, so below 18078 no doubled partial sum reaches 2^31.
  if (!all(peak(adaptive_codebook_plain(taps, d, x)) < splat<V>(18078))) {
    adaptive_codebook_saturating(taps, d, x);
  }
}

}  // namespace callreplay::CR_ISA::g729
