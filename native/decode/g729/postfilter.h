// G.729 A.4.2: the post-filter of Annex A, its gain control, and the output high-pass of 4.2.5.
#pragma once

#include "decode/g729/filters.h"
#include "decode/g729/numbers.h"

namespace callreplay::CR_ISA::g729 {

// A.4.2.1. For each lane the 46 samples w[i] = res[i - t_max] that end at res[39 - t_min], as pairs from even
// i and from odd i, and both quartered; the seven correlations with q[n] = res[n] / 4 are sums over w[n + j].
constexpr int kCandidates = 7;
constexpr int kWindowPairs = (kSubframe + kCandidates - 1) / 2;  // 23

template <class V>
struct LagSearch {
  V even[kWindowPairs], odd[kWindowPairs];
  V even_q[kWindowPairs], odd_q[kWindowPairs];
  V best, from_end;  // the largest correlation, doubled, and t_max - t0
};

template <class V>
CR_LANE void correlate(const V *q, const LagSearch<V> &search, V *sums) {
  for (int j = 0; j < kCandidates; ++j) {
    sums[j] = splat<V>(0);
  }
  for (int i = 0; i < kSubframe / 2; ++i) {
    for (int j = 0; j < kCandidates; ++j) {
      sums[j] = sums[j] + madd(q[i], j % 2 == 0 ? search.even_q[i + j / 2] : search.odd_q[i + j / 2]);
    }
  }
  for (int j = 0; j < kCandidates; ++j) {
    sums[j] = shl<1>(sums[j]);
  }
}

CR_LANE void correlate(const I32x1 *q, const LagSearch<I32x1> &search, I32x1 *sums) {
  int16_t here[kSubframe], window[2 * kWindowPairs];
  unpack_pairs(q, kSubframe / 2, here);
  unpack_pairs(search.even_q, kWindowPairs, window);
  for (int j = 0; j < kCandidates; ++j) {
    sums[j] = {2 * dot<kSubframe>(here, window + j)};
  }
}

// With the standard's saturation after every term.
template <class V>
__attribute__((noinline)) void correlate_saturating(const V *q, const LagSearch<V> &search, V *sums) {
  for (int j = 0; j < kCandidates; ++j) {
    sums[j] = splat<V>(0);
    for (int n = 0; n < kSubframe; ++n) {
      const V w = search.even_q[(n + j) / 2];
      const V delayed = (n + j) % 2 == 0 ? low(w) : high(w);
      sums[j] = lmac(sums[j], n % 2 == 0 ? low(q[n / 2]) : high(q[n / 2]), delayed);
    }
  }
}

template <class V>
CR_LANE void search_lag(const V *res, const V *q, V lag, LagSearch<V> &search) {
  constexpr int kLanes = V::kLanes;
  const V upper = min(lag + splat<V>(3), splat<V>(143));
  const RowsOf<V> rows(as_table(res), (splat<V>(0) - upper) * splat<V>(kLanes) + iota<V>());
  V width = splat<V>(0);
  for (int i = 0; i < kWindowPairs; ++i) {
    search.even[i] = rows.at(2 * kLanes * i);
    search.even_q[i] = sar16<2>(search.even[i]);
    width = widest(width, search.even[i]);
  }
  for (int i = 0; i + 1 < kWindowPairs; ++i) {
    search.odd[i] = between(search.even[i], search.even[i + 1]);
    search.odd_q[i] = sar16<2>(search.odd[i]);
  }
  search.odd[kWindowPairs - 1] = search.even[kWindowPairs - 1];  // shifted out, never seen
  for (int n = 0; n < kSubframe; n += 2) {
    width = widest(width, res[n]);
  }
  V sums[kCandidates];
  // G4: below 20725 the doubled sum of 40 products of quarters stays below 2^31.
  if (all(peak(width) < splat<V>(20725))) {
    correlate(q, search, sums);
  } else {
    correlate_saturating(q, search, sums);
  }
  // The first largest in the order of rising lags.
  search.best = sums[kCandidates - 1];
  search.from_end = splat<V>(kCandidates - 1);
  for (int j = kCandidates - 2; j >= 0; --j) {
    const auto better = sums[j] > search.best;
    search.best = select(better, sums[j], search.best);
    search.from_end = select(better, splat<V>(j), search.from_end);
  }
}

// The delayed pairs (res[n - t0], res[n + 1 - t0]): the window shifted by from_end samples, in binary steps.
template <class V>
CR_LANE void delayed_residual(const LagSearch<V> &search, V *delayed) {
  const V one = splat<V>(1), two = splat<V>(2), four = splat<V>(4);
  const auto by1 = (search.from_end & one) == one, by2 = (search.from_end & two) == two,
             by4 = (search.from_end & four) == four;
  V first[kWindowPairs];
  for (int i = 0; i < kWindowPairs; ++i) {
    first[i] = select(by1, search.odd[i], search.even[i]);
  }
  for (int i = 0; i < kWindowPairs - 1; ++i) {
    first[i] = select(by2, first[i + 1], first[i]);
  }
  for (int i = 0; i < kSubframe / 2; ++i) {
    delayed[i] = select(by4, first[i + 2], first[i]);
  }
}

template <class V>
CR_LANE V quarter_energy(const V *pairs) {
  V sum = splat<V>(0);
  for (int i = 0; i < kSubframe / 2; ++i) {
    sum = sum + madd(pairs[i], pairs[i]);  // 20 terms of at most 2^27: below 2^32
  }
  return sum;
}

// 1 + the saturated sum of doubled squares.
template <class V>
CR_LANE V energy_from_one(V half_energy) {
  return umin(doubled_energy(half_energy) + splat<V>(1), splat<V>(0x7FFFFFFF));
}

template <class V>
struct PitchGains {
  MaskOf<V> filtered;
  V delayed, own;  // Q15, where filtered
};

template <class V>
CR_LANE PitchGains<V> pitch_gains(V best, V delayed_energy, V own_energy, MaskOf<V> speech) {
  const V zero = splat<V>(0);
  V cm = max(best, zero), en = energy_from_one(delayed_energy), e0 = energy_from_one(own_energy);
  const V h = norm(max(cm, max(en, e0)));
  cm = mantissa(cm, h);
  en = mantissa(en, h);
  e0 = mantissa(e0, h);
  // cm^2 >= en * e0 / 2, the 3 dB test; both products are below 2^30, so doubled they fit.
  const auto filtered = speech & !(shl<1>(madd(cm, cm)) - madd(en, e0) < zero);
  const V c = sar<2>(cm), sum = c + sar<1>(en);
  const auto nonzero = sum > zero, strong = cm > en;
  V g = select(nonzero, div15(c, max(sum, splat<V>(1))), zero);
  V g0 = splat<V>(32767) - g;
  g = select(strong, splat<V>(10923), g);
  g0 = select(strong, splat<V>(21845), g0);
  return {filtered, g, g0};
}

// z rows (z[n], z[n+1]) for even n.
template <class V>
CR_LANE void long_term(const V *res, V lag, MaskOf<V> speech, V *z) {
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
  const PitchGains<V> gains = pitch_gains(search.best, quarter_energy(delayed_q), quarter_energy(q), speech);
  if (!any(gains.filtered)) {
    return;
  }
  const V g = gains.delayed, g0 = gains.own;
  const V gain = cross(shl<16>(g), g), gain0 = cross(shl<16>(g0), g0);
  for (int i = 0; i < kSubframe / 2; ++i) {
    // N9: the gains sum to at most 32768, so the sum fits.
    const V mixed = adds16(mul15_16(gain0, z[i]), mul15_16(gain, delayed[i]));
    z[i] = select(gains.filtered, mixed, z[i]);
  }
}

// Squares of quarters: each half of the sum stays below 2^31.
CR_LANE I32x1 quarter_energy(const int16_t *x) {
  constexpr int kHalf = kSubframe / 2;
  return I32x1{dot<kHalf>(x, x)} + I32x1{dot<kHalf>(x + kHalf, x + kHalf)};
}

// A stream alone: the same on samples side by side.
CR_LANE void long_term(const I32x1 *res, I32x1 lag, M32x1 speech, I32x1 *z) {
  constexpr int kWindow = 2 * kWindowPairs;
  int16_t here[kSubframe], here_q[kSubframe], window[kWindow + 2], window_q[kWindow + 2];
  const I32x1 *from = res - min(lag + I32x1{3}, I32x1{143}).v;
  for (int n = 0; n < kSubframe; ++n) {
    here[n] = res[n].low();
    here_q[n] = static_cast<int16_t>(here[n] >> 2);
  }
  for (int i = 0; i < kWindow; ++i) {
    window[i] = from[i].low();
    window_q[i] = static_cast<int16_t>(window[i] >> 2);
  }
  for (int i = 0; i < kSubframe / 2; ++i) {
    z[i] = res[2 * i];
  }
  const bool safe = peak_of(here, kSubframe) < 20725 && peak_of(window, kWindow) < 20725;  // G4
  I32x1 best{INT32_MIN};
  int from_end = 0;
  for (int j = kCandidates - 1; j >= 0; --j) {
    I32x1 sum{0};
    if (safe) {
      sum = {2 * dot<kSubframe>(here_q, window_q + j)};
    } else {
      for (int n = 0; n < kSubframe; ++n) {
        sum = lmac(sum, I32x1{here_q[n]}, I32x1{window_q[n + j]});
      }
    }
    // The first largest in the order of rising lags.
    if (j == kCandidates - 1 || sum.v > best.v) {
      best = sum;
      from_end = j;
    }
  }
  const int16_t *delayed = window + from_end;
  const PitchGains<I32x1> gains =
      pitch_gains(best, quarter_energy(window_q + from_end), quarter_energy(here_q), speech);
  if (!gains.filtered.v) {
    return;
  }
  int16_t mixed[kSubframe];
  for (int n = 0; n < kSubframe; ++n) {
    const int32_t sum = ((gains.own.v * here[n]) >> 15) + ((gains.delayed.v * delayed[n]) >> 15);
    mixed[n] = static_cast<int16_t>(sum > 32767 ? 32767 : sum < -32768 ? -32768 : sum);
  }
  for (int i = 0; i < kSubframe / 2; ++i) {
    z[i] = I32x1::halves(mixed[2 * i], mixed[2 * i + 1]);
  }
}

// A.4.2.3: the truncated impulse response of A(z/g2)/A(z/g1), rows of (h[n], h[n-1]).
template <class V>
struct Impulse {
  static constexpr int kLength = 22, kWhole = 24;  // a synthesis may take four at a time
  V rows[10 + kWhole];
  const V *numerator;
  V *h() { return rows + 10; }
};

template <class V>
CR_LANE V impulse_tilt(Impulse<V> &impulse) {
  constexpr int kLength = Impulse<V>::kLength;
  const V *h = impulse.h();
  const V limit = splat<V>(1 << 30), zero = splat<V>(0);
  V half_r0 = zero, half_r1 = madd(h[kLength - 1], h[kLength - 2] & splat<V>(0xFFFF));
  for (int n = 1; n < kLength; n += 2) {
    half_r0 = umin(half_r0 + madd(h[n], h[n]), limit);
    half_r1 = half_r1 + (n + 1 < kLength ? madd(h[n + 1], h[n]) : zero);
  }
  V r1 = sar<15>(half_r1);
  // |2 h[i] h[i+1]| <= h[i]^2 + h[i+1]^2: where r0 did not saturate, r1 cannot.
  if (any(half_r0 == limit)) {
    V sum = zero;
    for (int n = 1; n < kLength; ++n) {
      sum = lmac(sum, low(h[n]), high(h[n]));
    }
    r1 = sar<16>(sum);
  }
  const V r0 = max(sar<16>(doubled_energy(half_r0)), splat<V>(1));
  return div15(sar<15>(madd(max(r1, zero), splat<V>(26214))), r0);
}

// The tilt factors k, Q15, of both subframes.
template <class V>
__attribute__((noinline)) void tilt(const Predictor<V> *numerator, const Predictor<V> *denominator, V *k) {
  constexpr int kLength = Impulse<V>::kLength, kWhole = Impulse<V>::kWhole;
  const V zero = splat<V>(0);
  Impulse<V> impulse[2];
  V input[2][kWhole], width[2] = {zero, zero};
  for (int s = 0; s < 2; ++s) {
    for (int n = 0; n < 10; ++n) {
      impulse[s].rows[n] = zero;
    }
    for (int n = 0; n < kWhole; ++n) {
      input[s][n] = n <= 10 ? numerator[s].a[n] : zero;
      width[s] = max(width[s], abs(input[s][n]));
    }
  }
  auto from = [](const V *x) {
    return [x](int n, V *even, V *odd) {
      *even = shl<12>(x[n]);
      *odd = shl<12>(x[n + 1]);
    };
  };
  Synthesis first(denominator[0], from(input[0]), impulse[0].h());
  Synthesis second(denominator[1], from(input[1]), impulse[1].h());
  run_together(kLength, first, second);
  width[0] = max(width[0], peak(first.widest_output()));
  width[1] = max(width[1], peak(second.widest_output()));
  for (int s = 0; s < 2; ++s) {
    if (!predictor_is_safe(denominator[s], width[s])) {
      const V *x = input[s];
      synthesis_saturating(
          denominator[s], [x](int n) { return x[n]; }, impulse[s].h(), kLength);
    }
    k[s] = impulse_tilt(impulse[s]);
  }
}

// A.4.2.3: even rows z'[n] = z[n] - k z[n-1], in place.
template <class V>
CR_LANE void compensate_tilt(State<V::kLanes> &state, V k, V *z) {
  const V kk = both(k);
  V before = shl<16>(row<V>(state, kMemPre));
  for (int i = 0; i < kSubframe / 2; ++i) {
    const V here = z[i];
    z[i] = subs16(here, mul15_16(kk, between(before, here)));
    before = here;
  }
  put(state, kMemPre, high(before));
}

CR_LANE void compensate_tilt(State<1> &state, I32x1 k, I32x1 *z) {
  int16_t in[1 + kSubframe], out[kSubframe];
  in[0] = state.word[kMemPre][0];
  unpack_pairs(z, kSubframe / 2, in + 1);
  for (int n = 0; n < kSubframe; ++n) {
    out[n] = static_cast<int16_t>(sat(I32x1{in[n + 1] - ((k.low() * in[n]) >> 15)}).v);
  }
  for (int i = 0; i < kSubframe / 2; ++i) {
    z[i] = I32x1::halves(out[2 * i], out[2 * i + 1]);
  }
  state.word[kMemPre][0] = in[kSubframe];
}

// Of the rows (x[n], x[n-1]), n odd.
template <class V>
CR_LANE V quarter_energy_of_rows(const V *rows) {
  V pairs[kSubframe / 2];
  for (int i = 0; i < kSubframe / 2; ++i) {
    pairs[i] = sar16<2>(rows[2 * i + 1]);
  }
  return quarter_energy(pairs);
}

CR_LANE I32x1 quarter_energy_of_rows(const I32x1 *rows) {
  int16_t quarters[kSubframe];
  for (int n = 0; n < kSubframe; ++n) {
    quarters[n] = static_cast<int16_t>(rows[n].low() >> 2);
  }
  return quarter_energy(quarters);
}

template <class V>
struct GainControl {
  V gain, step;  // Q12: gain := gain * 0.9 + step, a sample at a time
  MaskOf<V> silent;
};

// A.4.2.4. A silent lane keeps a gain of exactly 1, which a step of 410 holds (4096 * 29491 >> 15 is 3686),
// and starts from 0 afterwards.
template <class V>
CR_LANE GainControl<V> gain_control(const State<V::kLanes> &state, const V *syn, const V *p) {
  const V zero = splat<V>(0);
  const V so = doubled_energy(quarter_energy_of_rows(p)), si = doubled_energy(quarter_energy_of_rows(syn));
  const V out_norm = norm(so), in_norm = norm(si);
  const V go = shr<16>(sar<1>(shl_each(so, out_norm)) + splat<V>(32768));
  const V gi = max(mantissa(si, in_norm), splat<V>(1));
  const V h = out_norm - splat<V>(1) - in_norm;
  // div15 wants go <= gi, which only a silent lane can break.
  const V s = shl<7>(div15(min(go, gi), gi));
  const V left = max(zero - h, zero);
  V ratio = sar_each(s, max(h, zero));
  ratio = select(h < zero, select(left > norm(s), splat<V>(0x7FFFFFFF), shl_each(s, left)), ratio);
  const V root = inverse_sqrt(ratio);
  const V rounded = min(sar<7>(min(root, splat<V>(1 << 22)) + splat<V>(64)), splat<V>(32767));
  V step = sar<15>(madd(rounded, splat<V>(3276)));
  step = select(si == zero, zero, step);
  const auto silent = so == zero;
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
    y = select(s > splat<V>((1 << 29) - 1), splat<V>(0x7FFFFFFF), y);
    y = select(s < splat<V>(-(1 << 29)), splat<V>(INT32_MIN), y);
    outs[n % 2] = sar<14>(sar<1>(y) + splat<V>(8192));
    *y2 = *y1;
    *y1 = y;
    if (n % 2 == 1) {
      pcm[n / 2] = pair(sat(outs[0]), sat(outs[1]));
    }
  }
}

