// G.729 Annex B.4.4: comfort noise, the gain of SID and untransmitted frames and the excitation made from it.
#pragma once

#include "decode/g729/filters.h"
#include "decode/g729/numbers.h"

namespace callreplay::CR_ISA::g729 {

// The random numbers of one subframe of one stream: three for the pulses and the lag, then twelve for each of
// 40 gaussian samples, written to `samples` at a stride of `lanes`. The generator is linear, so all samples
// advance side by side from seeds that lie twelve draws apart. The sum of twelve draws >> 7, cut to 16 bits,
// is all that is wanted: the sum of (draw >> 7) plus what the low seven bits carry, which are the sum less
// 128 times the former.
struct NoiseDraw {
  int16_t first, second, third, last;
};
inline NoiseDraw draw_noise(int16_t seed, int16_t *samples, int lanes) {
  constexpr int kPadded = 48;
  auto next = [](uint32_t s) { return (s * tables::kRandMultiplier + tables::kRandIncrement) & 0xFFFF; };
  const uint32_t first = next(static_cast<uint16_t>(seed)), second = next(first), third = next(second);
  alignas(64) uint16_t seeds[kPadded], sums[kPadded] = {}, sevenths[kPadded] = {};
  for (int n = 0; n < kPadded; ++n) {
    seeds[n] = static_cast<uint16_t>(third * tables::kRandJumps.multiply[n] + tables::kRandJumps.add[n]);
  }
  for (int i = 0; i < tables::kDrawsPerSample; ++i) {
    for (int n = 0; n < kPadded; ++n) {
      seeds[n] = static_cast<uint16_t>(next(seeds[n]));
      sums[n] = static_cast<uint16_t>(sums[n] + seeds[n]);
      sevenths[n] = static_cast<uint16_t>(sevenths[n] + (static_cast<int16_t>(seeds[n]) >> 7));
    }
  }
  for (int n = 0; n < kPadded; ++n) {
    const auto carried = static_cast<uint16_t>(sums[n] - (sevenths[n] << 7));
    sums[n] = static_cast<uint16_t>(sevenths[n] + (carried >> 7));
  }
  for (int n = 0; n < kSubframe; ++n) {
    samples[n * lanes] = static_cast<int16_t>(sums[n]);
  }
  return {static_cast<int16_t>(first), static_cast<int16_t>(second), static_cast<int16_t>(third),
          static_cast<int16_t>(seeds[kSubframe - 1])};
}

// mulr for factors that are not both -32768.
template <class V>
CR_LANE V mulr(V a, V b) {
  return sar<15>(mul16(a, b) + splat<V>(16384));
}

// B.4.1.2 and B.4.4: the level of a SID frame, or what the energy of the last frame suggests when none came.
template <class V>
CR_LANE void noise_gain(State<V::kLanes> &state, const Work<V> &work) {
  const auto after_speech = (row<V>(state, kPastType) == splat<V>(1)) & work.noisy;
  put(state, kSidGainRow, look_up(tables::kSidGains.at, field<17, 5>(work.words[0])), work.sid);
  const auto guessed = after_speech & !work.sid;
  if (any(guessed)) {
    // sid_sav has its leading bit in bit 14 (or is 0) and sid_sh is in [-15, 16]: the shift never saturates.
    const V sav = row<V>(state, kSidSav), sh = row<V>(state, kSidSh), zero = splat<V>(0);
    const V energy = sar_each(shl_each(sav, max(sh, zero)), max(zero - sh, zero));
    const Log2<V> level = log2(mpy32x16(energy, splat<V>(410)));
    const V q = shl<10>(level.exponent) + mulr(level.fraction_q15, splat<V>(1024));
    const V low_index = max(sar<15>(mul16(q + splat<V>(3401), splat<V>(24))), splat<V>(1));
    const V mid_index =
        max(sar<2>(sar<15>(mul16(q - splat<V>(340), splat<V>(193)))) - splat<V>(1), splat<V>(6));
    V index = select(q > splat<V>(4762), mid_index, low_index);
    index = select(q > splat<V>(22111), splat<V>(31), index) & splat<V>(31);
    put(state, kSidGainRow, look_up(tables::kSidGains.at, index), guessed);
  }
  const V sid_gain = row<V>(state, kSidGainRow);
  const V smoothed = mulr(row<V>(state, kCurGain), splat<V>(28672)) + mulr(sid_gain, splat<V>(4096));
  put(state, kCurGain, select(after_speech, sid_gain, smoothed), work.noisy);
}

template <class V>
struct Pulses {
  V at[4];
  MaskOf<V> plus[4];
};

// Four pulses, one on each track n % 5 = 0, 1, 2 and the last on 3 or 4: rows c[0..39].
template <class V>
CR_LANE void place_pulses(const V *at, const V *amplitude, V *c) {
  const V zero = splat<V>(0), one = splat<V>(1);
  V here = zero;
  for (int n = 0; n < kSubframe; n += 5) {
    for (int k = 0; k < 4; ++k) {
      c[n + k] = select(at[k] == here, amplitude[k], zero);
      here = here + one;
    }
    c[n + 4] = select(at[3] == here, amplitude[3], zero);
    here = here + one;
  }
}

// What a noise subframe knows before its adaptive part: 20 pairs of scaled gaussian samples and
// the random choices.
template <class V>
struct NoiseSubframe {
  V lag, frac, pitch_gain_q15;
  Pulses<V> pulses;
  V gaussian[kSubframe / 2];
};

template <class V>
CR_LANE Pulses<V> noise_pulses(V r1, V r2) {
  const V one = splat<V>(1), five = splat<V>(5);
  Pulses<V> p;
  p.at[0] = mul16(field<8, 3>(r1), five);
  p.at[1] = mul16(field<12, 3>(r1), five) + one;
  p.at[2] = mul16(field<0, 3>(r2), five) + splat<V>(2);
  p.at[3] = mul16(field<5, 3>(r2), five) + splat<V>(3) + field<4, 1>(r2);
  p.plus[0] = field<11, 1>(r1) == one;
  p.plus[1] = field<15, 1>(r1) == one;
  p.plus[2] = field<3, 1>(r2) == one;
  p.plus[3] = field<8, 1>(r2) == one;
  return p;
}

// Draws for the lanes of `where`; the others get numbers that mean nothing. N10: nothing saturates for any
// seed and gain, and the final shift right is by -2 .. 13, which a rounded product with a power of two does.
template <class V>
CR_LANE void noise_begin(State<V::kLanes> &state, MaskOf<V> where, NoiseSubframe<V> &noise) {
  constexpr int kLanes = V::kLanes;
  alignas(64) int16_t drawn[3][kLanes] = {};
  alignas(64) int16_t samples[kSubframe][kLanes] = {};
  const uint32_t lanes = bits(where);
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((lanes >> lane) & 1) {
      const NoiseDraw draw = draw_noise(state.word[kSeed][lane], &samples[0][lane], kLanes);
      drawn[0][lane] = draw.first;
      drawn[1][lane] = draw.second;
      drawn[2][lane] = draw.third;
      state.word[kSeed][lane] = draw.last;
    }
  }
  const V r1 = load16<V>(drawn[0]), r2 = load16<V>(drawn[1]), zero = splat<V>(0);
  noise.lag = field<2, 6>(r1) + splat<V>(40);
  noise.frac = field<0, 2>(r1) - splat<V>(1);
  noise.frac = select(noise.frac == splat<V>(2), zero, noise.frac);
  noise.pitch_gain_q15 = shl<1>(load16<V>(drawn[2]) & splat<V>(0x1FFF));
  noise.pulses = noise_pulses(r1, r2);

