// g726.h for a stream that is alone: the lanes of one register are then the taps of the predictor. The same operations on the
// same values; what adapts step sizes and poles is g726.h's, in one lane.
#pragma once

#include "decode/g726/g726.h"

namespace callreplay::CR_ISA::g726 {

using One = Lanes<int32_t, 1>;

// The zeros as pairs in lanes, B1 and B2, B3 and B4, B5 and B6, and their taps in two registers, of low halves and of high
// ones: taps of low halves are one sample newer, so they become those of high halves. SR1 and SR2 are in two lanes of a register
// of their own: what the zeros estimate does not wait for the poles.
struct Taps {
  I32 zeros, newer, older, reconstructed;

  CR_LANE explicit Taps(const Signals<One> &s)
      : zeros(four(s.zero[0].v, s.zero[1].v, s.zero[2].v, 0)),
        newer(four(s.difference[0].v, s.difference[2].v, s.difference[4].v, 0)),
        older(four(s.difference[1].v, s.difference[3].v, s.difference[5].v, 0)),
        reconstructed(four(s.reconstructed[0].v, s.reconstructed[1].v, 0, 0)) {}

  CR_LANE void to(Signals<One> &s) const {
    int32_t low[4], high[4], pairs[4], signals[4];
    store(low, newer);
    store(high, older);
    store(pairs, zeros);
    store(signals, reconstructed);
    for (int i = 0; i < kZeros / 2; ++i) {
      s.difference[2 * i] = {low[i]};
      s.difference[2 * i + 1] = {high[i]};
      s.zero[i] = {pairs[i]};
    }
    for (int i = 0; i < kPoles; ++i) s.reconstructed[i] = {signals[i]};
  }
};

template <int kLeak>
CR_LANE void adapt_zeros(Taps &taps, One moves) {
  const I32 steps =
      (cross(sar<31>(taps.older), sar<31>(taps.newer)) & splat<I32>(static_cast<int32_t>(0xFF00FF00))) |
      splat<I32>(0x00800080);
  taps.zeros = next_zeros<kLeak>(taps.zeros, steps, splat<I32>(moves.v));
}

// The newest tap, of a magnitude with a sign in bit 31, before the others.
CR_LANE I32 before(One word, I32 others) {
  const I32 words = four(word.v, 0, 0, 0);
  return (tap_of(words & splat<I32>(32767), words & splat<I32>(kSignBit)) & four(-1, 0, 0, 0)) |
         rise<1>(others);
}

// Of sums bit 15 is what matters, so it may be added as well.
CR_LANE I32 sums_of(const Sum<I32> &sum) {
  return running_sum(sum.total + (sum.odd & splat<I32>(32768)));
}

// ACCUM, from a difference and a reconstructed signal as magnitudes with a sign in bit 31.
CR_LANE void predict(Signals<One> &s, Taps &taps, One difference, One reconstructed) {
  const I32 newest = before(difference, taps.older);
  taps.older = taps.newer;
  taps.newer = newest;
  taps.reconstructed = before(reconstructed, taps.reconstructed);
  Sum<I32> zeros{splat<I32>(0), splat<I32>(0)}, poles = zeros;
  multiply(zeros, of_zero(sar<18>(shl<16>(taps.zeros))), with_power(taps.newer));
  multiply(zeros, of_zero(sar<18>(taps.zeros)), with_power(taps.older));
  multiply(poles, of_pole(four(sar<2>(s.pole[0]).v, sar<2>(s.pole[1]).v, 0, 0)),
           with_power(taps.reconstructed));
  const One zero_sum{lane<2>(sums_of(zeros))};
  s.zero_estimate = sar<17>(shl<16>(zero_sum));
  s.estimate = sar<17>(shl<16>(zero_sum + One{lane<1>(sums_of(poles))}));
}

template <int kLeak>
CR_LANE int16_t step(Signals<One> &s, Taps &taps, One level, One negative) {
  const One magnitude = magnitude_of(sar<20>(level) + sar<2>(s.scale));
  const One difference = negate_if(magnitude, negative);
  const One tone = s.tone;
  const One reconstructed = low(s.estimate + difference);
  adapt_poles(s, difference);
  adapt_speed(s, level & One{0x70});
  adapt_zeros<kLeak>(taps, moves_by(magnitude, negative));
  if (tone.v != 0) {
    const One kept = kept_by(s.slow_scale, tone, magnitude);
    forget(s, kept);
    taps.zeros = taps.zeros & splat<I32>(kept.v);
  }
  adapt_scale(s, sar<20>(shl<12>(level)));
  const One sign{kSignBit};
  predict(s, taps, magnitude | (negative & sign), (abs(reconstructed) & One{32767}) | (reconstructed & sign));
  return limited(reconstructed).low();
}

template <int kBits>
void decode_alone(State<1> &state, const Packed<kBits> &levels, const uint8_t *codes, int16_t *pcm,
                  size_t total) {
  constexpr int kTop = 1 << (kBits - 1);
  Signals<One> s;
  static_assert(sizeof s == sizeof state.word);
  std::memcpy(&s, state.word, sizeof s);
  Taps taps(s);
  for (size_t t = 0; t < total; ++t) {
    const One negative{-((codes[t] & kTop) != 0 ? 1 : 0)};
    const One level{levels.word[(codes[t] ^ negative.v) & (kTop - 1)]};
    pcm[t] = step < kBits == 5 ? 9 : 8 > (s, taps, level, negative);
  }
  taps.to(s);
  std::memcpy(state.word, &s, sizeof s);
}

}  // namespace callreplay::CR_ISA::g726