// A.4.2.4 and 4.2.5 in one pass: gain, then high-pass. `p` are rows of (p[n], p[n-1]), `x` the rows of the
// scaled samples in the same order, continued from the last subframe, `pcm` rows of (out[n], out[n+1]) for
// even n. In U = s / 2 of the standard's sum s, so Y = 8 U.
template <class V>
struct GainAndHighPass {
  const V *p;
  V *x, *pcm;
  V gain, step, y1, y2, rest1, rest2;
  V width, highest, lowest;
  Half32<V::kLanes> last;

  // Alone, a product of 64 bits takes both parts of a y.
  static CR_LANE V rest_of(V y) { return V::kLanes == 1 ? sar<1>(y) : shr<1>(y) & splat<V>(0x7FFF); }

  CR_LANE GainAndHighPass(const State<V::kLanes> &state, const GainControl<V> &control, const V *in,
                          V *scaled, V *out)
      : p(in),
        x(scaled),
        pcm(out),
        gain(control.gain),
        step(control.step),
        y1(load<V>(state.hy1)),
        y2(load<V>(state.hy2)),
        rest1(rest_of(y1)),
        rest2(rest_of(y2)),
        width(scaled[-1]),
        highest(splat<V>(0)),
        lowest(splat<V>(0)),
        last(sat(low(scaled[-1]))) {
    width = widest(splat<V>(0), scaled[-1]);
  }

