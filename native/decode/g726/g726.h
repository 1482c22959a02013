// The G.726 decoder (ITU-T G.726 (12/1990), clause 4, with the linear output of Annex A) on lanes of 32 bits:
// one stream a lane. The names in capitals are the recommendation's. Its words have up to 19 bits; those of
// 16 wrap where the recommendation's do.
//
// The four rates differ in the table of a code's levels and in how fast the zeros leak, so a group of streams
// has one rate.
#pragma once

#include <cstring>

#include "decode/g726/g726_tables.h"
#include "lanes/f32.h"

namespace callreplay::CR_ISA::g726 {

using namespace callreplay::g726;

inline constexpr int kZeros = 6;
inline constexpr int kPoles = 2;
inline constexpr int kStep = 8;  // samples that are stored together

// What goes on from sample to sample; every member is made of V.
template <class V>
struct Signals {
  V difference[kZeros];             // DQ1 to DQ6, taps (see tap_of())
  V reconstructed[kPoles];          // SR1, SR2, taps
  V zero[kZeros / 2];               // B1 to B6, pairs of 16 bits
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

// The recommendation's floating point has six bits of mantissa, of which the first is set, so a float of ours without its last
// bits is the same number; 0, which FLOATA and FLOATB make a mantissa of 32 with the exponent 0, is 0.5 with the sign of 0. Taps are
// 2^11 smaller: a product of FMULT is then what is left of a float's whole part.
inline constexpr int32_t kHalf = 0x3F000000;  // 0.5f
inline constexpr int32_t kTapScale = 11 << 23;
inline constexpr int32_t kSixBits = ~((1 << 18) - 1);  // of a mantissa, with sign and exponent
inline constexpr int32_t kNineBits = ~((1 << 15) - 1);
inline constexpr int32_t kPowerBits = ~((1 << 23) - 1);  // sign and exponent alone
inline constexpr int32_t kSignBit = INT32_MIN;

template <int N>
void reset(void *opaque, int lane) {
  Signals<int32_t> start{};
  for (auto &each : start.difference) each = kHalf - kTapScale;
  for (auto &each : start.reconstructed) each = kHalf - kTapScale;
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

template <class V>
using FloatOf = Lanes<float, V::kLanes>;

// FLOATA and FLOATB: a magnitude of 15 bits, and a sign in bit 31.
template <class V>
CR_LANE V tap_of(V magnitude, V sign) {
  const V bits = bits_of(max(to_float(magnitude), splat<FloatOf<V>>(0.5f)));
  return ((bits & splat<V>(kSixBits)) - splat<V>(kTapScale)) | sign;
}

// The tap of a filter: the number, and 4144 / 1024 times its power of two, which multiply() needs.
template <class V>
struct Tap {
  FloatOf<V> value, power;
};

template <class V>
CR_LANE Tap<V> with_power(V bits) {
  return {float_of_bits(bits),
          float_of_bits(bits & splat<V>(kPowerBits)) * splat<FloatOf<V>>(4144.0f / 1024.0f)};
}

// A sum of FMULT's products. It is one of 16 bits, and `odd` is what each had in bit 15 of its magnitude, which FMULT drops:
// there it is the same to add as to drop.
template <class V>
struct Sum {
  V total, odd;
};

// FMULT, of a coefficient without its last two bits as floating point. Both mantissas lie in [32, 63]. In units of their last
// bits the float product is theirs, p in [1024, 3969], and the powers of two make 4096 + 48: p + 48 + 4096 has always 13 bits, so
// the last 4, which the recommendation drops, are at the same place of the float each time, and 4096 is its leading bit.
template <class V>
CR_LANE void multiply(Sum<V> &sum, V bits, const Tap<V> &tap) {
  const auto product = float_of_bits(bits & splat<V>(kSixBits)) * tap.value;
  const auto high =
      bits_of(product + float_of_bits(bits & splat<V>(kPowerBits)) * tap.power) & splat<V>(kNineBits);
  const V whole = truncate(float_of_bits(high) - float_of_bits(high & splat<V>(kPowerBits)));
  sum.total = sum.total + whole;
  sum.odd = sum.odd ^ abs(whole);
}

// A coefficient over 4. That of a pole is never -8192: A2 lies within +-12288, A1 within 15360 more.
template <class V>
CR_LANE V of_pole(V coefficient) {
  const V bits = bits_of(to_float(coefficient));
  if constexpr (V::kLanes > 4) {
    return umax(bits, splat<V>(kHalf));
  } else {  // SSE2 has no such maximum
    return bits | (filled(coefficient == splat<V>(0)) & splat<V>(kHalf));
  }
}
// That of a zero is, where a zero wraps: its magnitude has 13 bits, so that is a 0 with a sign.
template <class V>
CR_LANE V of_zero(V coefficient) {
  constexpr int32_t kLeast = static_cast<int32_t>(0xC6000000);  // -8192.0f
  const V bits = of_pole(coefficient);
  return select(bits == splat<V>(kLeast), splat<V>(kHalf | kSignBit), bits);
}

// ACCUM, and what is made of it: SEI to SE, SEZI to SEZ.
template <class V>
CR_LANE V half_of(const Sum<V> &sum) {
  return sar<17>(shl<16>(sum.total ^ (sum.odd & splat<V>(32768))));
}

// The last differences of a block: taps, and UPB's steps of +-128 by the signs of two neighbours, as pairs.
template <class V>
struct History {
  Tap<V> tap[kZeros + kStep];
  V steps[kZeros + kStep];  // of this difference (low) and the one before (high)
  V last_step;              // of the newest, in both halves
};

template <class V>
CR_LANE void remember(History<V> &history, size_t at, V bits) {
  history.tap[at] = with_power(bits);
  const V step = (sar<31>(bits) & splat<V>(static_cast<int32_t>(0xFF00FF00))) | splat<V>(0x00800080);
  history.steps[at] = cross(history.last_step, step);
  history.last_step = step;
}

// ADDC, UPA2, LIMC, UPA1, LIMD and TONE.
template <class V>
CR_LANE void adapt_poles(Signals<V> &s, V difference) {
  const V partial = shl<16>(difference + s.zero_estimate);  // the top 16 bits
  const V sign = sar<31>(partial);
  const V moves = filled(!(partial == splat<V>(0)));
  const V differs1 = sign ^ s.sign[0], differs2 = sign ^ s.sign[1];
  const V from_first = negate_if(shl<2>(clamp(s.pole[0], -8191, 8191)), differs1 ^ splat<V>(-1));
  const V gain2 = sar<7>(negate_if(splat<V>(16384), differs2) + from_first) & moves;
  const V second = clamp(s.pole[1] + gain2 - sar<7>(s.pole[1]), -12288, 12288);
  const V gain1 = negate_if(splat<V>(192), differs1) & moves;
  const V limit = splat<V>(15360) - second;
  const V first = s.pole[0] + gain1 - sar<8>(s.pole[0]);
  s.pole[0] = max(min(first, limit), splat<V>(0) - limit);
  s.pole[1] = second;
  s.tone = filled(second < splat<V>(-11776));
  s.sign[1] = s.sign[0];
  s.sign[0] = sign;
}

// FILTA, FILTB, SUBTC and FILTC.
template <class V>
CR_LANE void adapt_speed(Signals<V> &s, V speed_q4) {
  const V zero = splat<V>(0);
  s.fast_speed = s.fast_speed + speed_q4 + sar<5>(zero - s.fast_speed);
  s.slow_speed = s.slow_speed + speed_q4 + sar<7>(zero - s.slow_speed);
  const V apart = abs(shl<2>(s.fast_speed) - s.slow_speed);
  const V steady = filled((apart < sar<3>(s.slow_speed)) & (s.scale > splat<V>(1535)));
  const V quick = (steady ^ splat<V>(-1)) | s.tone;
  s.speed = s.speed + (quick & splat<V>(32)) + sar<4>(zero - s.speed);
}

// TRANS, of the words before this sample but for the difference: where a tone ends. 0 there, else -1.
template <class V>
CR_LANE V kept_by(V slow_scale, V tone, V magnitude) {
  const V whole = sar<15>(slow_scale);
  const V threshold = select(whole > splat<V>(9), splat<V>(31 << 10),
                             shl_each((sar<10>(slow_scale) & splat<V>(31)) + splat<V>(32), whole));
  return (filled(magnitude > sar<1>(threshold + sar<1>(threshold))) & tone) ^ splat<V>(-1);
}

// TRIGB and TRIGA, where `kept` is 0; the zeros are left to the caller.
template <class V>
CR_LANE void forget(Signals<V> &s, V kept) {
  for (V &pole : s.pole) pole = pole & kept;
  s.tone = s.tone & kept;
  s.speed = (s.speed & kept) | (splat<V>(256) & (kept ^ splat<V>(-1)));
}

// Of two numbers in 0 to 32767.
template <class V>
CR_LANE V times(V a, V b) {
  return madd(a, b);
}
CR_LANE I32x1 times(I32x1 a, I32x1 b) {
  return a * b;
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
  s.scale = slow + negate_if(sar<6>(times(abs(apart), limited)), sar<31>(apart));
}

// What a zero moves by, but for its own sign: 1 or -1 in both halves, or 0.
template <class V>
CR_LANE V moves_by(V magnitude, V negative) {
  return (negative | splat<V>(0x00010001)) & filled(magnitude > splat<V>(0));
}

// UPB of a pair of zeros. `steps` are +-128 by the signs of their own differences.
template <int kLeak, class V>
CR_LANE V next_zeros(V zeros, V steps, V moves) {
  return add16(sub16(zeros, sar16<kLeak>(zeros)), mullo16(steps, moves));
}

// history.tap[at] is DQ1, the newest.
template <int kLeak, class V>
CR_LANE void adapt_zeros(Signals<V> &s, const History<V> &history, size_t at, V moves) {
  for (size_t i = 0; i < kZeros / 2; ++i)
    s.zero[i] = next_zeros<kLeak>(s.zero[i], history.steps[at - 2 * i], moves);
}

// ACCUM, where history.tap[at] is the difference of this sample.
template <class V>
CR_LANE void predict(Signals<V> &s, const History<V> &history, size_t at) {
  Sum<V> sum{splat<V>(0), splat<V>(0)};
  for (size_t i = 0; i < kZeros / 2; ++i) {
    multiply(sum, of_zero(sar<18>(shl<16>(s.zero[i]))), history.tap[at - 2 * i]);
    multiply(sum, of_zero(sar<18>(s.zero[i])), history.tap[at - 1 - 2 * i]);
  }
  s.zero_estimate = half_of(sum);
  for (int i = kPoles - 1; i >= 0; --i)
    multiply(sum, of_pole(sar<2>(s.pole[i])), with_power(s.reconstructed[i]));
  s.estimate = half_of(sum);
}

// ANTILOG: a logarithm in Q7 is exponent and mantissa of a float.
template <class V>
CR_LANE V magnitude_of(V logarithm) {
  return truncate(float_of_bits(shl<16>(logarithm + splat<V>(127 << 7))));
}

// LIMO, as 16 bits.
template <class V>
CR_LANE V limited(V reconstructed) {
  return shl<2>(clamp(reconstructed, -8192, 8191));
}

// One sample of each lane from the level of its code and its sign, a mask; 16 bits. history.tap[at] is DQ1.
template <int kLeak, class V>
CR_LANE V step(Signals<V> &s, History<V> &history, size_t at, V level, V negative) {
  const V magnitude = magnitude_of(sar<20>(level) + sar<2>(s.scale));  // ADDA
  const V difference = negate_if(magnitude, negative);
  const V tone = s.tone;
  const V reconstructed = low(s.estimate + difference);
  s.reconstructed[1] = s.reconstructed[0];
  s.reconstructed[0] = tap_of(abs(reconstructed) & splat<V>(32767), reconstructed & splat<V>(kSignBit));
  adapt_poles(s, difference);
  adapt_speed(s, level & splat<V>(0x70));
  adapt_zeros<kLeak>(s, history, at, moves_by(magnitude, negative));
  if (any(tone < splat<V>(0))) {  // seldom in speech
    const V kept = kept_by(s.slow_scale, tone, magnitude);
    forget(s, kept);
    for (V &zeros : s.zero) zeros = zeros & kept;
  }
  adapt_scale(s, sar<20>(shl<12>(level)));
  remember(history, at + 1, tap_of(magnitude, shl<31>(negative)));
  predict(s, history, at + 1);
  return limited(reconstructed);
}

// Where codes of a lane come from and samples go to: four codes a word, the first in the low octet. Lanes that are idle and ends
// shorter than a step have places here.
template <int N>
struct Stage {
  uint8_t codes[kStep];
  int16_t pcm[N][kStep];
  int16_t *to[N];
  alignas(64) int32_t words[kStep / 4][N];
};

template <int N>
CR_LANE void bring(Stage<N> &stage, const uint8_t *const *codes, int16_t *const *pcm, size_t at,
                   size_t count) {
  for (int lane = 0; lane < N; ++lane) {
    const bool whole = codes[lane] != nullptr && count == kStep;
    const uint8_t *from = stage.codes;
    if (whole) {
      from = codes[lane] + at;
    } else if (codes[lane] != nullptr) {
      std::memcpy(stage.codes, codes[lane] + at, count);
    }
    stage.to[lane] = whole ? pcm[lane] + at : stage.pcm[lane];
    for (size_t i = 0; i < kStep / 4; ++i) {
      const uint32_t word = uint32_t{from[4 * i]} | uint32_t{from[4 * i + 1]} << 8 |
                            uint32_t{from[4 * i + 2]} << 16 | uint32_t{from[4 * i + 3]} << 24;
      stage.words[i][lane] = static_cast<int32_t>(word);
    }
  }
}

template <int kBits>
void decode_alone(State<1> &state, const Packed<kBits> &levels, const uint8_t *codes, int16_t *pcm,
                  size_t total);

template <int kBits, class V>
CR_LANE void decode_rate(State<V::kLanes> &state, const Packed<kBits> &levels, const uint8_t *const *codes,
                         int16_t *const *pcm, size_t total) {
  constexpr int kLeak = kBits == 5 ? 9 : 8;
  constexpr int N = V::kLanes;
  if constexpr (N == 1 && kWidth32 == 4) {
    if (codes[0] != nullptr) decode_alone<kBits>(state, levels, codes[0], pcm[0], total);
    return;
  }
  V rows[kRows];
  for (int r = 0; r < kRows; ++r) rows[r] = load<V>(state.word[r]);
  Signals<V> s;
  static_assert(sizeof s == sizeof rows);
  std::memcpy(&s, rows, sizeof s);
  History<V> history;
  history.last_step = splat<V>(0);
  for (int i = 0; i < kZeros; ++i) remember(history, i, s.difference[kZeros - 1 - i]);
  Stage<N> stage{};
  for (size_t at = 0; at < total; at += kStep) {
    const size_t count = total - at < kStep ? total - at : kStep;
    bring(stage, codes, pcm, at, count);
    V samples[kStep];
    V code = splat<V>(0);
    for (size_t t = 0; t < count; ++t) {
      code = t % 4 == 0 ? load<V>(stage.words[t / 4]) : shr<8>(code);
      const V negative = sar<31>(shl<32 - kBits>(code));
      const V level = look_up(levels.word, (code ^ negative) & splat<V>((1 << (kBits - 1)) - 1));
      samples[t] = step<kLeak>(s, history, kZeros - 1 + t, level, negative);
    }
    for (size_t t = count; t < kStep; ++t) samples[t] = splat<V>(0);
    for (size_t i = 0; i < kZeros; ++i) {  // a register at a time: GCC copies a whole tap in smaller pieces
      history.tap[i].value.v = history.tap[count + i].value.v;
      history.tap[i].power.v = history.tap[count + i].power.v;
      history.steps[i].v = history.steps[count + i].v;
    }
    V pairs[kStep / 2];
    for (int i = 0; i < kStep / 2; ++i) pairs[i] = pair_low(samples[2 * i], samples[2 * i + 1]);
    store_eights(stage.to, 0, pairs);
    for (int lane = 0; lane < N && count < kStep; ++lane) {
      if (codes[lane] != nullptr) std::memcpy(pcm[lane] + at, stage.pcm[lane], count * sizeof(int16_t));
    }
  }
  for (int i = 0; i < kZeros; ++i) s.difference[i] = bits_of(history.tap[kZeros - 1 - i].value);
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
      decode_rate<2, V>(state, kPacked2, codes, pcm, total);
      break;
    case 3:
      decode_rate<3, V>(state, kPacked3, codes, pcm, total);
      break;
    case 4:
      decode_rate<4, V>(state, kPacked4, codes, pcm, total);
      break;
    default:
      decode_rate<5, V>(state, kPacked5, codes, pcm, total);
      break;
  }
  for (int lane = 0; lane < N && idle != 0; ++lane) {
    if ((idle >> lane) & 1) {
      for (int r = 0; r < kRows; ++r) state.word[r][lane] = before.word[r][lane];
    }
  }
}

}  // namespace callreplay::CR_ISA::g726
