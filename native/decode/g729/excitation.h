// G.729 3.7-3.9, 4.1.3-4.1.5, 4.4: lags, fixed codebook, gains and the excitation of a speech subframe;
// A.4.1.6 with the overflow control of the synthesis filter.
#pragma once

#include "decode/g729/filters.h"
#include "decode/g729/numbers.h"

namespace callreplay::CR_ISA::g729 {

template <class V>
struct Lag {
  V samples, frac;  // frac in thirds: -1, 0, 1
};

// 4.1.3, first subframe. A parity error repeats the last lag, as a lost frame does.
template <class V>
CR_INLINE Lag<V> first_lag(State<V::kLanes> &state, const Work<V> &work) {
  const V p1 = field<6, 8>(work.words[0]), p0 = field<5, 1>(work.words[0]);
  V ones = shr<2>(p1);
  ones = ones ^ shr<3>(ones);
  ones = (ones ^ shr<1>(ones) ^ shr<2>(ones) ^ p0) & splat<V>(1);
  const auto known = work.good & eq(ones, splat<V>(1));

  const V old = row<V>(state, kOldT0);
  const V third = sar<15>(madd(p1 + splat<V>(2), splat<V>(10923))) + splat<V>(19);
  const auto fractional = lt(p1, splat<V>(197));
  const V lag = select(fractional, third, p1 - splat<V>(112));
  const V frac = select(fractional, p1 + splat<V>(58) - third - third - third, splat<V>(0));
  const V grown = min(old + splat<V>(1), splat<V>(143));
  put(state, kOldT0, select(known, lag, grown), work.good | work.lost);
  return {select(known, lag, old), select(known, frac, splat<V>(0))};
}

// 4.1.3, second subframe: relative to the lag that the first one used, even after a parity error.
template <class V>
CR_INLINE Lag<V> second_lag(State<V::kLanes> &state, const Work<V> &work) {
  const V p2 = field<8, 5>(work.words[1]);
  const V from = min(max(work.lag[0] - splat<V>(5), splat<V>(20)), splat<V>(134));
  const V i = sar<15>(madd(p2 + splat<V>(2), splat<V>(10923))) - splat<V>(1);
  const V lag = from + i;
  const V frac = p2 - splat<V>(2) - i - i - i;
  if (!work.any_lost && !work.any_noisy) {
    put(state, kOldT0, lag);
    return {lag, frac};
  }
  const V old = row<V>(state, kOldT0);
  const V grown = min(old + splat<V>(1), splat<V>(143));
  put(state, kOldT0, select(work.good, lag, grown), work.good | work.lost);
  return {select(work.good, lag, old), select(work.good, frac, splat<V>(0))};
}

template <class V>
CR_INLINE V next_random(V seed) {
  return low(mul(seed, splat<V>(tables::kRandMultiplier)) + splat<V>(tables::kRandIncrement));
}

// 3.8, sharpened by the previous subframe's gain: rows c[0..39], Q13. N5: nothing saturates.
template <class V>
CR_INLINE void fixed_codebook(V positions, V signs, V lag, V sharp, V *c) {
  V where[4], amplitude[4];
  where[0] = mul16(field<0, 3>(positions), splat<V>(5));
  where[1] = mul16(field<3, 3>(positions), splat<V>(5)) + splat<V>(1);
  where[2] = mul16(field<6, 3>(positions), splat<V>(5)) + splat<V>(2);
  where[3] = mul16(field<10, 3>(positions), splat<V>(5)) + splat<V>(3) + field<9, 1>(positions);
  for (int k = 0; k < 4; ++k) {
    const V bit = sarv(signs, splat<V>(k)) & splat<V>(1);
    amplitude[k] = select(eq(bit, splat<V>(1)), splat<V>(8191), splat<V>(-8192));
  }
  const V zero = splat<V>(0);
  for (int n = 0; n < kSubframe; ++n) {
    const int k = n % 5 < 3 ? n % 5 : 3;
    c[n] = select(eq(where[k], splat<V>(n)), amplitude[k], zero);
  }
  if (all(gt(lag, splat<V>(kSubframe - 1)))) {
    return;
  }
  // With a lag of at least 20 an echo is never echoed again, so the echoes of the four pulses, which lie on
  // distinct places, are all there is. Lag 19 echoes samples 0 and 1 twice: samples 38 and 39 then come from
  // 19 and 20.
  V echo[4], landing[4];
  const V gain = shl<1>(sharp);
  const auto short_lag = lt(lag, splat<V>(kSubframe));
  for (int k = 0; k < 4; ++k) {
    echo[k] = sar<15>(mul16(amplitude[k], gain));
    landing[k] = select(short_lag, where[k] + lag, splat<V>(-1));
  }
  for (int n = 19; n < kSubframe; ++n) {
    const V here = splat<V>(n);
    const V first = select(eq(landing[0], here), echo[0], zero) + select(eq(landing[1], here), echo[1], zero);
    const V second =
        select(eq(landing[2], here), echo[2], zero) + select(eq(landing[3], here), echo[3], zero);
    c[n] = c[n] + first + second;
  }
  const auto nineteen = eq(lag, splat<V>(19));
  for (int n = 38; n < kSubframe; ++n) {
    const int k = n % 5 < 3 ? n % 5 : 3;
    const V plain = select(eq(where[k], splat<V>(n)), amplitude[k], zero);
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
CR_INLINE Gains<V> decode_gains(const State<V::kLanes> &state, V energy, V stage1, V stage2, V *new_qe) {
  const V first = gather(tables::kGains1.at, stage1), second = gather(tables::kGains2.at, stage2);
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
  const V shifted = select(lt(down, splat<V>(0)), shl<1>(product), sarv(product, max(down, splat<V>(0))));
  const Log2<V> level = log2(correction);
  const V v = shl<16>(level.exponent - splat<V>(13)) + shl<1>(level.fraction_q15);
  *new_qe = sar<15>(mul16(sar<16>(shl<13>(v)), splat<V>(24660)));
  return {pitch, sar<16>(shifted)};
}

template <class V>
CR_INLINE void push_qe(State<V::kLanes> &state, V value, typename V::Mask where) {
  for (int k = 3; k > 0; --k) {
    put(state, kQe + k, row<V>(state, kQe + k - 1), where);
  }
  put(state, kQe, value, where);
}

template <class V>
CR_INLINE Gains<V> subframe_gains(State<V::kLanes> &state, const Work<V> &work, V energy, V stage1,
                                  V stage2) {
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

// The excitation of subframe `s` for the speech lanes; the lanes in comfort noise get theirs from work.noise.
template <class V>
__attribute__((noinline)) void speech_subframe(State<V::kLanes> &state, Work<V> &work, int s) {
  const Lag<V> lag = s == 0 ? first_lag(state, work) : second_lag(state, work);
  work.lag[s] = lag.samples;
  V *x = work.exc(kSubframe * s);
  adaptive_codebook(lag.samples, lag.frac, x);

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
  V c[kSubframe], pairs[kSubframe / 2];
  fixed_codebook(positions, signs, lag.samples, row<V>(state, kSharp), c);
  V energy = splat<V>(0);
  for (int i = 0; i < kSubframe / 2; ++i) {
    pairs[i] = cross(shl<16>(c[2 * i + 1]), c[2 * i]);
    energy = energy + madd(pairs[i], pairs[i]);
  }
  const V stage1 = s == 0 ? field<17, 3>(second) : field<4, 3>(third);
  const V stage2 = s == 0 ? field<13, 4>(second) : field<0, 4>(third);
  const Gains<V> gains = subframe_gains(state, work, energy, stage1, stage2);

  // N8: the sum of both products stays below 1.24e9.
  const V both_gains = cross(shl<16>(gains.code_q1), gains.pitch_q14);
  const V round = splat<V>(8192);
  for (int n = 0; n < kSubframe; n += 2) {
    const V first_sum = madd(cross(shl<16>(pairs[n / 2]), x[n]), both_gains);
    const V second_sum = madd(cross(pairs[n / 2], shr<16>(x[n])), both_gains);
    V sum = pair(sat(sar<14>(first_sum + round)), sat(sar<14>(second_sum + round)));
    if (work.any_noisy) {
      sum = select(work.noisy, work.noise[(kSubframe * s + n) / 2], sum);
    }
    x[n - 1] = between(x[n - 2], sum);
    x[n] = sum;
  }
  x[kSubframe - 1] = swap(x[kSubframe - 2]);
}

// Comfort noise alone: its rows become the excitation.
template <class V>
CR_INLINE void noise_subframe(Work<V> &work, int s) {
  V *x = work.exc(kSubframe * s);
  for (int n = 0; n < kSubframe; n += 2) {
    x[n] = work.noise[(kSubframe * s + n) / 2];
    x[n - 1] = between(x[n - 2], x[n]);
  }
  x[kSubframe - 1] = swap(x[kSubframe - 2]);
  work.lag[s] = splat<V>(60);
}

// The excitation, all that is remembered and all that stands ready, is quartered in the lanes that
// overflowed.
template <class V>
__attribute__((noinline)) void synthesise_again(Work<V> &work, const Predictor<V> &p, int s) {
  V *x = work.exc(kSubframe * s), *y = work.syn(kSubframe * s);
  auto sample = [x](int n) { return n % 2 == 0 ? low(x[n]) : high(x[n - 1]); };
  const auto overflow = synthesis_saturating(p, sample, y, kSubframe);
  if (!any(overflow)) {
    return;
  }
  for (int n = -kExcHistory; n < kSubframe * (s + 1); ++n) {
    V &both = *work.exc(n);
    both = select(overflow, sar16<2>(both), both);
  }
  if (work.any_noisy) {
    for (V &both : work.noise) {
      both = select(overflow, sar16<2>(both), both);
    }
  }
  synthesis_saturating(p, sample, y, kSubframe);
}

template <class V>
__attribute__((noinline)) void synthesise(Work<V> &work, int s) {
  Predictor<V> p;
  predictor(work.a[s], p);
  V *x = work.exc(kSubframe * s), *y = work.syn(kSubframe * s);
  V width = splat<V>(0);
  for (int n = 0; n < kSubframe; n += 2) {
    width = widest(width, x[n]);
  }
  for (int n = -9; n < 0; n += 2) {
    width = widest(width, y[n]);
  }
  const V upper = splat<V>(static_cast<int32_t>(0xFFFF0000));
  auto sample_q12 = [x, upper](int n) {
    return n % 2 == 0 ? sar<4>(shl<16>(x[n])) : sar<4>(x[n - 1] & upper);
  };
  width = widest(width, synthesis(p, sample_q12, y, kSubframe));
  if (!predictor_is_safe(p, peak(width))) {
    synthesise_again(work, p, s);
  }
}

}  // namespace callreplay::CR_ISA::g729