  static CR_LANE int32_t product_q15(int32_t x, int32_t factor) {
    return static_cast<int32_t>((int64_t{x} * factor) >> 15);
  }

  CR_LANE Half32<1> sample_alone(int n) {
    gain = I32x1{(gain.v * 29491) >> 15} + step;
    const auto half = sat(I32x1{(p[n].low() * gain.v) >> 12});
    const int32_t before = last.v, oldest = x[n - 1].high();
    x[n] = pair(half, last);
    last = half;
    const V u = I32x1{7699 * (half.v - 2 * before + oldest)} + I32x1{product_q15(rest2.v, -7667)} +
                I32x1{product_q15(rest1.v, 15836)};
    y2 = y1;
    rest2 = rest1;
    y1 = shl<3>(u);
    rest1 = shl<2>(u);  // where that is not half of y1, u is out of its bounds
    highest = max(highest, u);
    lowest = min(lowest, u);
    return sat(sar<12>(u + splat<V>(2048)));
  }

  CR_LANE Half32<V::kLanes> sample(int n) {
    if constexpr (V::kLanes == 1) {
      return sample_alone(n);
    } else {
      return sample_of_lanes(n);
    }
  }

  CR_LANE Half32<V::kLanes> sample_of_lanes(int n) {
    const V newest = splat<V>(tables::packed(7699, -15398)), oldest = splat<V>(tables::packed(7699, 0));
    const V upper1 = splat<V>(tables::packed(0, 15836)), lower1 = splat<V>(tables::packed(15836, 0));
    const V upper2 = splat<V>(tables::packed(0, -7667)), lower2 = splat<V>(tables::packed(-7667, 0));
    gain = sar<15>(madd(gain, splat<V>(29491))) + step;
    const auto half = sat(sar<12>(madd(p[n], gain)));
    x[n] = pair(half, last);
    last = half;
    V u = madd(x[n], newest) + madd(x[n - 2], oldest) + madd(y2, upper2) + sar<15>(madd(rest2, lower2));
    u = u + madd(y1, upper1) + sar<15>(madd(rest1, lower1));
    y2 = y1;
    rest2 = rest1;
    y1 = shl<3>(u);
    rest1 = shl<2>(u) & splat<V>(0x7FFF);
    highest = max(highest, u);
    lowest = min(lowest, u);
    return sat(sar<12>(u + splat<V>(2048)));
  }

