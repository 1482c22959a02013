// The passes of g722.h for a stream that is alone: the lanes of one register are then the taps of a
// zero section, the two bands of the pole sections, or successive times of the QMF. The same operations
// on the same values.
#pragma once

#include "decode/g722/g722.h"

namespace callreplay::CR_ISA::g722 {

using One = Lanes<int16_t, 1>;
using Eight = Lanes<int16_t, 8>;

// Taps in lanes, oldest first; lanes 6 and 7 idle. Nothing is loaded that was stored a moment ago in smaller
// pieces: that would wait for the stores to retire.
template <bool kLoud>
inline void zero_section(Band<1> &band, const One *difference, One *zero_estimate, int count) {
  static constexpr int16_t kUsed[8] = {-1, -1, -1, -1, -1, -1, 0, 0};
  constexpr int kLength = (kTaps + kBlock + 2 + 7) / 8 * 8;
  int16_t d[kLength] = {}, scaled[kLength], factor[kLength], step[kLength], taps[8] = {};
  std::memcpy(d, difference, sizeof(int16_t) * static_cast<size_t>(kTaps + count));
  for (int i = 0; i < kLength; i += 8) {
    const Eight x = load<Eight>(d + i);
    store(scaled + i, kLoud ? shl<1>(x) : shl<2>(x));
    store(factor + i, sign_factor(x));
    store(step + i, step_towards(x, 128));
  }
  std::memcpy(taps, band.zero, sizeof band.zero);
  const Eight used = load<Eight>(kUsed);
  Eight b = load<Eight>(taps);
  for (int t = 0; t < count; ++t) {
    b = next_zero(b, splat<Eight>(step[kTaps + t]), load<Eight>(factor + t)) & used;
    if constexpr (kLoud) {
      int16_t term[8];
      store(term, mul15(load<Eight>(scaled + t + 1), b));
      int32_t total = 0;
      for (int i = 0; i < kTaps; ++i) total = saturate16(total + term[i]);
      zero_estimate[t] = splat<One>(static_cast<int16_t>(total));
    } else {
      zero_estimate[t] = splat<One>(static_cast<int16_t>(sum(mulhi(load<Eight>(scaled + t + 1), b))));
    }
  }
  store(taps, b);
  std::memcpy(band.zero, taps, sizeof band.zero);
}

inline void zero_sections(State<1> &state, Scratch<1> &s, int count) {
  // Six terms of at most 2 * 2730 each cannot saturate on the way, so their order does not matter.
  const auto quiet = [count](const One *difference) {
    int32_t peak = 0;
    for (int i = 0; i < kTaps + count; ++i) {
      const int32_t x = difference[i].v[0];
      peak = x > peak ? x : -x > peak ? -x : peak;
    }
    return peak <= 2730;
  };
  const auto run = [&](Band<1> &band, const One *difference, One *zero_estimate) {
    if (quiet(difference)) {
      zero_section<false>(band, difference, zero_estimate, count);
    } else {
      zero_section<true>(band, difference, zero_estimate, count);
    }
  };
  run(state.low, s.low, s.low_zero);
  run(state.high, s.high, s.high_zero);
}

// The low band in lane 0, the high band in lane 1.
inline void pole_sections(State<1> &state, Scratch<1> &s, int count) {
  constexpr int kValues = sizeof(Poles<One>) / sizeof(int16_t);
  int16_t low[kValues], high[kValues], both[kValues][8] = {};
  std::memcpy(low, &state.low.poles, sizeof low);
  std::memcpy(high, &state.high.poles, sizeof high);
  for (int i = 0; i < kValues; ++i) {
    both[i][0] = low[i];
    both[i][1] = high[i];
  }
  Poles<Eight> p;
  std::memcpy(&p, both, sizeof p);
  const auto pair = [](const One &a, const One &b) { return load_two<Eight>(a.v[0], b.v[0]); };
  for (int t = 0; t < count; ++t) {
    const One d = s.high[kTaps + t];
    const Eight out =
        step_poles(p, pair(s.low[kTaps + t], d), pair(s.fine[t], d), pair(s.low_zero[t], s.high_zero[t]));
    store_two(s.low_out[t].v, s.high_out[t].v, out);
  }
  std::memcpy(both, &p, sizeof p);
  for (int i = 0; i < kValues; ++i) {
    low[i] = both[i][0];
    high[i] = both[i][1];
  }
  std::memcpy(&state.low.poles, low, sizeof low);
  std::memcpy(&state.high.poles, high, sizeof high);
}

// Eight successive times in eight lanes.
inline void synthesise(State<1> &state, const Scratch<1> &s, int16_t *const *pcm, size_t at, int count) {
  int16_t difference[kDelay + kBlock + 8], sum[kDelay + kBlock + 8];
  std::memcpy(difference, state.difference, sizeof state.difference);
  std::memcpy(sum, state.sum, sizeof state.sum);
  for (int t = 0; t < count; t += 8) {
    const Eight low = load<Eight>(s.low_out[t].v), high = load<Eight>(s.high_out[t].v);
    store(difference + kDelay + t, low - high);
    store(sum + kDelay + t, low + high);
  }
  for (int t = 0; t < count; t += 8) {
    Wide<8> first, second;
    clear(first);
    clear(second);
    for (int i = 0; i < 12; i += 2) {
      mac(first, pairs(load<Eight>(difference + t + i), load<Eight>(difference + t + i + 1)), kQmf[11 - i],
          kQmf[10 - i]);
      mac(second, pairs(load<Eight>(sum + t + i), load<Eight>(sum + t + i + 1)), kQmf[i], kQmf[i + 1]);
    }
    store_interleaved(pcm[0] + at + 2 * t, narrow<11>(first), narrow<11>(second));
  }
}

}  // namespace callreplay::CR_ISA::g722
