// The G.722 decoder (ITU-T G.722 (09/2012), clauses 4 and 6.2) on lanes of int16: one stream per lane.
//
// A block of octets goes through four passes, each with a working set that fits the registers: inverse
// quantisers, low-band predictor, high-band predictor, receive QMF. That is possible because only the
// last step of a predictor depends on what it has reconstructed; scale factors and zero sections depend
// on the payload alone.
#pragma once

#include <cstring>

#include "decode/g722/g722_tables.h"
#include "lanes/i16.h"
#include "lanes/transpose.h"

namespace callreplay::CR_ISA::g722 {

using namespace callreplay::g722;

inline constexpr int kBlock = 32;  // octets; all scratch of one block of 32 lanes stays within 32 KiB
inline constexpr int kTaps = 6;    // zeros of a predictor
inline constexpr int kDelay = 11;  // earlier values the QMF looks back on

// Between blocks. Every member is made of Lanes<int16_t, N>, and all zero is the state after a reset: the
// scale factors 32 and 8 follow from a logarithm of 0.
// The recursive part of a predictor: what depends on the signal itself.
template <class V>
struct Poles {
  V estimate;            // SL, SH
  V zero_estimate;       // SZL, SZH
  V a1, a2;              // AL1, AL2
  V twice;               // 2 RLT, saturated
  V partial1, partial2;  // PLT, newest first
};

template <int N>
struct Band {
  using V = Lanes<int16_t, N>;
  Poles<V> poles;
  V log_scale;          // NBL, NBH
  V zero[kTaps];        // BL, BH, oldest difference first
  V difference[kTaps];  // DLT, oldest first
};

template <int N>
struct alignas(64) State {
  Band<N> low, high;
  Lanes<int16_t, N> difference[kDelay], sum[kDelay];  // XD and XS, oldest first
};

// A state is rows of one int16 a lane.
template <int N>
inline constexpr size_t kStateRows = (2 * sizeof(Band<N>) + 2 * kDelay * sizeof(Lanes<int16_t, N>)) /
                                     sizeof(Lanes<int16_t, N>);

template <int N>
void save_lane(const void *state, int lane, void *stream) {
  const auto *rows = static_cast<const int16_t *>(state);
  auto *to = static_cast<int16_t *>(stream);
  for (size_t r = 0; r < kStateRows<N>; ++r) {
    to[r] = rows[r * N + static_cast<size_t>(lane)];
  }
}

template <int N>
void load_lane(void *state, int lane, const void *stream) {
  auto *rows = static_cast<int16_t *>(state);
  const auto *from = static_cast<const int16_t *>(stream);
  for (size_t r = 0; r < kStateRows<N>; ++r) {
    rows[r * N + static_cast<size_t>(lane)] = from[r];
  }
}

// Give the lanes of `mask` their earlier state back.
template <int N>
inline void restore(State<N> &state, const State<N> &before, const Lanes<int16_t, N> &mask) {
  using V = Lanes<int16_t, N>;
  V *now = reinterpret_cast<V *>(&state);
  const V *then = reinterpret_cast<const V *>(&before);
  for (size_t i = 0; i < sizeof(State<N>) / sizeof(V); ++i) now[i] = select(mask, then[i], now[i]);
}

// The scratch of a block. The arrays of one band have kTaps values of history before the block.
template <int N>
struct Scratch {
  using V = Lanes<int16_t, N>;
  alignas(64) uint8_t octets[kBlock * N];
  alignas(64) V low[kTaps + kBlock], high[kTaps + kBlock];  // DLT and DH
  V fine[kBlock];                               // DL of 6, 5 or 4 bits, the output's difference signal
  V low_zero[kBlock], high_zero[kBlock];        // SZL and SZH after each octet
  V low_out[kBlock + 8], high_out[kBlock + 8];  // RL and RH; the QMF of one stream works in steps of 8
  bool loud;                                    // a low-band difference does not fit 14 bits
};

// Blocks SCALEL and SCALEH, kept as -2 DET: DET reaches 16384, so 2 DET would not fit, and (DET * QM) >> 15
// is the high half of (-2 DET) * (-QM), one multiplication.
template <int N, int K, int L>
CR_LANE Lanes<int16_t, N> detector(const Lanes<int16_t, N> &log_scale, const Lut<N, K> &ilb,
                                   const Lut<N, L> &power) {
  using V = Lanes<int16_t, N>;
  const V mantissa = ilb(sar<6>(log_scale) & splat<V>(31));
  return mulhi(mantissa, power(sar<11>(log_scale))) * splat<V>(-8);
}

// Blocks LOGSCL and LOGSCH; x - x / 128 is (x * 32512) >> 15.
template <int N>
CR_LANE Lanes<int16_t, N> next_log_scale(const Lanes<int16_t, N> &x, const Lanes<int16_t, N> &w,
                                         int16_t top) {
  using V = Lanes<int16_t, N>;
  return clamp(x + mulhi(x, splat<V>(-512)) + w, splat<V>(0), splat<V>(top));
}

// Blocks INVQAL, INVQBL and INVQAH over a block.
template <int mode, int N>
inline void dequantise(State<N> &state, Scratch<N> &s, int count) {
  using V = Lanes<int16_t, N>;
  const Lut<N, 64> qm6(kNegatedQm6);
  const Lut<N, 32> qm5(kNegatedQm5), ilb(kIlbQ3);
  const Lut<N, 16> qm4(kNegatedQm4), qm2(kNegatedQm2), wl(kWl), wh(kWh), low_power(kLowPower),
      high_power(kHighPower);
  V low_scale = state.low.log_scale, high_scale = state.high.log_scale;
  V peak = splat<V>(0);
  for (int i = 0; i < kTaps; ++i) {
    s.low[i] = state.low.difference[i];
    s.high[i] = state.high.difference[i];
    peak = max(peak, max(s.low[i], splat<V>(0) - s.low[i]));
  }
  for (int t = 0; t < count; ++t) {
    const V octet = load_octets<V>(s.octets + t * N);
    const V coarse = sar<2>(octet) & splat<V>(15);
    const V low_detector = detector(low_scale, ilb, low_power);
    const V low = mulhi(low_detector, qm4(coarse));
    if constexpr (mode == 0) s.fine[t] = mulhi(low_detector, qm6(octet & splat<V>(63)));
    if constexpr (mode == 1) s.fine[t] = mulhi(low_detector, qm5(sar<1>(octet) & splat<V>(31)));
    if constexpr (mode == 2) s.fine[t] = low;
    s.low[kTaps + t] = low;
    peak = max(peak, max(low, splat<V>(0) - low));
    low_scale = next_log_scale(low_scale, wl(coarse), 18432);

    const V high_code = sar<6>(octet);
    s.high[kTaps + t] = mulhi(detector(high_scale, ilb, high_power), qm2(high_code));
    high_scale = next_log_scale(high_scale, wh(high_code), 22528);
  }
  for (int i = 0; i < kTaps; ++i) {
    state.low.difference[i] = s.low[count + i];
    state.high.difference[i] = s.high[count + i];
  }
  state.low.log_scale = low_scale;
  state.high.log_scale = high_scale;
  s.loud = any(peak > splat<V>(8191));
}

// One coefficient of block UPZERO: B - B / 256 +- 128. It cannot leave int16: 32767 * 255 / 256 + 128 <
// 32768.
template <int N>
CR_LANE Lanes<int16_t, N> next_zero(const Lanes<int16_t, N> &b, const Lanes<int16_t, N> &step,
                                    const Lanes<int16_t, N> &factor) {
  return b + mulhi(b, splat<Lanes<int16_t, N>>(-256)) + times_sign(step, factor);
}

// Blocks UPZERO and FILTEZ of one band: zero_estimate[t] is SZ after the octet t. (2 D * B) >> 15 is one
// multiplication unless 4 D may leave int16 (kLoud).
template <bool kLoud, int N>
inline void zero_section(Band<N> &band, const Lanes<int16_t, N> *difference, Lanes<int16_t, N> *zero_estimate,
                         int count) {
  using V = Lanes<int16_t, N>;
  V scaled[kTaps + kBlock], factor[kTaps + kBlock], b[kTaps];
  for (int i = 0; i < kTaps; ++i) {
    b[i] = band.zero[i];
    scaled[i] = kLoud ? shl<1>(difference[i]) : shl<2>(difference[i]);
    factor[i] = sign_factor(difference[i]);
  }
  for (int t = 0; t < count; ++t) {
    const V newest = difference[kTaps + t];
    scaled[kTaps + t] = kLoud ? shl<1>(newest) : shl<2>(newest);
    factor[kTaps + t] = sign_factor(newest);
    const V step = step_towards(newest, 128);
    V sum = splat<V>(0);
    for (int i = 0; i < kTaps; ++i) {
      b[i] = next_zero(b[i], step, factor[t + i]);
      if constexpr (kLoud) {
        sum = sadd(sum, mul15(scaled[t + 1 + i], b[i]));
      } else {
        sum = sadd(sum, mulhi(scaled[t + 1 + i], b[i]));
      }
    }
    zero_estimate[t] = sum;
  }
  for (int i = 0; i < kTaps; ++i) band.zero[i] = b[i];
}

template <int N>
inline void zero_sections(State<N> &state, Scratch<N> &s, int count) {
  if (s.loud) {
    zero_section<true>(state.low, s.low, s.low_zero, count);
  } else {
    zero_section<false>(state.low, s.low, s.low_zero, count);
  }
  // |DH| is at most 3704, so the high band is never loud.
  zero_section<false>(state.high, s.high, s.high_zero, count);
}

// Blocks PARREC, RECONS, UPPOL2, UPPOL1, FILTEP and PREDIC for one octet: `coarse` adapts, `zero_estimate` is
// the new SZ. Returns the estimate plus `fine`, limited: RL or RH.
template <class V>
CR_LANE V step_poles(Poles<V> &p, const V &coarse, const V &fine, const V &zero_estimate) {
  const V out = clamp(sadd(p.estimate, fine), splat<V>(-16384), splat<V>(16383));
  const V partial = sadd(coarse, p.zero_estimate);
  const V differs1 = sign(partial ^ p.partial1), differs2 = sign(partial ^ p.partial2);
  p.partial2 = p.partial1;
  p.partial1 = partial;
  p.zero_estimate = zero_estimate;
  // UPPOL2: beyond 8191, 4 A1 is saturated, so limiting A1 first gives the same.
  const V from_a1 = sar<5>(negate_if(clamp(p.a1, splat<V>(-8191), splat<V>(8191)), differs1 ^ splat<V>(-1)));
  p.a2 = p.a2 + mulhi(p.a2, splat<V>(-512)) + from_a1 + (splat<V>(128) - (differs2 & splat<V>(256)));
  p.a2 = clamp(p.a2, splat<V>(-12288), splat<V>(12288));
  // UPPOL1
  const V limit = splat<V>(15360) - p.a2;
  p.a1 = clamp(p.a1 + mulhi(p.a1, splat<V>(-256)) + (splat<V>(192) - (differs1 & splat<V>(384))),
               splat<V>(0) - limit, limit);

  const V reconstructed = sadd(p.estimate, coarse);
  const V twice = sadd(reconstructed, reconstructed);
  // A2 is within 12288, so doubling it spares the full mul15.
  p.estimate = sadd(sadd(mul15(p.a1, twice), mulhi(shl<1>(p.a2), p.twice)), zero_estimate);
  p.twice = twice;
  return out;
}

template <int N>
inline void pole_sections(State<N> &state, Scratch<N> &s, int count) {
  using V = Lanes<int16_t, N>;
  Poles<V> low = state.low.poles, high = state.high.poles;
  for (int t = 0; t < count; ++t) {
    s.low_out[t] = step_poles(low, s.low[kTaps + t], s.fine[t], s.low_zero[t]);
    const V d = s.high[kTaps + t];
    s.high_out[t] = step_poles(high, d, d, s.high_zero[t]);
  }
  state.low.poles = low;
  state.high.poles = high;
}

// The receive QMF (block RECA, RECB, ACCUMC, ACCUMD) of a block: pcm[2 t] and pcm[2 t + 1] for octet t.
// Sums stay below 2^28: the absolute coefficients add up to 6482, the inputs are within int16 (two values
// of 15 bits each).
template <int N>
inline void synthesise(State<N> &state, const Scratch<N> &s, int16_t *const *pcm, size_t at, int count) {
  using V = Lanes<int16_t, N>;
  // pair[i] holds times i - 11 and i - 10 of the block.
  Pairs<N> difference[kDelay - 1 + kBlock], sum[kDelay - 1 + kBlock];
  for (int i = 0; i < kDelay - 1; ++i) {
    difference[i] = pairs(state.difference[i], state.difference[i + 1]);
    sum[i] = pairs(state.sum[i], state.sum[i + 1]);
  }
  V last_difference = state.difference[kDelay - 1], last_sum = state.sum[kDelay - 1];
  for (int t = 0; t < count; t += 4) {
    V samples[8];
    for (int u = 0; u < 4; ++u) {
      const V low = s.low_out[t + u], high = s.high_out[t + u];
      const V new_difference = low - high, new_sum = low + high;
      difference[kDelay - 1 + t + u] = pairs(last_difference, new_difference);
      sum[kDelay - 1 + t + u] = pairs(last_sum, new_sum);
      last_difference = new_difference;
      last_sum = new_sum;
      Wide<N> first, second;
      clear(first);
      clear(second);
      for (int i = 0; i < 12; i += 2) {
        mac(first, difference[t + u + i], kQmf[11 - i], kQmf[10 - i]);
        mac(second, sum[t + u + i], kQmf[i], kQmf[i + 1]);
      }
      samples[2 * u] = narrow<11>(first);
      samples[2 * u + 1] = narrow<11>(second);
    }
    scatter_samples<N>(samples, pcm, at + 2 * t);
  }
}

// `count` octets of every lane, at most kBlock, from s.octets to pcm[lane][at...]. A short block writes up to
// kBlock * 2 samples all the same; those beyond 2 * count mean nothing.
template <int mode, int N>
inline void decode_block(State<N> &state, Scratch<N> &s, int16_t *const *pcm, size_t at, int count) {
  using V = Lanes<int16_t, N>;
  dequantise<mode>(state, s, count);
  zero_sections(state, s, count);
  pole_sections(state, s, count);
  for (int t = count; t < ((count + 7) & ~7); ++t) s.low_out[t] = s.high_out[t] = splat<V>(0);
  synthesise(state, s, pcm, at, count);
  for (int i = 0; i < kDelay; ++i) {
    const int from = count + i;
    state.difference[i] =
        from < kDelay ? state.difference[from] : s.low_out[from - kDelay] - s.high_out[from - kDelay];
    state.sum[i] = from < kDelay ? state.sum[from] : s.low_out[from - kDelay] + s.high_out[from - kDelay];
  }
}

// Where lanes without a payload read and write, and what an end shorter than a block goes through.
template <int N>
struct Stage {
  alignas(64) uint8_t octets[N][kBlock];
  alignas(64) int16_t pcm[N][2 * kBlock];
};

// `count` octets of every lane, at most kBlock, from `from` to `to`.
template <int mode, int N>
inline void decode_staged(State<N> &state, Scratch<N> &s, const uint8_t *const *from, int16_t *const *to,
                          int count) {
  Stage<N> stage;
  std::memset(stage.octets, 0, sizeof stage.octets);
  const uint8_t *staged[N];
  int16_t *heard[N];
  for (int lane = 0; lane < N; ++lane) {
    std::memcpy(stage.octets[lane], from[lane], static_cast<size_t>(count));
    staged[lane] = stage.octets[lane];
    heard[lane] = stage.pcm[lane];
  }
  gather_octets<N>(staged, 0, s.octets);
  gather_octets<N>(staged, 16, s.octets + 16 * N);
  decode_block<mode>(state, s, heard, 0, count);
  for (int lane = 0; lane < N; ++lane) {
    std::memcpy(to[lane], stage.pcm[lane], 2 * sizeof(int16_t) * static_cast<size_t>(count));
  }
}

template <int mode, int N>
inline void decode_mode(State<N> &state, const uint8_t *const *payload, int16_t *const *pcm, int octets) {
  Scratch<N> s;
  State<N> before;
  alignas(64) int16_t idle[N];
  alignas(64) const uint8_t silence[kBlock] = {};
  alignas(64) int16_t unheard[2 * kBlock];
  const uint8_t *from[N];
  int16_t *to[N];
  size_t step[N];  // a lane without a payload stays where it is
  bool some_idle = false;
  for (int lane = 0; lane < N; ++lane) {
    const bool idles = payload[lane] == nullptr;
    idle[lane] = idles ? -1 : 0;
    from[lane] = idles ? silence : payload[lane];
    to[lane] = idles ? unheard : pcm[lane];
    step[lane] = idles ? 0 : kBlock;
    some_idle |= idles;
  }
  if (some_idle) before = state;
  size_t left = octets > 0 ? static_cast<size_t>(octets) : 0;
  for (; left >= kBlock; left -= kBlock) {
    gather_octets<N>(from, 0, s.octets);
    gather_octets<N>(from, 16, s.octets + 16 * N);
    decode_block<mode>(state, s, to, 0, kBlock);
    for (int lane = 0; lane < N; ++lane) {
      from[lane] += step[lane];
      to[lane] += 2 * step[lane];
    }
  }
  if (left > 0) decode_staged<mode>(state, s, from, to, static_cast<int>(left));
  if (some_idle) restore(state, before, load<Lanes<int16_t, N>>(idle));
}

template <int N>
void decode(void *opaque, int mode, const uint8_t *const *payload, int16_t *const *pcm, int octets) {
  State<N> &state = *static_cast<State<N> *>(opaque);
  switch (mode) {
    case 0:
      return decode_mode<0>(state, payload, pcm, octets);
    case 1:
      return decode_mode<1>(state, payload, pcm, octets);
    default:
      return decode_mode<2>(state, payload, pcm, octets);
  }
}

template <int N>
void reset(void *opaque, int lane) {
  unsigned char *value = static_cast<unsigned char *>(opaque) + sizeof(int16_t) * static_cast<size_t>(lane);
  for (size_t i = 0; i < sizeof(State<N>); i += sizeof(int16_t) * N)
    std::memset(value + i, 0, sizeof(int16_t));
}

}  // namespace callreplay::CR_ISA::g722