  CR_LANE void two(int n) {
    const auto even = sample(n);
    pcm[n / 2] = pair(even, sample(n + 1));
    width = widest(width, x[n + 1]);
  }

  // G5: inputs to 16384 and |Y >> 16| to 24000, before and after, leave no partial sum out of range.
  CR_LANE void finish(State<V::kLanes> &state, const GainControl<V> &control) {
    const V first_y1 = load<V>(state.hy1), first_y2 = load<V>(state.hy2), bound = splat<V>(24000 << 13);
    const V before = max(abs(sar<16>(first_y1)), abs(sar<16>(first_y2)));
    const auto safe = (peak(width) < splat<V>(16385)) & (before < splat<V>(24001)) & (highest < bound) &
                      (splat<V>(0) - bound < lowest);
    if (!all(safe)) {
      y1 = first_y1;
      y2 = first_y2;
      high_pass_saturating(x, &y1, &y2, pcm);
    }
    store(state.hy1, y1);
    store(state.hy2, y2);
    put(state, kPastGain, select(control.silent, splat<V>(0), gain));
  }
};

// A frame's post-filter at work: signals of both subframes in a row, with what came before.
template <class V>
struct PostFilter {
  Predictor<V> numerator[2], denominator[2];  // A(z/g2), A(z/g1)
  V tilt_factor[2];
  V z[2][kSubframe / 2];
  V short_rows[10 + kFrame];  // (p[n], p[n-1])
  V scaled_rows[2 + kFrame];  // (x[n], x[n-1])
  V *p(int n) { return short_rows + 10 + n; }
  V *x(int n) { return scaled_rows + 2 + n; }
};

