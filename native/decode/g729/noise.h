// G.729 Annex B.4.4: comfort noise, the gain of SID and untransmitted frames and the excitation made from it.
#pragma once

#include "decode/g729/filters.h"
#include "decode/g729/numbers.h"

namespace callreplay::CR_ISA::g729 {

// The random numbers of one subframe of one stream: three for the pulses and the lag, then twelve for each of
// 40 gaussian samples, written to `samples` at a stride of `lanes`. The generator is linear, so all samples
// advance side by side from seeds that lie twelve draws apart.
struct NoiseDraw {
  int16_t first, second, third, last;
};
inline NoiseDraw draw_noise(int16_t seed, int16_t *samples, int lanes) {
  auto next = [](uint32_t s) { return (s * tables::kRandMultiplier + tables::kRandIncrement) & 0xFFFF; };
  const uint32_t first = next(static_cast<uint16_t>(seed)), second = next(first), third = next(second);
  uint16_t seeds[kSubframe];
  int32_t sums[kSubframe] = {};
  for (int n = 0; n < kSubframe; ++n) {
    seeds[n] = static_cast<uint16_t>(third * tables::kRandJumps.multiply[n] + tables::kRandJumps.add[n]);
  }
  for (int i = 0; i < tables::kDrawsPerSample; ++i) {
    for (int n = 0; n < kSubframe; ++n) {
      seeds[n] = static_cast<uint16_t>(seeds[n] * tables::kRandMultiplier + tables::kRandIncrement);
      sums[n] += static_cast<int16_t>(seeds[n]);
    }
  }
  for (int n = 0; n < kSubframe; ++n) {
    samples[n * lanes] = static_cast<int16_t>(sums[n] >> 7);
  }
  return {static_cast<int16_t>(first), static_cast<int16_t>(second), static_cast<int16_t>(third),
          static_cast<int16_t>(seeds[kSubframe - 1])};
}

// mulr for factors that are not both -32768.
template <class V>
CR_INLINE V mulr(V a, V b) {
  return sar<15>(mul16(a, b) + splat<V>(16384));
}

// B.4.1.2 and B.4.4: the level of a SID frame, or what the energy of the last frame suggests when none came.
template <class V>
CR_INLINE void noise_gain(State<V::kLanes> &state, const Work<V> &work) {
  const auto after_speech = eq(row<V>(state, kPastType), splat<V>(1)) & work.noisy;
  put(state, kSidGainRow, gather(tables::kSidGains.at, field<17, 5>(work.words[0])), work.sid);
  const auto guessed = after_speech & ~work.sid;
  if (any(guessed)) {
    // sid_sav has its leading bit in bit 14 (or is 0) and sid_sh is in [-15, 16]: the shift never saturates.
    const V sav = row<V>(state, kSidSav), sh = row<V>(state, kSidSh), zero = splat<V>(0);
    const V energy = sarv(shlv(sav, max(sh, zero)), max(zero - sh, zero));
    const Log2<V> level = log2(mpy32x16(energy, splat<V>(410)));
    const V q = shl<10>(level.exponent) + mulr(level.fraction_q15, splat<V>(1024));
    const V low_index = max(sar<15>(mul16(q + splat<V>(3401), splat<V>(24))), splat<V>(1));
    const V mid_index =
        max(sar<2>(sar<15>(mul16(q - splat<V>(340), splat<V>(193)))) - splat<V>(1), splat<V>(6));
    V index = select(gt(q, splat<V>(4762)), mid_index, low_index);
    index = select(gt(q, splat<V>(22111)), splat<V>(31), index) & splat<V>(31);
    put(state, kSidGainRow, gather(tables::kSidGains.at, index), guessed);
  }
  const V sid_gain = row<V>(state, kSidGainRow);
  const V smoothed = mulr(row<V>(state, kCurGain), splat<V>(28672)) + mulr(sid_gain, splat<V>(4096));
  put(state, kCurGain, select(after_speech, sid_gain, smoothed), work.noisy);
}

template <class V>
struct Pulses {
  V at[4];
  typename V::Mask plus[4];
};

template <class V, class Rows>
CR_INLINE V pulse_sum(const Pulses<V> &pulses, Rows value) {
  V b = splat<V>(0);
  for (int k = 0; k < 4; ++k) {
    const V x = value(pulses.at[k]);
    b = b + select(pulses.plus[k], x, splat<V>(0) - x);
  }
  return b;
}

// B.4.4, equation by equation as in the reference: the pulse gain that brings the energy to K. Returns the
// gain, and replaces the excitation by the gaussian part alone in lanes where the adaptive part already has
// too much energy. N10: nothing in here saturates for any seed and gain.
template <class V>
CR_INLINE V pulse_gain(V cur_gain, const Pulses<V> &pulses, const V *gaussian, V *mixed) {
  constexpr int kLanes = V::kLanes;
  V highest = splat<V>(0);
  for (int n = 0; n < kSubframe; ++n) {
    highest = max(highest, abs32(mixed[n]));
  }
  const V zero = splat<V>(0), one = splat<V>(1);
  V sh = max(splat<V>(3 + 16) - norm(highest), zero);
  sh = select(eq(highest, zero), zero, sh);
  V half_energy = zero;
  for (int n = 0; n < kSubframe; ++n) {
    const V x = sarv(mixed[n], sh);
    half_energy = half_energy + mul16(x, x);
  }
  auto at = [](const V *rows, V n) { return gather(as_table(rows), mul(n, splat<V>(kLanes)) + iota<V>()); };
  V b = pulse_sum(pulses, [&](V n) { return sarv(at(mixed, n), sh); });
  const V k = shl<1>(mul16(cur_gain, sar<6>(mul(cur_gain, splat<V>(80)))));
  V d = sarv(k, sh + sh + one) - shl<1>(half_energy);
  b = sar<1>(b);
  d = d + shl<1>(mul16(b, b));
  sh = sh + one;

  const auto dropped = lt(d, zero);
  if (any(dropped)) {
    for (int n = 0; n < kSubframe; ++n) {
      mixed[n] = select(dropped, gaussian[n], mixed[n]);
    }
    const V gaussian_b = pulse_sum(pulses, [&](V n) { return sar<1>(at(gaussian, n)); });
    b = select(dropped, gaussian_b, b);
    const V share = sar<1>(mpy32x16(k, splat<V>(24576)));
    d = select(dropped, share + shl<1>(mul16(gaussian_b, gaussian_b)), d);
    sh = select(dropped, one, sh);
  }
  V root = zero;
  for (int t = 16384; t >= 2; t >>= 1) {
    const V v = root + splat<V>(t);
    root = select(lt(d - shl<1>(madd(v, v)), zero), root, v);
  }
  V x = root - b;
  const V other = zero - (b + root);
  x = select(lt(abs32(other), abs32(x)), other, x);
  // A rounded right shift by 1, none, or a left shift.
  const V left = sh - splat<V>(2);
  const V g = select(lt(left, zero), sar<1>(x + one), shlv(x, max(left, zero)));
  return clamp(g, -5000, 5000);
}

template <class V>
CR_INLINE Pulses<V> noise_pulses(V r1, V r2) {
  const V one = splat<V>(1), five = splat<V>(5);
  Pulses<V> p;
  p.at[0] = mul16(field<8, 3>(r1), five);
  p.at[1] = mul16(field<12, 3>(r1), five) + one;
  p.at[2] = mul16(field<0, 3>(r2), five) + splat<V>(2);
  p.at[3] = mul16(field<5, 3>(r2), five) + splat<V>(3) + field<4, 1>(r2);
  p.plus[0] = eq(field<11, 1>(r1), one);
  p.plus[1] = eq(field<15, 1>(r1), one);
  p.plus[2] = eq(field<3, 1>(r2), one);
  p.plus[3] = eq(field<8, 1>(r2), one);
  return p;
}

// One subframe of noise excitation in every lane; only those in comfort noise mean anything.
template <class V>
__attribute__((noinline)) void noise_excitation(State<V::kLanes> &state, Work<V> &work, int s) {
  constexpr int kLanes = V::kLanes;
  alignas(64) int16_t drawn[3][kLanes] = {};
  alignas(64) int16_t samples[kSubframe][kLanes] = {};
  const uint32_t noisy = bits(work.noisy);
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((noisy >> lane) & 1) {
      const NoiseDraw draw = draw_noise(state.word[kSeed][lane], &samples[0][lane], kLanes);
      drawn[0][lane] = draw.first;
      drawn[1][lane] = draw.second;
      drawn[2][lane] = draw.third;
      state.word[kSeed][lane] = draw.last;
    }
  }
  const V r1 = load16<V>(drawn[0]), r2 = load16<V>(drawn[1]), zero = splat<V>(0);
  V gaussian[kSubframe], mixed[kSubframe];
  V energy = zero;
  for (int n = 0; n < kSubframe; ++n) {
    gaussian[n] = load16<V>(samples[n]);
    energy = energy + mul16(gaussian[n], gaussian[n]);
  }
  const V cur_gain = row<V>(state, kCurGain);
  const V scale = mpy32x16(inverse_sqrt(energy), cur_gain + mulr(cur_gain, splat<V>(19043)));
  const V h = norm(scale);
  const V m = sar<16>(shlv(scale, h));
  const V right = max(h - splat<V>(14), zero), left = max(splat<V>(14) - h, zero);
  for (int n = 0; n < kSubframe; ++n) {
    gaussian[n] = sar<1>(sarv(shl<1>(shlv(mulr(gaussian[n], m), left)), right) + splat<V>(1));
  }