  V energy = zero;
  for (int i = 0; i < kSubframe / 2; ++i) {
    noise.gaussian[i] = load_pairs<V>(samples[2 * i]);
    energy = energy + madd(noise.gaussian[i], noise.gaussian[i]);
  }
  const V cur_gain = row<V>(state, kCurGain);
  const V scale = mpy32x16(inverse_sqrt(energy), cur_gain + mulr(cur_gain, splat<V>(19043)));
  const V h = norm(scale);
  const V m = both(sar<16>(shl_each(scale, h)));
  const V right = min(max(h - splat<V>(14), zero), splat<V>(15)), left = max(splat<V>(14) - h, zero);
  const V power = both(sar_each(splat<V>(32768), right) & splat<V>(0x7FFF));
  const auto down = right > zero, up = left > zero, up_twice = left > splat<V>(1);
  for (V &pairs : noise.gaussian) {
    const V normal = mulr16(pairs, m);
    V scaled = select(down, mulr16(normal, power), normal);
    scaled = select(up, adds16(scaled, scaled), scaled);
    pairs = select(up_twice, adds16(scaled, scaled), scaled);
  }
}

// The sample at a place of each lane's own, of rows of pairs.
template <class V>
CR_LANE V sample_at(const V *pairs, V place) {
  const V both_samples = gather(as_table(pairs), shr<1>(place) * splat<V>(V::kLanes) + iota<V>());
  return select((place & splat<V>(1)) == splat<V>(1), high(both_samples), low(both_samples));
}