template <class V>
CR_LANE void load_post_filter(const State<V::kLanes> &state, const Work<V> &work, PostFilter<V> &post) {
  const V round = splat<V>(16384);
  for (int s = 0; s < 2; ++s) {
    V upper[11], lower[11];
    upper[0] = lower[0] = work.a[s][0];
    for (int i = 1; i <= 10; ++i) {
      upper[i] = sar<15>(mul16(work.a[s][i], splat<V>(tables::kGammaNumerator.at[i])) + round);
      lower[i] = sar<15>(mul16(work.a[s][i], splat<V>(tables::kGammaDenominator.at[i])) + round);
    }
    predictor(upper, post.numerator[s]);
    predictor(lower, post.denominator[s]);
  }
  V last = splat<V>(0);
  for (int n = -10; n < 0; ++n) {
    const V sample = row<V>(state, kMemPst + 10 + n);
    *post.p(n) = cross(shl<16>(last), sample);
    last = sample;
  }
  const V hx2 = row<V>(state, kHx2);
  *post.x(-2) = hx2;
  *post.x(-1) = cross(shl<16>(hx2), row<V>(state, kHx1));
  tilt(post.numerator, post.denominator, post.tilt_factor);
}

template <class V>
CR_LANE void store_post_filter(State<V::kLanes> &state, PostFilter<V> &post) {
  for (int n = 0; n < 10; ++n) {
    put(state, kMemPst + n, *post.p(kFrame - 10 + n));
  }
  put(state, kHx1, *post.x(kFrame - 1));
  put(state, kHx2, high(*post.x(kFrame - 1)));
}

