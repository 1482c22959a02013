// A decoder's state brought in step with a sound that it was not sent: what an encoder would have sent for it
// is worked out octet by octet (ITU-T G.722, clauses 3 and 6) and the decoder goes on from that. Quantisers
// choose the nearest of the decoder's output levels.
#pragma once

#include <algorithm>

#include "decode/g722/g722_one.h"

namespace callreplay::CR_ISA::g722 {

// The transmit QMF of one octet (block TRANSMIT QMF): both bands from 24 samples, oldest first. The received
// samples 2 n and 2 n + 1 answer to the sent ones 22 later, so pcm[0] and pcm[1] are what will be heard.
inline void analyse(const int16_t *pcm, int16_t &low, int16_t &high) {
  int32_t even = 0, odd = 0;
  for (int i = 0; i < 12; ++i) {
    even += int32_t{pcm[2 * i + 1]} * kQmf[11 - i];
    odd += int32_t{pcm[2 * i]} * kQmf[i];
  }
  low = static_cast<int16_t>(std::clamp<int32_t>((even + odd) >> 14, -16384, 16383));
  high = static_cast<int16_t>(std::clamp<int32_t>((even - odd) >> 14, -16384, 16383));
}

// The six bits whose output level is nearest to `difference`, detector at `det`. The levels of one sign stand
// at 61 down to 32 (positive), and at 63, 62, 31 down to 4.
inline int quantise_low(int32_t difference, int32_t det) {
  const int32_t magnitude = (difference < 0 ? -difference : difference) << 15;
  int level = 0;
  while (level < 29 && magnitude > (-kNegatedQm6[61 - level] * det + -kNegatedQm6[60 - level] * det) / 2) {
    ++level;
  }
  if (difference >= 0) return 61 - level;
  return level < 2 ? 63 - level : 33 - level;
}

inline int quantise_high(int32_t difference, int32_t det) {
  const int32_t magnitude = (difference < 0 ? -difference : difference) << 15;
  const bool outer = magnitude > (7408 + 1616) / 2 * det;
  return difference < 0 ? (outer ? 0 : 1) : (outer ? 2 : 3);
}

// `octets` octets' worth of pcm, of which 2 * octets + 22 samples are read.
template <int mode>
inline void follow_mode(State<1> &state, const int16_t *pcm, int octets) {
  const Lut<1, 32> ilb(kIlbQ3);
  const Lut<1, 16> low_power(kLowPower), high_power(kHighPower);
  Scratch<1> s;
  for (int n = 0; n < octets; ++n) {
    int16_t low, high;
    analyse(pcm + 2 * n, low, high);
    const int32_t low_det = -detector(state.low.log_scale, ilb, low_power).v[0] / 2;
    const int32_t high_det = -detector(state.high.log_scale, ilb, high_power).v[0] / 2;
    const int il = quantise_low(low - state.low.poles.estimate.v[0], low_det);
    const int ih = quantise_high(high - state.high.poles.estimate.v[0], high_det);
    s.octets[0] = static_cast<uint8_t>(ih << 6 | il);
    dequantise<mode>(state, s, 1);
    zero_sections(state, s, 1);
    pole_sections(state, s, 1);
    std::memmove(state.difference, state.difference + 1, sizeof state.difference - sizeof *state.difference);
    std::memmove(state.sum, state.sum + 1, sizeof state.sum - sizeof *state.sum);
    state.difference[kDelay - 1] = s.low_out[0] - s.high_out[0];
    state.sum[kDelay - 1] = s.low_out[0] + s.high_out[0];
  }
}

inline void follow(void *opaque, int mode, const int16_t *pcm, int octets) {
  State<1> &state = *static_cast<State<1> *>(opaque);
  switch (mode) {
    case 0:
      return follow_mode<0>(state, pcm, octets);
    case 1:
      return follow_mode<1>(state, pcm, octets);
    default:
      return follow_mode<2>(state, pcm, octets);
  }
}

}  // namespace callreplay::CR_ISA::g722