template <class V>
CR_LANE V pulse_sum(const Pulses<V> &pulses, const V *pairs) {
  V b = splat<V>(0);
  for (int k = 0; k < 4; ++k) {
    const V x = sample_at(pairs, pulses.at[k]);
    b = b + select(pulses.plus[k], x, splat<V>(0) - x);
  }
  return b;
}

// The largest even r below 2^15 with 2 r^2 <= d.
template <class V>
CR_LANE V pulse_root(V d) {
  V root = splat<V>(0);
  for (int t = 16384; t >= 2; t >>= 1) {
    const V v = root + splat<V>(t);
    root = select(d - shl<1>(madd(v, v)) < splat<V>(0), root, v);
  }
  return root;
}

// B.4.4, step by step as in the reference: the pulse gain that brings the energy to K. Returns the
// gain, and replaces the excitation by the gaussian part alone in lanes where the adaptive part already
// has too much energy.
template <class V>
CR_LANE V pulse_gain(V cur_gain, const Pulses<V> &pulses, const V *gaussian, V *mixed) {
  const V zero = splat<V>(0), one = splat<V>(1);
  V width = zero;
  for (int i = 0; i < kSubframe / 2; ++i) {
    width = widest(width, mixed[i]);
  }
  const V highest = peak(width);
  V sh = max(splat<V>(3 + 16) - norm(highest), zero);
  sh = select(highest == zero, zero, sh);
  const V power = both(sar_each(splat<V>(32768), sh) & splat<V>(0x7FFF));
  const auto shifted = sh > zero;
  V scaled[kSubframe / 2], half_energy = zero;
  for (int i = 0; i < kSubframe / 2; ++i) {
    scaled[i] = select(shifted, mul15_16(mixed[i], power), mixed[i]);
    half_energy = half_energy + madd(scaled[i], scaled[i]);
  }
  V b = pulse_sum(pulses, scaled);
  const V k = shl<1>(mul16(cur_gain, sar<6>(cur_gain * splat<V>(80))));
  V d = sar_each(k, sh + sh + one) - shl<1>(half_energy);
  b = sar<1>(b);
  d = d + shl<1>(mul16(b, b));
  sh = sh + one;

  const auto dropped = d < zero;
  if (any(dropped)) {
    for (int i = 0; i < kSubframe / 2; ++i) {
      mixed[i] = select(dropped, gaussian[i], mixed[i]);
      scaled[i] = sar16<1>(gaussian[i]);
    }
    const V gaussian_b = pulse_sum(pulses, scaled);
    b = select(dropped, gaussian_b, b);
    const V share = sar<1>(mpy32x16(k, splat<V>(24576)));
    d = select(dropped, share + shl<1>(mul16(gaussian_b, gaussian_b)), d);
    sh = select(dropped, one, sh);
  }
  const V root = pulse_root(d);
  V x = root - b;
  const V other = zero - (b + root);
  x = select(abs(other) < abs(x), other, x);
  // A rounded right shift by 1, none, or a left shift.
  const V left = sh - splat<V>(2);
  const V g = select(left < zero, sar<1>(x + one), shl_each(x, max(left, zero)));
  return clamp(g, -5000, 5000);
}

// The noise of a subframe, 20 pairs, from its adaptive part, the rows `x`.
template <class V>
CR_LANE void noise_end(const State<V::kLanes> &state, const NoiseSubframe<V> &noise, const V *x, V *out) {
  const V pitch_gain = both(noise.pitch_gain_q15);
  for (int i = 0; i < kSubframe / 2; ++i) {
    out[i] = adds16(mulr16(x[2 * i], pitch_gain), noise.gaussian[i]);
  }
  const V g = pulse_gain(row<V>(state, kCurGain), noise.pulses, noise.gaussian, out), zero = splat<V>(0);
  V signed_gain[4];
  for (int k = 0; k < 4; ++k) {
    signed_gain[k] = select(noise.pulses.plus[k], g, zero - g);
  }
  V pulses[kSubframe];
  place_pulses(noise.pulses.at, signed_gain, pulses);
  for (int i = 0; i < kSubframe / 2; ++i) {
    out[i] = adds16(out[i], cross(shl<16>(pulses[2 * i + 1]), pulses[2 * i]));
  }
}

}  // namespace callreplay::CR_ISA::g729