// From the rows of work.syn to the input of 1/A(z/g1).
template <class V>
__attribute__((noinline)) void prepare_short_term(State<V::kLanes> &state, Work<V> &work, PostFilter<V> &post,
                                                  int s) {
  const V *y = work.syn(kSubframe * s);
  V *res = work.res(kSubframe * s), *z = post.z[s];
  const V width = widest_of<2>(splat<V>(0), y - 9, kSubframe + 9);
  if (predictor_is_safe(post.numerator[s], peak(width))) {  // G3
    residual(post.numerator[s], y, res);
  } else {
    residual_saturating(post.numerator[s], y, res);
  }
  if (work.any_speech) {
    long_term(res, work.lag[s], work.good | work.lost, z);
  } else {
    for (int i = 0; i < kSubframe / 2; ++i) {
      z[i] = res[2 * i];
    }
  }
  compensate_tilt(state, post.tilt_factor[s], z);
}

// 1/A(z/g1) of A.4.2.2 as steps.
template <class V>
CR_LANE auto short_term(PostFilter<V> &post, int s) {
  const V *z = post.z[s];
  auto input = [z](int n, V *even, V *odd) {
    *even = even_q12(z[n / 2]);
    *odd = odd_q12(z[n / 2]);
  };
  return Synthesis(post.denominator[s], input, post.p(kSubframe * s));
}

template <class V>
CR_LANE void check_short_term(PostFilter<V> &post, int s, V width) {
  const V *z = post.z[s];
  V *p = post.p(kSubframe * s);
  width = widest_of<1>(width, z, kSubframe / 2);
  for (int n = -9; n < 0; n += 2) {
    width = widest(width, p[n]);
  }
  if (!predictor_is_safe(post.denominator[s], peak(width))) {
    auto plain = [z](int n) { return n % 2 == 0 ? low(z[n / 2]) : high(z[n / 2]); };
    synthesis_saturating(post.denominator[s], plain, p, kSubframe);
  }
}

}  // namespace callreplay::CR_ISA::g729
