// G.729 A.4.2: the post-filter of Annex A, its gain control, and the output high-pass of 4.2.5.
#pragma once

#include "decode/g729/filters.h"
#include "decode/g729/numbers.h"

namespace callreplay::CR_ISA::g729 {

// A.4.2.1. Rows q[i] = (res[i], res[i+1]) >> 2 over the 46 samples that end at n - lo, and the seven
// correlations.
constexpr int kCandidates = 7;
constexpr int kWindowPairs = (kSubframe + kCandidates - 1) / 2;  // 23

template <class V>
struct LagSearch {
  V window[kWindowPairs];  // (w[2i], w[2i+1]), unscaled, w[i] = res[i - high]
  V between_window[kWindowPairs - 1];
  V best, from_end;  // the largest un-doubled correlation, and high - t0
};

template <class V>
CR_INLINE void correlate(const V *q, LagSearch<V> &search, V *sums) {
  const V *w = search.window, *b = search.between_window;
  for (V *sum = sums; sum < sums + kCandidates; ++sum) {
    *sum = splat<V>(0);
  }
  for (int i = 0; i < kSubframe / 2; ++i) {
    for (int j = 0; j < kCandidates; ++j) {
      const V pairs = sar16<2>(j % 2 == 0 ? w[i + j / 2] : b[i + j / 2]);
      sums[j] = sums[j] + madd(q[i], pairs);
    }
  }
}

// With the standard's saturation after every term; `sums` are doubled.
template <class V>
__attribute__((noinline)) void correlate_saturating(const V *q, LagSearch<V> &search, V *sums) {
  for (int j = 0; j < kCandidates; ++j) {
    sums[j] = splat<V>(0);
    for (int n = 0; n < kSubframe; ++n) {
      const V w = search.window[(n + j) / 2];
      const V delayed = (n + j) % 2 == 0 ? low(w) : high(w);
      sums[j] = lmac(sums[j], n % 2 == 0 ? low(q[n / 2]) : high(q[n / 2]), sar<2>(delayed));
    }
  }
}

template <class V>
CR_INLINE void search_lag(const V *res, const V *q, V lag, LagSearch<V> &search) {
  constexpr int kLanes = V::kLanes;
  const V upper = min(lag + splat<V>(3), splat<V>(143));
  V index = mul(splat<V>(0) - upper, splat<V>(kLanes)) + iota<V>();
  V width = splat<V>(0);
  for (int i = 0; i < kWindowPairs; ++i) {
    search.window[i] = gather(as_table(res), index);
    index = index + splat<V>(2 * kLanes);
    width = widest(width, search.window[i]);
    if (i > 0) {
      search.between_window[i - 1] = between(search.window[i - 1], search.window[i]);
    }
  }
  for (int n = 0; n < kSubframe; n += 2) {
    width = widest(width, res[n]);
  }
  V sums[kCandidates];
  // G4: below 20725 the doubled sum of 40 products of quarters stays below 2^31.
  if (all(lt(peak(width), splat<V>(20725)))) {
    correlate(q, search, sums);
    for (V &sum : sums) {
      sum = shl<1>(sum);
    }
  } else {
    correlate_saturating(q, search, sums);
  }
  // The first largest in the order of rising lags.
  search.best = sums[kCandidates - 1];
  search.from_end = splat<V>(kCandidates - 1);
  for (int j = kCandidates - 2; j >= 0; --j) {
    const auto better = gt(sums[j], search.best);
    search.best = select(better, sums[j], search.best);
    search.from_end = select(better, splat<V>(j), search.from_end);
  }
}

// The delayed pairs (res[n - t0], res[n + 1 - t0]): the window shifted by from_end samples, in binary steps.
template <class V>
CR_INLINE void delayed_residual(const LagSearch<V> &search, V *delayed) {
  const V one = splat<V>(1), two = splat<V>(2), four = splat<V>(4);
  const auto by1 = eq(search.from_end & one, one), by2 = eq(search.from_end & two, two),
             by4 = eq(search.from_end & four, four);
  V first[kWindowPairs];
  for (int i = 0; i < kWindowPairs; ++i) {
    const V next = i < kWindowPairs - 1 ? search.between_window[i] : search.window[i];
    first[i] = select(by1, next, search.window[i]);
  }
  for (int i = 0; i < kWindowPairs - 1; ++i) {
    first[i] = select(by2, first[i + 1], first[i]);
  }
  for (int i = 0; i < kSubframe / 2; ++i) {
    delayed[i] = select(by4, first[i + 2], first[i]);
  }
}

template <class V>
CR_INLINE V quarter_energy(const V *pairs) {
  V sum = splat<V>(0);
  for (int i = 0; i < kSubframe / 2; ++i) {
    sum = sum + madd(pairs[i], pairs[i]);  // 20 terms of at most 2^27: below 2^32
  }
  return sum;
}

// 1 + the saturated sum of doubled squares.
template <class V>
CR_INLINE V energy_from_one(V half_energy) {
  return umin(doubled_energy(half_energy) + splat<V>(1), splat<V>(0x7FFFFFFF));
}

// z rows (z[n], z[n+1]) for even n.
template <class V>
CR_INLINE void long_term(const V *res, V lag, typename V::Mask speech, V *z) {
  V q[kSubframe / 2];
  for (int i = 0; i < kSubframe / 2; ++i) {
    z[i] = res[2 * i];
    q[i] = sar16<2>(res[2 * i]);
  }
  LagSearch<V> search;
  search_lag(res, q, lag, search);
  V delayed[kSubframe / 2], delayed_q[kSubframe / 2];
  delayed_residual(search, delayed);
  for (int i = 0; i < kSubframe / 2; ++i) {
    delayed_q[i] = sar16<2>(delayed[i]);
  }
  const V zero = splat<V>(0);
  V cm = max(search.best, zero), en = energy_from_one(quarter_energy(delayed_q)),
    e0 = energy_from_one(quarter_energy(q));
  const V h = norm(max(cm, max(en, e0)));
  cm = mantissa(cm, h);
  en = mantissa(en, h);
  e0 = mantissa(e0, h);
  // cm^2 >= en * e0 / 2, the 3 dB test; both products are below 2^30, so doubled they fit.
  const auto filtered = speech & ~lt(shl<1>(madd(cm, cm)) - madd(en, e0), zero);
  if (!any(filtered)) {
    return;
  }
  const V c = sar<2>(cm), sum = c + sar<1>(en);
  const auto nonzero = gt(sum, zero), strong = gt(cm, en);
  V g = select(nonzero, div15(c, max(sum, splat<V>(1))), zero);
  V g0 = splat<V>(32767) - g;
  g = select(strong, splat<V>(10923), g);
  g0 = select(strong, splat<V>(21845), g0);
  const V gain = cross(shl<16>(g), g), gain0 = cross(shl<16>(g0), g0);
  for (int i = 0; i < kSubframe / 2; ++i) {
    // N9: the gains sum to at most 32768, so the sum fits.
    const V mixed = adds16(mul15_16(gain0, z[i]), mul15_16(gain, delayed[i]));
    z[i] = select(filtered, mixed, z[i]);
  }
}

// A.4.2.3: the tilt of the short-term filter's truncated impulse response, Q15.
template <class V>
CR_INLINE V tilt(const Predictor<V> &numerator, const Predictor<V> &denominator) {
  constexpr int kLength = 22;
  V rows[10 + kLength];
  V *h = rows + 10;
  const V zero = splat<V>(0);
  V width = zero;
  for (int n = -10; n < 0; ++n) {
    h[n] = zero;
  }
  for (int n = 0; n <= 10; ++n) {
    width = max(width, abs32(numerator.a[n]));
  }
  auto q12 = [&](int n) { return n <= 10 ? shl<12>(numerator.a[n]) : zero; };
  width = max(width, peak(synthesis(denominator, q12, h, kLength)));
  if (!predictor_is_safe(denominator, width)) {
    auto plain = [&](int n) { return n <= 10 ? numerator.a[n] : zero; };
    synthesis_saturating(denominator, plain, h, kLength);
  }
  const V limit = splat<V>(1 << 30);
  V half_r0 = zero, half_r1 = madd(h[kLength - 1], h[kLength - 2] & splat<V>(0xFFFF));
  for (int n = 1; n < kLength; n += 2) {
    half_r0 = umin(half_r0 + madd(h[n], h[n]), limit);
    half_r1 = half_r1 + (n + 1 < kLength ? madd(h[n + 1], h[n]) : zero);
  }
  V r1 = sar<15>(half_r1);
  // |2 h[i] h[i+1]| <= h[i]^2 + h[i+1]^2: where r0 did not saturate, r1 cannot.
  if (any(eq(half_r0, limit))) {
    V sum = zero;
    for (int n = 1; n < kLength; ++n) {
      sum = lmac(sum, low(h[n]), high(h[n]));
    }
    r1 = sar<16>(sum);
  }
  const V r0 = max(sar<16>(doubled_energy(half_r0)), splat<V>(1));
  const V rising = max(r1, zero);
  return div15(sar<15>(madd(rising, splat<V>(26214))), r0);
}

// A.4.2.2, A.4.2.3: tilt compensation and 1/A(z/g1); rows p[n] = (p[n], p[n-1]) for n in [-10, 40).
template <class V>
CR_INLINE void short_term(State<V::kLanes> &state, const Predictor<V> &denominator, V k, const V *z, V *p) {
  V tilted[kSubframe / 2];
  const V kk = cross(shl<16>(k), k);
  V before = shl<16>(row<V>(state, kMemPre));
  V width = splat<V>(0);
  for (int i = 0; i < kSubframe / 2; ++i) {
    tilted[i] = subs16(z[i], mul15_16(kk, between(before, z[i])));
    before = z[i];
    width = widest(width, tilted[i]);
  }
  put(state, kMemPre, high(before));
  V last = splat<V>(0);
  for (int n = -10; n < 0; ++n) {
    const V sample = row<V>(state, kMemPst + 10 + n);
    p[n] = cross(shl<16>(last), sample);
    last = sample;
    width = widest(width, p[n]);
  }
  const V upper = splat<V>(static_cast<int32_t>(0xFFFF0000));
  auto q12 = [&](int n) {
    return n % 2 == 0 ? sar<4>(shl<16>(tilted[n / 2])) : sar<4>(tilted[n / 2] & upper);
  };
  width = widest(width, synthesis(denominator, q12, p, kSubframe));
  if (!predictor_is_safe(denominator, peak(width))) {
    auto plain = [&](int n) { return n % 2 == 0 ? low(tilted[n / 2]) : high(tilted[n / 2]); };
    synthesis_saturating(denominator, plain, p, kSubframe);
  }
  for (int n = 0; n < 10; ++n) {
    put(state, kMemPst + n, p[kSubframe - 10 + n]);
  }
}

template <class V>
struct GainControl {
  V gain, step;  // Q12: gain := gain * 0.9 + step, a sample at a time
  typename V::Mask silent;
};

// A.4.2.4. A silent lane keeps a gain of exactly 1, which a step of 410 holds (4096 * 29491 >> 15 is 3686),
// and starts from 0 afterwards.
template <class V>
CR_INLINE GainControl<V> gain_control(const State<V::kLanes> &state, const V *syn, const V *p) {
  V out_pairs[kSubframe / 2], in_pairs[kSubframe / 2];
  for (int i = 0; i < kSubframe / 2; ++i) {
    out_pairs[i] = sar16<2>(p[2 * i + 1]);
    in_pairs[i] = sar16<2>(syn[2 * i + 1]);
  }
  const V zero = splat<V>(0);
  const V so = doubled_energy(quarter_energy(out_pairs)), si = doubled_energy(quarter_energy(in_pairs));
  const V out_norm = norm(so), in_norm = norm(si);
  const V go = shr<16>(sar<1>(shlv(so, out_norm)) + splat<V>(32768));
  const V gi = max(mantissa(si, in_norm), splat<V>(1));
  const V h = out_norm - splat<V>(1) - in_norm;
  // div15 wants go <= gi, which only a silent lane can break.
  const V s = shl<7>(div15(min(go, gi), gi));
  const V left = max(zero - h, zero);
  V ratio = sarv(s, max(h, zero));
  ratio = select(lt(h, zero), select(gt(left, norm(s)), splat<V>(0x7FFFFFFF), shlv(s, left)), ratio);
  const V root = inverse_sqrt(ratio);
  const V rounded = min(sar<7>(min(root, splat<V>(1 << 22)) + splat<V>(64)), splat<V>(32767));
  V step = sar<15>(madd(rounded, splat<V>(3276)));
  step = select(eq(si, zero), zero, step);
  const auto silent = eq(so, zero);
  return {select(silent, splat<V>(4096), row<V>(state, kPastGain)), select(silent, splat<V>(410), step),
          silent};
}

// 4.2.5 with the standard's saturations, over rows x[n] = (x[n], x[n-1]).
template <class V>
__attribute__((noinline)) void high_pass_saturating(const V *x, V *y1, V *y2, V *pcm) {
  auto split_product = [](V y, int32_t n) {
    const V rest = sar<15>(madd(shr<1>(y) & splat<V>(0x7FFF), splat<V>(n)));
    return sadd(lmul(sar<16>(y), splat<V>(n)), shl<1>(rest));
  };
  V outs[2];
  for (int n = 0; n < kSubframe; ++n) {
    V s = sadd(split_product(*y1, 15836), split_product(*y2, -7667));
    s = lmac(s, low(x[n]), splat<V>(7699));
    s = lmac(s, high(x[n]), splat<V>(-15398));
    s = lmac(s, low(x[n - 2]), splat<V>(7699));
    V y = shl<2>(s);
    y = select(gt(s, splat<V>((1 << 29) - 1)), splat<V>(0x7FFFFFFF), y);
    y = select(lt(s, splat<V>(-(1 << 29))), splat<V>(INT32_MIN), y);
    outs[n % 2] = sar<14>(sar<1>(y) + splat<V>(8192));
    *y2 = *y1;
    *y1 = y;
    if (n % 2 == 1) {
      pcm[n / 2] = pair(sat(outs[0]), sat(outs[1]));
    }
  }
}

// A.4.2.4 and 4.2.5 in one pass: gain, then high-pass, 20 rows of (out[n], out[n+1]). In U = s / 2 of the
// standard's sum s, so Y = 8 U.
template <class V>
CR_INLINE void gain_and_high_pass(State<V::kLanes> &state, GainControl<V> control, const V *p, V *pcm) {
  V rows[2 + kSubframe];
  V *x = rows + 2;
  const V hx1 = row<V>(state, kHx1), hx2 = row<V>(state, kHx2);
  x[-2] = hx2;
  x[-1] = cross(shl<16>(hx2), hx1);
  V y1 = load<V>(state.hy1), y2 = load<V>(state.hy2);
  const V first_y1 = y1, first_y2 = y2;

  const V newest = splat<V>(tables::packed(7699, -15398)), oldest = splat<V>(tables::packed(7699, 0));
  const V upper1 = splat<V>(tables::packed(0, 15836)), lower1 = splat<V>(tables::packed(15836, 0));
  const V upper2 = splat<V>(tables::packed(0, -7667)), lower2 = splat<V>(tables::packed(-7667, 0));
  const V decay = splat<V>(29491), round = splat<V>(2048), rest_bits = splat<V>(0x7FFF);
  V gain = control.gain, width = splat<V>(0), highest = splat<V>(0), lowest = splat<V>(0);
  V rest1 = shr<1>(y1) & rest_bits, rest2 = shr<1>(y2) & rest_bits;
  auto last_x = sat(hx1);
  auto last_out = last_x;
  for (int n = 0; n < kSubframe; ++n) {
    gain = sar<15>(madd(gain, decay)) + control.step;
    const auto half = sat(sar<12>(madd(p[n], gain)));
    x[n] = pair(half, last_x);
    last_x = half;
    V u = madd(x[n], newest) + madd(x[n - 2], oldest) + madd(y2, upper2) + sar<15>(madd(rest2, lower2));
    u = u + madd(y1, upper1) + sar<15>(madd(rest1, lower1));
    y2 = y1;
    rest2 = rest1;
    y1 = shl<3>(u);
    rest1 = shl<2>(u) & rest_bits;
    highest = max(highest, u);
    lowest = min(lowest, u);
    const auto out = sat(sar<12>(u + round));
    if (n % 2 == 1) {
      width = widest(width, x[n]);
      pcm[n / 2] = pair(last_out, out);
    }
    last_out = out;
  }
  // G5: inputs to 16384 and |Y >> 16| to 24000 leave no partial sum out of range.
  const V bound = splat<V>(24000 << 13);
  width = peak(widest(width, x[-1]));
  const V before = max(abs32(sar<16>(first_y1)), abs32(sar<16>(first_y2)));
  const auto safe = lt(width, splat<V>(16385)) & lt(before, splat<V>(24001)) & lt(highest, bound) &
                    lt(splat<V>(0) - bound, lowest);
  if (!all(safe)) {
    y1 = first_y1;
    y2 = first_y2;
    high_pass_saturating(x, &y1, &y2, pcm);
  }
  store(state.hy1, y1);
  store(state.hy2, y2);
  put(state, kHx1, x[kSubframe - 1]);
  put(state, kHx2, sar<16>(x[kSubframe - 1]));
  put(state, kPastGain, select(control.silent, splat<V>(0), gain));
}

// One subframe of section A.4.2: from the rows of work.syn to 20 rows of pcm pairs.
template <class V>
__attribute__((noinline)) void post_filter(State<V::kLanes> &state, Work<V> &work, int s, V *pcm) {
  const V *y = work.syn(kSubframe * s);
  V *res = work.res(kSubframe * s);
  V weighted[11];
  Predictor<V> numerator, denominator;
  const V round = splat<V>(16384);
  weighted[0] = work.a[s][0];
  for (int i = 1; i <= 10; ++i) {
    weighted[i] = sar<15>(mul16(work.a[s][i], splat<V>(tables::kGammaNumerator.at[i])) + round);
  }
  predictor(weighted, numerator);
  for (int i = 1; i <= 10; ++i) {
    weighted[i] = sar<15>(mul16(work.a[s][i], splat<V>(tables::kGammaDenominator.at[i])) + round);
  }
  predictor(weighted, denominator);

  V width = splat<V>(0);
  for (int n = -9; n < kSubframe; n += 2) {
    width = widest(width, y[n]);
  }
  if (predictor_is_safe(numerator, peak(width))) {  // G3
    residual(numerator, y, res);
  } else {
    residual_saturating(numerator, y, res);
  }
  V z[kSubframe / 2];
  if (work.any_speech) {
    long_term(res, work.lag[s], work.good | work.lost, z);
  } else {
    for (int i = 0; i < kSubframe / 2; ++i) {
      z[i] = res[2 * i];
    }
  }
  V p_rows[10 + kSubframe];
  V *p = p_rows + 10;
  short_term(state, denominator, tilt(numerator, denominator), z, p);
  gain_and_high_pass(state, gain_control(state, y, p), p, pcm);
}

}  // namespace callreplay::CR_ISA::g729
