// G.729 3.7-3.9, 4.1.3-4.1.5, 4.4: lags, fixed codebook, gains and the excitation of a speech subframe;
// A.4.1.6 with the overflow control of the synthesis filter.
#pragma once

#include "decode/g729/filters.h"
#include "decode/g729/noise.h"

namespace callreplay::CR_ISA::g729 {

template <class V>
struct Lag {
  V samples, frac;  // frac in thirds: -1, 0, 1
};

// 4.1.3, first subframe. A parity error repeats the last lag, as a lost frame does.
template <class V>
CR_LANE Lag<V> first_lag(State<V::kLanes> &state, const Work<V> &work) {
  const V p1 = field<6, 8>(work.words[0]), p0 = field<5, 1>(work.words[0]);
  V ones = shr<2>(p1);
  ones = ones ^ shr<3>(ones);
  ones = (ones ^ shr<1>(ones) ^ shr<2>(ones) ^ p0) & splat<V>(1);
  const auto known = work.good & (ones == splat<V>(1));

  const V old = row<V>(state, kOldT0);
  const V third = sar<15>(madd(p1 + splat<V>(2), splat<V>(10923))) + splat<V>(19);
  const auto fractional = p1 < splat<V>(197);
  const V lag = select(fractional, third, p1 - splat<V>(112));
  const V frac = select(fractional, p1 + splat<V>(58) - third - third - third, splat<V>(0));
  const V grown = min(old + splat<V>(1), splat<V>(143));
  put(state, kOldT0, select(known, lag, grown), work.good | work.lost);
  return {select(known, lag, old), select(known, frac, splat<V>(0))};
}

// 4.1.3, second subframe: relative to the lag that the first one used, even after a parity error.
template <class V>
CR_LANE Lag<V> second_lag(State<V::kLanes> &state, const Work<V> &work) {
  const V p2 = field<8, 5>(work.words[1]);
  const V from = min(max(work.lag[0] - splat<V>(5), splat<V>(20)), splat<V>(134));
  const V i = sar<15>(madd(p2 + splat<V>(2), splat<V>(10923))) - splat<V>(1);
  const V lag = from + i;
  const V frac = p2 - splat<V>(2) - i - i - i;
  const V old = row<V>(state, kOldT0);
  const V grown = min(old + splat<V>(1), splat<V>(143));
  put(state, kOldT0, select(work.good, lag, grown), work.good | work.lost);
  return {select(work.good, lag, old), select(work.good, frac, splat<V>(0))};
}

template <class V>
CR_LANE V next_random(V seed) {
  return low(seed * splat<V>(tables::kRandMultiplier) + splat<V>(tables::kRandIncrement));
}

// 3.8, sharpened by the previous subframe's gain: rows c[0..39], Q13. N5: nothing saturates.
template <class V>
CR_LANE void fixed_codebook(V positions, V signs, V lag, V sharp, V *c) {
  V where[4], amplitude[4];
  where[0] = mul16(field<0, 3>(positions), splat<V>(5));
  where[1] = mul16(field<3, 3>(positions), splat<V>(5)) + splat<V>(1);
  where[2] = mul16(field<6, 3>(positions), splat<V>(5)) + splat<V>(2);
  where[3] = mul16(field<10, 3>(positions), splat<V>(5)) + splat<V>(3) + field<9, 1>(positions);
  for (int k = 0; k < 4; ++k) {
    const V bit = sar_each(signs, splat<V>(k)) & splat<V>(1);
    amplitude[k] = select(bit == splat<V>(1), splat<V>(8191), splat<V>(-8192));
  }
  const V zero = splat<V>(0);
  place_pulses(where, amplitude, c);
  if (all(lag > splat<V>(kSubframe - 1))) {
    return;
  }
  // With a lag of at least 20 an echo is never echoed again, so the echoes of the four pulses, which lie on
  // distinct places, are all there is. Lag 19 echoes samples 0 and 1 twice: samples 38 and 39 then come from
  // 19 and 20.
  V echo[4], landing[4];
  const V gain = shl<1>(sharp);
  const auto short_lag = lag < splat<V>(kSubframe);
  for (int k = 0; k < 4; ++k) {
    echo[k] = sar<15>(mul16(amplitude[k], gain));
    landing[k] = select(short_lag, where[k] + lag, splat<V>(-1));
  }
  for (int n = 19; n < kSubframe; ++n) {
    const V here = splat<V>(n);
    const V first = select(landing[0] == here, echo[0], zero) + select(landing[1] == here, echo[1], zero);
    const V second = select(landing[2] == here, echo[2], zero) + select(landing[3] == here, echo[3], zero);
    c[n] = c[n] + first + second;
  }
  const auto nineteen = lag == splat<V>(19);
  for (int n = 38; n < kSubframe; ++n) {
    const int k = n % 5 < 3 ? n % 5 : 3;
    const V plain = select(where[k] == splat<V>(n), amplitude[k], zero);
    c[n] = select(nineteen, plain + sar<15>(mul16(c[n - 19], gain)), c[n]);
  }
}

template <class V>
struct Gains {
  V pitch_q14, code_q1;
};

// 3.9, 4.1.5. N6 bounds every quantity of the good lanes; `energy` is the un-doubled energy of the code
// vector.
template <class V>
CR_LANE Gains<V> decode_gains(const State<V::kLanes> &state, V energy, V stage1, V stage2, V *new_qe) {
  const V first = look_up(tables::kGains1.at, stage1), second = look_up(tables::kGains2.at, stage2);
  const V pitch = low(first) + low(second);
  const Log2<V> power = log2(shl<1>(energy));
  const V factor = splat<V>(-24660);
  V t = shl<1>(mul16(power.exponent, factor) + sar<15>(mul16(power.fraction_q15, factor)));
  t = shl<10>(t + splat<V>(2085632));
  V predicted = splat<V>(0);
  for (int k = 0; k < 4; ++k) {
    predicted = predicted + madd(row<V>(state, kQe + k), splat<V>(tables::kGainPrediction[k]));
  }
  t = t + shl<1>(predicted);
  const V u = sar<8>(mul16(sar<16>(t), splat<V>(10878)));
  const V exponent = sar<16>(u);
  const V g0 = pow2_q14(shr<1>(u & splat<V>(0xFFFF)));
  const V correction = high(first) + high(second);
  const V product = shl<1>(mul16(sar<1>(correction), g0));
  const V down = splat<V>(10) - exponent;
  const V shifted = select(down < splat<V>(0), shl<1>(product), sar_each(product, max(down, splat<V>(0))));
  const Log2<V> level = log2(correction);
  const V v = shl<16>(level.exponent - splat<V>(13)) + shl<1>(level.fraction_q15);
  *new_qe = sar<15>(mul16(sar<16>(shl<13>(v)), splat<V>(24660)));
  return {pitch, sar<16>(shifted)};
}

template <class V>
CR_LANE void push_qe(State<V::kLanes> &state, V value, MaskOf<V> where) {
  for (int k = 3; k > 0; --k) {
    put(state, kQe + k, row<V>(state, kQe + k - 1), where);
  }
  put(state, kQe, value, where);
}

template <class V>
CR_LANE Gains<V> subframe_gains(State<V::kLanes> &state, const Work<V> &work, V energy, V stage1, V stage2) {
  V qe;
  Gains<V> gains = decode_gains(state, energy, stage1, stage2, &qe);
  if (work.any_lost) {
    const V pitch = min(sar<15>(mul16(row<V>(state, kGainPitch), splat<V>(29491))), splat<V>(29491));
    const V code = sar<15>(mul16(row<V>(state, kGainCode), splat<V>(32111)));
    V sum = splat<V>(0);
    for (int k = 0; k < 4; ++k) {
      sum = sum + row<V>(state, kQe + k);
    }
    qe = select(work.lost, max(sar<2>(sum) - splat<V>(4096), splat<V>(-14336)), qe);
    gains.pitch_q14 = select(work.lost, pitch, gains.pitch_q14);
    gains.code_q1 = select(work.lost, code, gains.code_q1);
  }
  const auto speech = work.good | work.lost;
  push_qe(state, qe, speech);
  put(state, kGainPitch, gains.pitch_q14, speech);
  put(state, kGainCode, gains.code_q1, speech);
  put(state, kSharp, clamp(gains.pitch_q14, 3277, 13017), speech);
  return gains;
}

// The code vector of subframe `s`, 20 pairs (c[n], c[n+1]), and its gains.
template <class V>
CR_LANE Gains<V> fixed_part(State<V::kLanes> &state, const Work<V> &work, int s, V *pairs) {
  const V second = work.words[1], third = work.words[2];
  V positions = s == 0 ? shl<8>(field<0, 5>(work.words[0])) | field<24, 8>(second)
                       : shl<5>(field<0, 8>(second)) | field<11, 5>(third);
  V signs = s == 0 ? field<20, 4>(second) : field<7, 4>(third);
  if (work.any_lost) {
    const V r1 = next_random(row<V>(state, kSeedFer)), r2 = next_random(r1);
    put(state, kSeedFer, r2, work.lost);
    positions = select(work.lost, r1 & splat<V>(0x1FFF), positions);
    signs = select(work.lost, r2 & splat<V>(0xF), signs);
  }
  V c[kSubframe];
  fixed_codebook(positions, signs, work.lag[s], row<V>(state, kSharp), c);
  V energy = splat<V>(0);
  for (int i = 0; i < kSubframe / 2; ++i) {
    pairs[i] = cross(shl<16>(c[2 * i + 1]), c[2 * i]);
    energy = energy + madd(pairs[i], pairs[i]);
  }
  const V stage1 = s == 0 ? field<17, 3>(second) : field<4, 3>(third);
  const V stage2 = s == 0 ? field<13, 4>(second) : field<0, 4>(third);
  return subframe_gains(state, work, energy, stage1, stage2);
}

// 3.10: the pairs (x[n], x[n+1]) of pitch gain times row n plus code gain times code vector. N8: the sum of
// both products stays below 1.24e9.
template <class V>
CR_LANE V total(V adaptive, V code, V both_gains) {
  const V round = splat<V>(8192);
  const V first = madd(cross(shl<16>(code), adaptive), both_gains);
  const V second = madd(cross(code, shr<16>(adaptive)), both_gains);
  return pair(sat(sar<14>(first + round)), sat(sar<14>(second + round)));
}

// Even rows into the rows of both parities that lags address.
template <class V>
CR_LANE void put_rows(V *x, int n, V even_row) {
  x[n - 1] = between(x[n - 2], even_row);
  x[n] = even_row;
}

// A stream alone: all of a subframe.
CR_LANE void put_totals(I32x1 *x, const I32x1 *code, I32x1 both_gains) {
  int16_t adaptive[kSubframe], fixed[kSubframe], sum[kSubframe];
  unpack_pairs(code, kSubframe / 2, fixed);
  for (int n = 0; n < kSubframe; ++n) {
    adaptive[n] = x[n].low();
  }
  const int32_t pitch = both_gains.low(), gain = both_gains.high();
  for (int n = 0; n < kSubframe; ++n) {
    sum[n] = static_cast<int16_t>(sat(I32x1{(adaptive[n] * pitch + fixed[n] * gain + 8192) >> 14}).v);
  }
  x[-1] = I32x1::halves(x[-1].low(), sum[0]);
  for (int n = 0; n + 1 < kSubframe; ++n) {
    x[n] = I32x1::halves(sum[n], sum[n + 1]);
  }
}

// The excitation of subframe `s` in every lane: speech and comfort noise share the adaptive codebook.
template <class V>
__attribute__((noinline)) void excite(State<V::kLanes> &state, Work<V> &work, int s) {
  V *x = work.exc(kSubframe * s), *noise = work.noise + kSubframe / 2 * s;
  Lag<V> lag{splat<V>(kSubframe), splat<V>(0)};
  NoiseSubframe<V> comfort;
  if (work.any_speech) {
    lag = s == 0 ? first_lag(state, work) : second_lag(state, work);
  }
  if (work.any_noisy) {
    noise_begin(state, work.noisy & !work.ahead, comfort);
    lag.samples = select(work.noisy, comfort.lag, lag.samples);
    lag.frac = select(work.noisy, comfort.frac, lag.frac);
  }
  work.lag[s] = lag.samples;
  adaptive_codebook(lag.samples, lag.frac, x);
  if (work.any_noisy) {
    V fresh[kSubframe / 2];
    noise_end(state, comfort, x, fresh);
    const bool some_ahead = any(work.ahead);
    for (int i = 0; i < kSubframe / 2; ++i) {
      noise[i] = some_ahead ? select(work.ahead, noise[i], fresh[i]) : fresh[i];
    }
  }
  if (!work.any_speech) {
    for (int n = 0; n < kSubframe; n += 2) {
      put_rows(x, n, noise[n / 2]);
    }
  } else {
    V code[kSubframe / 2];
    const Gains<V> gains = fixed_part(state, work, s, code);
    const V both_gains = cross(shl<16>(gains.code_q1), gains.pitch_q14);
    if constexpr (V::kLanes == 1) {
      // Not noisy, for it is speech.
      put_totals(x, code, both_gains);
    } else {
      for (int n = 0; n < kSubframe; n += 2) {
        V sum = total(x[n], code[n / 2], both_gains);
        if (work.any_noisy) {
          sum = select(work.noisy, noise[n / 2], sum);
        }
        put_rows(x, n, sum);
      }
    }
  }
  x[kSubframe - 1] = swap(x[kSubframe - 2]);
}

// The comfort noise of a whole frame exists before its first subframe is synthesised. Where that synthesis
// overflows, the second subframe's noise is therefore made now, from an excitation not yet quartered.
template <class V>
__attribute__((noinline)) void noise_ahead(State<V::kLanes> &state, Work<V> &work, MaskOf<V> lanes) {
  V *x = work.exc(kSubframe);
  NoiseSubframe<V> comfort;
  noise_begin(state, lanes, comfort);
  adaptive_codebook(select(lanes, comfort.lag, splat<V>(kSubframe)), comfort.frac, x);
  noise_end(state, comfort, x, work.noise + kSubframe / 2);
  work.ahead = lanes;
}

// The synthesis in the standard's words. Where it overflows, the excitation, all that is remembered and all
// that stands ready, is quartered, and the synthesis done again.
template <class V>
__attribute__((noinline)) void synthesise_again(State<V::kLanes> &state, Work<V> &work, const Predictor<V> &p,
                                                int s) {
  V *x = work.exc(kSubframe * s), *y = work.syn(kSubframe * s);
  auto sample = [x](int n) { return n % 2 == 0 ? low(x[n]) : high(x[n - 1]); };
  const auto overflow = synthesis_saturating(p, sample, y, kSubframe);
  if (!any(overflow)) {
    return;
  }
  if (s == 0 && any(overflow & work.noisy)) {
    noise_ahead(state, work, overflow & work.noisy);
    for (V *even = work.noise + kSubframe / 2; even < work.noise + kFrame / 2; ++even) {
      *even = select(overflow, sar16<2>(*even), *even);
    }
  }
  for (int n = -kExcHistory; n < kSubframe * (s + 1); ++n) {
    V &pairs = *work.exc(n);
    pairs = select(overflow, sar16<2>(pairs), pairs);
  }
  synthesis_saturating(p, sample, y, kSubframe);
}

// 1/A(z) of a subframe as steps, and the check after them.
template <class V>
CR_LANE auto synthesis_of(const Predictor<V> &p, Work<V> &work, int s) {
  const V *x = work.exc(kSubframe * s);
  auto input = [x](int n, V *even, V *odd) {
    *even = even_q12(x[n]);
    *odd = odd_q12(x[n]);
  };
  return Synthesis(p, input, work.syn(kSubframe * s));
}

template <class V>
CR_LANE void check_synthesis(State<V::kLanes> &state, Work<V> &work, const Predictor<V> &p, int s, V width) {
  width = widest_of<2>(width, work.exc(kSubframe * s), kSubframe);
  for (int n = -9; n < 0; n += 2) {
    width = widest(width, *work.syn(kSubframe * s + n));
  }
  if (!predictor_is_safe(p, peak(width))) {
    synthesise_again(state, work, p, s);
  }
}

}  // namespace callreplay::CR_ISA::g729