  V *x = work.exc(kSubframe * s);
  V frac = field<0, 2>(r1) - splat<V>(1);
  frac = select(eq(frac, splat<V>(2)), zero, frac);
  adaptive_codebook(field<2, 6>(r1) + splat<V>(40), frac, x);
  const V pitch_gain = shl<1>(load16<V>(drawn[2]) & splat<V>(0x1FFF));
  for (int n = 0; n < kSubframe; n += 2) {
    mixed[n] = mulr(low(x[n]), pitch_gain) + gaussian[n];
    mixed[n + 1] = mulr(high(x[n]), pitch_gain) + gaussian[n + 1];
  }
  const Pulses<V> pulses = noise_pulses(r1, r2);
  const V g = pulse_gain(cur_gain, pulses, gaussian, mixed);
  for (int n = 0; n < kSubframe; ++n) {
    const int k = n % 5 < 3 ? n % 5 : 3;
    const V signed_gain = select(pulses.plus[k], g, zero - g);
    mixed[n] = mixed[n] + select(eq(pulses.at[k], splat<V>(n)), signed_gain, zero);
  }
  for (int n = 0; n < kSubframe; n += 2) {
    x[n] = pair(sat(mixed[n]), sat(mixed[n + 1]));
    x[n - 1] = between(x[n - 2], x[n]);
    work.noise[(kSubframe * s + n) / 2] = x[n];
  }
  x[kSubframe - 1] = swap(x[kSubframe - 2]);
}

}  // namespace callreplay::CR_ISA::g729
