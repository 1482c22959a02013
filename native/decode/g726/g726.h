// The G.726 decoder (ITU-T G.726 (12/1990), clause 4, with the linear output of Annex A) on lanes of 32 bits:
// one stream a lane. The names in capitals are the recommendation's. Its words have up to 19 bits; those of
// 16 wrap where the recommendation's do.
//
// The four rates differ in the table of a code's levels and in how fast the zeros leak, so a group of streams
// has one rate. What a code stands for depends on nothing else: it is looked up a lane at a time as codes are
// brought from streams into lanes.
#pragma once

#include <cstring>

#include "decode/g726/g726_tables.h"
#include "lanes/i32.h"

namespace callreplay::CR_ISA::g726 {

using namespace callreplay::g726;

inline constexpr int kZeros = 6;
inline constexpr int kPoles = 2;
inline constexpr int kStep = 8;  // samples that are stored together

// A word of the recommendation's floating point: 32 <= mantissa < 64, `exponent` is 2 more than its exponent
// (see product()), `sign` is a mask.
template <class V>
struct Float {
  V mantissa, exponent, sign;
};

// What goes on from sample to sample; every member is made of V.
template <class V>
struct Signals {
  Float<V> difference[kZeros];      // DQ1 to DQ6
  Float<V> reconstructed[kPoles];   // SR1, SR2
  V zero[kZeros];                   // B1 to B6
  V pole[kPoles];                   // A1, A2
  V sign[kPoles];                   // PK1, PK2, masks
  V fast_scale, slow_scale, scale;  // YU, YL, Y
  V fast_speed, slow_speed, speed;  // DMS, DML, AP
  V tone;                           // TD, a mask
  V estimate, zero_estimate;        // SE, SEZ of the next sample
};

inline constexpr int kRows = sizeof(Signals<int32_t>) / sizeof(int32_t);

template <int N>
struct alignas(64) State {
  int32_t word[kRows][N];
};

template <int N>
void reset(void *opaque, int lane) {
  Signals<int32_t> start{};
  for (auto &each : start.difference) each = {32, 2, 0};
  for (auto &each : start.reconstructed) each = {32, 2, 0};
  start.fast_scale = start.scale = 544;
  start.slow_scale = 34816;
  int32_t rows[kRows];
  std::memcpy(rows, &start, sizeof rows);
  auto &state = *static_cast<State<N> *>(opaque);
  for (int r = 0; r < kRows; ++r) state.word[r][lane] = rows[r];
}

template <int N>
void save_lane(const void *opaque, int lane, void *stream) {
  const auto &state = *static_cast<const State<N> *>(opaque);
  auto *to = static_cast<int32_t *>(stream);
  for (int r = 0; r < kRows; ++r) to[r] = state.word[r][lane];
}

template <int N>
void load_lane(void *opaque, int lane, const void *stream) {
  auto &state = *static_cast<State<N> *>(opaque);
  const auto *from = static_cast<const int32_t *>(stream);
  for (int r = 0; r < kRows; ++r) state.word[r][lane] = from[r];
}

// -1 where the mask is set.
template <class V>
CR_LANE V filled(MaskOf<V> mask) {
  return select(mask, splat<V>(-1), splat<V>(0));
}

// FLOATA, FLOATB and the first half of FMULT: a magnitude of 15 bits. Doubling it lets 0 be what the
// recommendation makes of it, a mantissa of 32 with the exponent 0, without a case of its own.
template <class V>
CR_LANE V normalised(V magnitude, V &shifts) {
  const V doubled = max(shl<1>(magnitude), splat<V>(1));
  shifts = norm(doubled);
  return shr<25>(shl_each(doubled, shifts));
}

template <class V>
CR_LANE Float<V> to_float(V magnitude, V sign) {
  V shifts;
  const V mantissa = normalised(magnitude, shifts);
  return {mantissa, splat<V>(32) - shifts, sign};
}

// FMULT. Its exponents add up to at most 28 = 13 + 15, so the right shift of the product, which the
// recommendation does in two directions, is one of 28 less their sum from a product 2^2 larger.
template <class V>
CR_LANE V product(V coefficient, const Float<V> &tap) {
  V shifts;
  const V mantissa = normalised(abs(sar<2>(coefficient)) & splat<V>(8191), shifts);
  const V rounded = (madd(mantissa, tap.mantissa) + splat<V>(48)) & splat<V>(~15);
  const V magnitude = sar_each(shl<5>(rounded), shifts - tap.exponent) & splat<V>(32767);
  return negate_if(magnitude, sar<31>(coefficient) ^ tap.sign);
}

// UPB: one zero, whose step is +-128 by the signs of the newest difference and its own, 0 where the newest is
// 0.
template <int kLeak, class V>
CR_LANE V next_zero(V zero, V step, V sign) {
  return low(zero + negate_if(step, sign) - sar<kLeak>(zero));
}

// TRANS: a tone ends; everything that predicts is to be forgotten.
template <class V>
CR_LANE V transition(const Signals<V> &s, V magnitude) {
  const V whole = sar<15>(s.slow_scale);
  const V threshold = select(whole > splat<V>(9), splat<V>(31 << 10),
                             shl_each((sar<10>(s.slow_scale) & splat<V>(31)) + splat<V>(32), whole));
  return filled<V>(magnitude > sar<1>(threshold + sar<1>(threshold))) & s.tone;
}

// ADDC, UPA2, LIMC, UPA1, LIMD, TONE and TRIGB.
template <class V>
CR_LANE void adapt_poles(Signals<V> &s, V difference, V kept) {
  const V partial = low(difference + s.zero_estimate);
  const V sign = sar<31>(partial);
  const V moves = filled<V>(!(partial == splat<V>(0)));
  const V differs1 = sign ^ s.sign[0], differs2 = sign ^ s.sign[1];
  const V from_first = negate_if(shl<2>(clamp(s.pole[0], -8191, 8191)), differs1 ^ splat<V>(-1));
  const V gain2 = sar<7>(negate_if(splat<V>(16384), differs2) + from_first) & moves;
  const V second = clamp(s.pole[1] + gain2 - sar<7>(s.pole[1]), -12288, 12288);
  const V gain1 = negate_if(splat<V>(192), differs1) & moves;
  const V limit = splat<V>(15360) - second;
  const V first = s.pole[0] + gain1 - sar<8>(s.pole[0]);
  s.pole[0] = max(min(first, limit), splat<V>(0) - limit) & kept;
  s.pole[1] = second & kept;
  s.tone = filled<V>(second < splat<V>(-11776)) & kept;
  s.sign[1] = s.sign[0];
  s.sign[0] = sign;
}

// FILTA, FILTB, SUBTC, FILTC and TRIGA; `tone` is the one before TRIGB, which matters to nobody where kept is
// 0.
template <class V>
CR_LANE void adapt_speed(Signals<V> &s, V speed_q4, V kept) {
  const V zero = splat<V>(0);
  s.fast_speed = s.fast_speed + speed_q4 + sar<5>(zero - s.fast_speed);
  s.slow_speed = s.slow_speed + speed_q4 + sar<7>(zero - s.slow_speed);
  const V apart = abs(shl<2>(s.fast_speed) - s.slow_speed);
  const V steady = filled<V>((apart < sar<3>(s.slow_speed)) & (s.scale > splat<V>(1535)));
  const V quick = (steady ^ splat<V>(-1)) | s.tone;
  const V speed = s.speed + (quick & splat<V>(32)) + sar<4>(zero - s.speed);
  s.speed = (speed & kept) | (splat<V>(256) & (kept ^ splat<V>(-1)));
}

// FILTD, LIMB, FILTE, LIMA and MIX, which truncates a magnitude.
template <class V>
CR_LANE void adapt_scale(Signals<V> &s, V factor) {
  const V zero = splat<V>(0);
  s.fast_scale = clamp(s.scale + factor + sar<5>(zero - s.scale), 544, 5120);
  s.slow_scale = s.slow_scale + s.fast_scale + sar<6>(zero - s.slow_scale);
  const V slow = sar<6>(s.slow_scale);
  const V apart = s.fast_scale - slow;
  const V limited = sar<2>(min(s.speed, splat<V>(256)));
  s.scale = slow + negate_if(sar<6>(madd(abs(apart), limited)), sar<31>(apart));
}

// UPB, TRIGB and ACCUM: the zeros adapt to the difference and estimate the next sample.
template <int kLeak, class V>
CR_LANE void predict(Signals<V> &s, V magnitude, V negative, V kept) {
  const V step = splat<V>(128) & filled<V>(magnitude > splat<V>(0));
  for (int i = 0; i < kZeros; ++i) {
    s.zero[i] = next_zero<kLeak>(s.zero[i], step, s.difference[i].sign ^ negative) & kept;
  }
  for (int i = kZeros - 1; i > 0; --i) s.difference[i] = s.difference[i - 1];
  s.difference[0] = to_float(magnitude, negative);
  V zeros = product(s.zero[0], s.difference[0]);
  for (int i = 1; i < kZeros; ++i) zeros = zeros + product(s.zero[i], s.difference[i]);
  const V both = zeros + product(s.pole[1], s.reconstructed[1]) + product(s.pole[0], s.reconstructed[0]);
  s.zero_estimate = sar<1>(low(zeros));
  s.estimate = sar<1>(low(both));
}

// One sample of each lane from the word of its code; 16 bits.
template <int kLeak, class V>
CR_LANE V step(Signals<V> &s, V word) {
  // ADDA and ANTILOG: a negative logarithm is a shift of 15 or more, which leaves nothing.
  const V logarithm = sar<20>(word) + sar<2>(s.scale);
  const V mantissa = shl<7>((logarithm & splat<V>(127)) + splat<V>(128));
  const V magnitude = sar_each(mantissa, splat<V>(14) - sar<7>(logarithm));
  const V negative = splat<V>(0) - (word & splat<V>(1));
  const V difference = negate_if(magnitude, negative);
  const V kept = transition(s, magnitude) ^ splat<V>(-1);

  const V reconstructed = low(s.estimate + difference);
  adapt_poles(s, difference, kept);
  s.reconstructed[1] = s.reconstructed[0];
  const V sign = sar<31>(reconstructed);
  s.reconstructed[0] = to_float(abs(reconstructed) & splat<V>(32767), sign);
  adapt_speed(s, word & splat<V>(0x70), kept);
  adapt_scale(s, sar<20>(shl<12>(word)));
  predict<kLeak>(s, magnitude, negative, kept);
  return shl<2>(clamp(reconstructed, -8192, 8191));  // LIMO, as 16 bits
}

// Where a lane's samples go that nobody wants, and ends shorter than a step.
template <int N>
struct Stage {
  int16_t pcm[N][kStep];
  int16_t *to[N];
};

template <int kBits, class V>
CR_LANE void decode_rate(State<V::kLanes> &state, const int32_t *words, const uint8_t *const *codes,
                         int16_t *const *pcm, size_t total) {
  constexpr int kLeak = kBits == 5 ? 9 : 8;
  constexpr int N = V::kLanes;
  V rows[kRows];
  for (int r = 0; r < kRows; ++r) rows[r] = load<V>(state.word[r]);
  Signals<V> s;
  static_assert(sizeof s == sizeof rows);
  std::memcpy(&s, rows, sizeof s);
  Stage<N> stage;
  for (size_t at = 0; at < total; at += kStep) {
    const size_t count = total - at < kStep ? total - at : kStep;
    alignas(64) int32_t word[kStep][N];
    for (int lane = 0; lane < N; ++lane) {
      const uint8_t *from = codes[lane];
      for (size_t t = 0; t < kStep; ++t) {
        word[t][lane] = words[from != nullptr && t < count ? from[at + t] & ((1 << kBits) - 1) : 0];
      }
      stage.to[lane] = from != nullptr && count == kStep ? pcm[lane] + at : stage.pcm[lane];
    }
    V samples[kStep];
    for (size_t t = 0; t < kStep; ++t) {
      samples[t] = splat<V>(0);
      if (t < count) samples[t] = step<kLeak>(s, load<V>(word[t]));
    }
    V pairs[kStep / 2];
    for (int i = 0; i < kStep / 2; ++i) pairs[i] = pair_low(samples[2 * i], samples[2 * i + 1]);
    store_eights(stage.to, 0, pairs);
    for (int lane = 0; lane < N && count < kStep; ++lane) {
      if (codes[lane] != nullptr) std::memcpy(pcm[lane] + at, stage.pcm[lane], count * sizeof(int16_t));
    }
  }
  std::memcpy(rows, &s, sizeof s);
  for (int r = 0; r < kRows; ++r) store(state.word[r], rows[r]);
}

template <class V>
void decode(void *opaque, int bits, const uint8_t *const *codes, int16_t *const *pcm, int samples) {
  constexpr int N = V::kLanes;
  auto &state = *static_cast<State<N> *>(opaque);
  uint32_t idle = 0;
  for (int lane = 0; lane < N; ++lane) idle |= uint32_t{codes[lane] == nullptr} << lane;
  const size_t total = samples > 0 ? static_cast<size_t>(samples) : 0;
  State<N> before;
  if (idle != 0) before = state;
  switch (bits) {
    case 2:
      decode_rate<2, V>(state, kCodes2.word, codes, pcm, total);
      break;
    case 3:
      decode_rate<3, V>(state, kCodes3.word, codes, pcm, total);
      break;
    case 4:
      decode_rate<4, V>(state, kCodes4.word, codes, pcm, total);
      break;
    default:
      decode_rate<5, V>(state, kCodes5.word, codes, pcm, total);
      break;
  }
  for (int lane = 0; lane < N && idle != 0; ++lane) {
    if ((idle >> lane) & 1) {
      for (int r = 0; r < kRows; ++r) state.word[r][lane] = before.word[r][lane];
    }
  }
}

}  // namespace callreplay::CR_ISA::g726
